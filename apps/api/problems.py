"""Errors as `application/problem+json` (RFC 9457): what is wrong, in words, and where."""

from __future__ import annotations

from typing import Any

from django.core import exceptions as django_errors
from django.http import Http404, HttpRequest, JsonResponse
from rest_framework import exceptions, status
from rest_framework.response import Response
from rest_framework.views import set_rollback

CONTENT_TYPE = "application/problem+json"

_TITLES = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    409: "Conflict",
    413: "Too large",
    415: "Unsupported media type",
    429: "Too many requests",
    500: "Server error",
}


def problem(code: int, detail: str, *, errors: dict[str, Any] | None = None) -> dict[str, Any]:
    """The body. `errors` maps a field's name to the list of what is wrong with it."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": _TITLES.get(code, "Error"),
        "status": code,
        "detail": detail,
    }
    return body | ({"errors": errors} if errors else {})


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler."""
    if isinstance(error, django_errors.ValidationError):
        error = exceptions.ValidationError(detail=_fields(error))
    elif isinstance(error, django_errors.PermissionDenied):
        error = exceptions.PermissionDenied(str(error) or None)
    elif isinstance(error, Http404 | django_errors.ObjectDoesNotExist):
        error = exceptions.NotFound()
    if not isinstance(error, exceptions.APIException):
        return None
    set_rollback()
    errors = error.detail if isinstance(error, exceptions.ValidationError) else None
    if isinstance(errors, list):
        errors = {"non_field_errors": errors}
    detail = "Some fields are not right." if errors else str(error.detail)
    response = Response(problem(error.status_code, detail, errors=errors), status=error.status_code)
    response.content_type = CONTENT_TYPE
    if isinstance(error, exceptions.Throttled) and error.wait is not None:
        response["Retry-After"] = str(int(error.wait) + 1)
    if error.status_code == status.HTTP_401_UNAUTHORIZED:
        response["WWW-Authenticate"] = getattr(error, "auth_header", "Bearer")
    return response


def not_found(request: HttpRequest) -> JsonResponse:
    """For URLs under /api/ that no view answers."""
    return JsonResponse(problem(404, "There is nothing at this address."), status=404, content_type=CONTENT_TYPE)


def _fields(error: django_errors.ValidationError) -> dict[str, list[str]]:
    if hasattr(error, "error_dict"):
        return {
            ("non_field_errors" if name == "__all__" else name): list(texts)
            for name, texts in error.message_dict.items()
        }
    return {"non_field_errors": list(error.messages)}
