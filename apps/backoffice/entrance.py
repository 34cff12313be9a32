"""Pages that stand before the back office: choosing whose it is, and errors."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.middleware.csrf import rotate_token
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache

from apps.accounts import selectors


@never_cache
@login_required
def choose_operator(request: HttpRequest) -> HttpResponse:
    """Choose whose back office this session sees. Operators that the user has no role with are 404.

    Forms that are open in other tabs were filled in for the one before: their tokens end, so that no row of one
    operator becomes the other's (`403_csrf.html` says so).
    """
    operators = request.operators
    if not operators:
        raise Http404("no operator to choose")
    if request.method == "POST":
        rotate_token(request)
        chosen = request.POST.get("operator", "")
        if chosen == "" and request.actor.platform:
            request.session.pop(selectors.OPERATOR_SESSION_KEY, None)
        else:
            operator = next((one for one in operators if str(one.pk) == chosen), None)
            if operator is None:
                raise Http404("not an operator of this user")
            request.session[selectors.OPERATOR_SESSION_KEY] = operator.pk
        return redirect(_next(request))
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": gettext("Choose an operator"),
        "operators": operators,
        "next": _next(request),
    }
    return render(request, "backoffice/choose_operator.html", context)


def _next(request: HttpRequest) -> str:
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    safe = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if safe else "/"


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
