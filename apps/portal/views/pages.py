"""What the portal's views share: who may, lists, questions before a step, live parts."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import ValidationError
from django.core.paginator import InvalidPage
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods
from django_filters import FilterSet
from django_tables2 import RequestConfig

from apps.accounts.selectors import manages_people
from apps.core import live
from apps.core.actor import Actor
from apps.core.csv import csv_response
from apps.portal import lists, selectors
from apps.portal.forms import WhyForm
from apps.reports.selectors import SEES_INVOICES

PER_PAGE = 25

View = Callable[..., HttpResponseBase]


def page_for(permission: str | Callable[[Actor], bool], *, form: bool = False) -> Callable[[View], View]:
    """A page for whoever holds `permission` somewhere on this host, or whom it says yes to.

    Nobody signed in: to the sign-in page; else 404. With a `form` it also takes POST.
    """

    def allows(actor: Actor) -> bool:
        return permission(actor) if callable(permission) else permission in actor.all_permissions

    def decorate(view: View) -> View:
        @never_cache
        @require_http_methods(["GET", "HEAD", "POST"] if form else ["GET", "HEAD"])
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            if not allows(request.actor):
                raise Http404(str(permission))
            return view(request, *args, **kwargs)

        return guarded

    return decorate


def confirm(
    request: HttpRequest,
    act: Callable[[str], object],
    *,
    title: str,
    subject: str,
    detail: str,
    consequence: str,
    button: str,
    done: str,
    here: str,
    back: str,
    crumb: str,
    then: str = "",
    danger: bool = False,
) -> HttpResponseBase:
    """Say what will happen and to whom, in `danger` ask why; after the button, `act(why)` once and `back`, or `then`.

    `crumb` is what the page to go back to is called; `here` is its place in the navigation.
    """
    form = (WhyForm if danger else Form)(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            act(form.cleaned_data.get("why", ""))
        except ValidationError as error:
            form.add_error(None, error.messages)
        else:
            messages.success(request, done)
            return redirect(then or back)
    context = {
        "form": form,
        "title": title,
        "subject": subject,
        "detail": detail,
        "consequence": consequence,
        "button": button,
        "back": reverse(back),
        "crumb": crumb,
        "danger": danger,
    }
    return show_page(request, "portal/confirm.html", here, context)


def list_page(
    request: HttpRequest,
    name: str,
    table: lists.RowTable,
    chosen: FilterSet,
    *,
    template: str = "portal/list.html",
    **more: Any,
) -> HttpResponseBase:
    """One page of a list, or with `?export=csv` all that its filters let through; of a list that is longer than a file
    may be, why not."""
    order_and_cut(request, table)
    if request.GET.get("export") == "csv" and not table.is_too_long:
        return csv_response(name, table.export_rows())
    if request.GET.get("export") == "csv":
        counts = {"count": table.page.paginator.count, "most": lists.EXPORT_ROWS}
        told = _(
            "This list has %(count)s rows; a file takes %(most)s. Narrow it with the filters and save it in parts."
        )
        messages.error(request, told % {name: number_format(one, force_grouping=True) for name, one in counts.items()})
        kept = request.GET.copy()
        del kept["export"]
        return redirect(f"{request.path}?{kept.urlencode()}")
    return show_page(request, template, name, {"table": table, "filter": chosen, **more, **live_parts(request)})


def order_and_cut(request: HttpRequest, table: lists.RowTable) -> None:
    """Order a table and cut its page as the URL asks, or the nearest page there is. How long a page is, the URL does
    not say."""
    RequestConfig(request, paginate=False).configure(table)
    asked = request.GET.get("page", 1)
    try:
        table.paginate(page=asked, per_page=PER_PAGE)
    except InvalidPage:
        table.page = table.paginator.get_page(asked)


def live_parts(request: HttpRequest, *topics: str) -> dict[str, Any]:
    """What a template's live parts listen to: these topics, or the operator as a whole."""
    wanted = list(topics) or [f"operator.{request.actor.operator_id}"]
    return {"live_topics": " ".join(wanted), "live_token": live.sign(wanted, request.actor)}


def show_page(request: HttpRequest, template: str, here: str, context: dict[str, Any]) -> HttpResponseBase:
    """A page of the portal with its navigation, in which `here` is the place."""
    held = request.actor.all_permissions
    sees = {
        "installations": "installations.view_location" in held,
        "sessions": "charging.view_session" in held,
        "cards": selectors.sees_cards(request.actor),
        "invoices": SEES_INVOICES in held,
        "people": manages_people(request.actor),
    }
    return render(request, template, {**context, "here": here, "sees": sees})


def same_in_all_rows(request: HttpRequest) -> tuple[str, ...]:
    """The column that says nothing where the visitor is of one organisation alone."""
    return ("organisation",) if len(request.actor.organisations) == 1 else ()
