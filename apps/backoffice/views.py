"""Error pages of the admin host."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.translation import gettext


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """What another tenant's row, an unknown page and a user without a role here all get."""
    if request.user.is_authenticated and request.actor.is_anonymous:
        text = gettext("You are signed in as %(user)s, who has no role in this back office.") % {"user": request.user}
    else:
        text = gettext("The address is wrong, or what was here is not yours to see.")
    return _error(request, 404, gettext("There is nothing here"), text)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    text = gettext("Your role does not allow this. An owner of the operator can give you another one.")
    return _error(request, 403, gettext("Not allowed"), text)


def server_error(request: HttpRequest) -> HttpResponse:
    # Without the request: a context processor may be what failed.
    return HttpResponse(render_to_string("backoffice/server_error.html"), status=500)


def _error(request: HttpRequest, status: int, title: str, text: str) -> HttpResponse:
    context: dict[str, Any] = {**admin.site.each_context(request), "title": title, "text": text}
    return render(request, "backoffice/error.html", context, status=status)
