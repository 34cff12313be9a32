"""Content security by host: the portal's policy is strict, the admin's theme needs more."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

GetResponse = Callable[[HttpRequest], HttpResponse]


class PolicyByHostMiddleware:
    """Stands inside Django's CSP middleware, which reads `_csp_config` (what `csp_override` sets)."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if getattr(request, "is_admin_host", False) and not hasattr(response, "_csp_config"):
            response._csp_config = settings.ADMIN_CSP
        return response
