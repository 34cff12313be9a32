"""What stands before every page: content security by host, and addresses that no page can read."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest

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


class NulMiddleware:
    """No text holds the character NUL: PostgreSQL refuses the whole query. Fields of forms and of the API say so beside
    themselves; searches and filters of an address have no field."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if "%00" in request.META.get("QUERY_STRING", "") and not request.path.startswith("/api/"):
            text = "This address holds a character that no text has (NUL)."
            return HttpResponseBadRequest(text, content_type="text/plain; charset=utf-8")
        return self.get_response(request)
