"""Host → admin or brand, then request → Actor. Unknown hosts are 404 before anything else runs."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound
from django.utils import translation

from apps.accounts import selectors
from apps.core.actor import ANONYMOUS

GetResponse = Callable[[HttpRequest], HttpResponse]

ANY_HOST_PATHS = ("/healthz", "/readyz")


class HostMiddleware:
    """Sets `request.is_admin_host`, `request.brand` and `request.urlconf`."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        host = selectors.name_of_host(request.get_host())
        request.brand = None
        request.is_admin_host = host == settings.ADMIN_HOST
        if request.path in ANY_HOST_PATHS:
            request.urlconf = "config.urls_health"
        elif request.is_admin_host:
            request.urlconf = "config.urls_admin"
        else:
            request.brand = selectors.brand_of_host(host)
            if request.brand is None:
                return HttpResponseNotFound("No such site.", content_type="text/plain; charset=utf-8")
            request.urlconf = "config.urls_portal"
        response = self.get_response(request)
        response.headers["Vary"] = ", ".join(filter(None, [response.headers.get("Vary"), "Host"]))
        return response


class ActorMiddleware:
    """Sets `request.actor`, and hangs it on the user for Django's permission checks."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.actor = selectors.actor_of_request(request) if request.user.is_authenticated else ANONYMOUS
        request.user.actor = request.actor  # type: ignore[union-attr]
        return self.get_response(request)


class LanguageMiddleware:
    """A user's own language goes before what the browser asks for, which `LocaleMiddleware` took."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        language = getattr(request.user, "language", "")
        if language:
            translation.activate(language)
            request.LANGUAGE_CODE = translation.get_language()
        return self.get_response(request)
