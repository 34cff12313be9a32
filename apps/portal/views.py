"""Pages of the portal: read with the request's actor, show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import ValidationError
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe
from django_filters import FilterSet
from django_tables2 import RequestConfig

from apps.accounts import services as accounts
from apps.accounts.selectors import manages_people
from apps.charging.curve import power_curve
from apps.charging.selectors import session_rows, visible_sessions
from apps.core import live
from apps.core.actor import Actor
from apps.core.csv import csv_response
from apps.core.tables import RowData, RowTable
from apps.core.templatetags.parts import at_place
from apps.portal import selectors
from apps.portal.filters import InvitationFilter, LocationFilter, PersonFilter, SessionFilter, StationFilter
from apps.portal.forms import InviteForm, WhyForm
from apps.portal.tables import InvitationTable, LocationTable, PersonTable, SessionTable, StationTable

PER_PAGE = 25
RECENT_SESSIONS = 10

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


@never_cache
@require_safe
def home(request: HttpRequest) -> HttpResponseBase:
    """Is anything broken, and what runs now? Who has no role here is told so."""
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    if request.actor.is_anonymous:
        return render(request, "portal/no_access.html", status=404)
    overview = selectors.overview(request.actor, now=timezone.now(), zone=request.brand.operator.time_zone)
    context = {"overview": overview, **_live(request)}
    return _page(request, "portal/home.html", "home", context)


@page_for("installations.view_location")
def locations(request: HttpRequest) -> HttpResponseBase:
    """All own locations."""
    chosen = LocationFilter(request.GET, selectors.visible_locations(request.actor), request=request)
    data = RowData(chosen.qs, lambda places: selectors.location_rows(request.actor, places))
    return _list(request, "locations", LocationTable(data), chosen)


@page_for("installations.view_location")
def location(request: HttpRequest, public_id: UUID) -> HttpResponseBase:
    """One location with its chargers and its last sessions."""
    place = get_object_or_404(selectors.visible_locations(request.actor), public_id=public_id)
    context = {
        "location": place,
        "stations": selectors.station_rows(selectors.visible_stations(request.actor).filter(location=place)),
        "contacts": place.contacts.all(),
        "sessions": _recent(request, location=place),
        **_live(request),
    }
    return _page(request, "portal/location.html", "locations", context)


@page_for("installations.view_chargingstation")
def stations(request: HttpRequest) -> HttpResponseBase:
    """All chargers at own locations."""
    chosen = StationFilter(request.GET, selectors.visible_stations(request.actor), request=request)
    return _list(request, "stations", StationTable(RowData(chosen.qs, selectors.station_rows)), chosen)


@page_for("installations.view_chargingstation")
def station(request: HttpRequest, public_id: UUID) -> HttpResponseBase:
    """One charger: its connectors now, its last sessions."""
    found = get_object_or_404(selectors.visible_stations(request.actor), public_id=public_id)
    [row] = selectors.station_rows(selectors.visible_stations(request.actor).filter(pk=found.pk))
    context = {"station": row, "sessions": _recent(request, station=found), **_live(request, f"station.{found.pk}")}
    return _page(request, "portal/station.html", "stations", context)


@page_for("charging.view_session")
def sessions(request: HttpRequest) -> HttpResponseBase:
    """Sessions at own locations and of own cards."""
    chosen = SessionFilter(request.GET, visible_sessions(request.actor), request=request)
    data = RowData(chosen.qs, lambda page: session_rows(request.actor, page))
    return _list(request, "sessions", SessionTable(data), chosen)


@page_for("charging.view_session")
def session(request: HttpRequest, public_id: UUID) -> HttpResponseBase:
    """One session with its curve, its readings and what happened in it, live while it runs; `?export=csv` its readings.

    Its charger's topic goes only to who may know the charger; others hear of the operator as a whole.
    """
    found = get_object_or_404(visible_sessions(request.actor).select_related("connector"), public_id=public_id)
    life = selectors.session_life(request.actor, found)
    row = life.session
    if request.GET.get("export") == "csv":
        return csv_response("readings", _reading_lines(life))
    curve = power_curve(
        life.power,
        start=row.started_at,
        end=row.ended_at or timezone.now(),
        limit_w=life.limit_w,
        zone=row.zone,
    )
    events = [{"shown": at_place(one.at, row.zone), "text": one.text, "by": one.by} for one in life.events]
    topics = [f"station.{found.station_id}"] if row.own_place else []
    context = {"session": row, "life": life, "curve": curve, "events": events, **_live(request, *topics)}
    return _page(request, "portal/session.html", "sessions", context)


# --- people -----------------------------------------------------------------------------------------------------------
@page_for(manages_people)
def people(request: HttpRequest) -> HttpResponseBase:
    """Who has which role in the visitor's organisation."""
    chosen = PersonFilter(request.GET, selectors.visible_people(request.actor), request=request)
    data = RowData(chosen.qs, lambda page: selectors.person_rows(request.actor, page))
    waiting = selectors.open_invitations(request.actor, now=timezone.now()).count()
    table = PersonTable(data, exclude=_same_in_all_rows(request))
    return _list(request, "people", table, chosen, template="portal/people.html", waiting=waiting)


@page_for(manages_people)
def invitations(request: HttpRequest) -> HttpResponseBase:
    """Who was invited and has not answered."""
    waiting = selectors.open_invitations(request.actor, now=timezone.now())
    chosen = InvitationFilter(request.GET, waiting, request=request)
    table = InvitationTable(RowData(chosen.qs, selectors.invitation_rows), exclude=_same_in_all_rows(request))
    return _list(request, "people", table, chosen, template="portal/invitations.html")


@page_for(manages_people, form=True)
def invite(request: HttpRequest) -> HttpResponseBase:
    """Offer a role to somebody by e-mail."""
    form = InviteForm(request.POST if request.method == "POST" else None, actor=request.actor)
    if form.is_valid():
        try:
            accounts.invite_person(
                actor=request.actor,
                operator=request.brand.operator,
                email=form.cleaned_data["email"],
                role=form.cleaned_data["role"],
                organisation=form.cleaned_data["organisation"],
            )
        except ValidationError as error:
            form.add_error(None, error.messages)
        else:
            told = _("The invitation to %(email)s was sent.") % {"email": form.cleaned_data["email"]}
            messages.success(request, told)
            return redirect("portal:invitations")
    return _page(request, "portal/invite.html", "people", {"form": form})


@page_for(manages_people, form=True)
def resend_invitation(request: HttpRequest, public_id: UUID) -> HttpResponseBase:
    """A new link for somebody who has not answered."""
    waiting = selectors.open_invitations(request.actor, now=timezone.now())
    invitation = get_object_or_404(waiting, public_id=public_id)
    return _confirm(
        request,
        lambda why: accounts.resend_invitation(actor=request.actor, invitation=invitation, why=why),
        title=_("Send the invitation again?"),
        subject=invitation.email,
        detail=f"{invitation.get_role_display()} · {invitation.organisation}",
        consequence=_("A new link is sent, valid for a week. The old link stops working."),
        button=_("Send again"),
        done=_("The invitation to %(email)s was sent again.") % {"email": invitation.email},
        back="portal:invitations",
    )


@page_for(manages_people, form=True)
def revoke_invitation(request: HttpRequest, public_id: UUID) -> HttpResponseBase:
    """An offer ends before it is taken."""
    waiting = selectors.open_invitations(request.actor, now=timezone.now())
    invitation = get_object_or_404(waiting, public_id=public_id)
    return _confirm(
        request,
        lambda why: accounts.revoke_invitation(actor=request.actor, invitation=invitation, why=why),
        title=_("Take the invitation back?"),
        subject=invitation.email,
        detail=f"{invitation.get_role_display()} · {invitation.organisation}",
        consequence=_("The link in the e-mail stops working at once."),
        button=_("Take back"),
        done=_("The invitation to %(email)s was taken back.") % {"email": invitation.email},
        back="portal:invitations",
        danger=True,
    )


@page_for(manages_people, form=True)
def end_access(request: HttpRequest, public_id: UUID) -> HttpResponseBase:
    """Somebody's role in the organisation ends, perhaps the visitor's own."""
    membership = get_object_or_404(selectors.visible_people(request.actor), public_id=public_id)
    [person] = selectors.person_rows(request.actor, [membership])
    if person.is_you:
        consequence = _("You lose this role at once, and cannot give it back to yourself. Your history stays.")
    else:
        consequence = _("This person loses the role at once. Their history stays.")
    return _confirm(
        request,
        lambda why: accounts.end_membership(actor=request.actor, membership=membership, why=why),
        title=_("End your own access?") if person.is_you else _("End access?"),
        subject=person.name,
        detail=f"{person.role} · {person.organisation}",
        consequence=consequence,
        button=_("End access"),
        done=_("%(name)s no longer has this role.") % {"name": person.name},
        back="portal:people",
        then="portal:home" if person.is_you else "portal:people",
        danger=True,
    )


def _confirm(
    request: HttpRequest,
    act: Callable[[str], object],
    *,
    title: str,
    subject: str,
    detail: str,
    consequence: str,
    button: str,
    done: str,
    back: str,
    then: str = "",
    danger: bool = False,
) -> HttpResponseBase:
    """Say what will happen and to whom, in `danger` ask why; after the button, `act(why)` once and back, or `then`."""
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
        "danger": danger,
    }
    return _page(request, "portal/confirm.html", "people", context)


def _same_in_all_rows(request: HttpRequest) -> tuple[str, ...]:
    """The column that says nothing where the visitor is of one organisation alone."""
    return ("organisation",) if len(request.actor.organisations) == 1 else ()


def _reading_lines(life: selectors.SessionLife) -> Iterator[list[Any]]:
    yield [_("Time"), _("Energy (Wh)"), _("Power (W)"), _("Battery (%)")]
    for one in life.readings:
        yield [one.at.isoformat(), one.energy_wh, one.power_w, one.soc_percent]


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """The portal's 404, which says as much as that."""
    return render(request, "portal/not_found.html", status=404)


def server_error(request: HttpRequest) -> HttpResponseBase:
    """The portal's 500."""
    return render(request, "portal/server_error.html", status=500)


def _recent(request: HttpRequest, **where: Any) -> list[Any]:
    return session_rows(request.actor, visible_sessions(request.actor).filter(**where)[:RECENT_SESSIONS])


def _list(
    request: HttpRequest,
    name: str,
    table: RowTable,
    chosen: FilterSet,
    *,
    template: str = "portal/list.html",
    **more: Any,
) -> HttpResponseBase:
    RequestConfig(request, paginate={"per_page": PER_PAGE, "silent": True}).configure(table)
    if request.GET.get("export") == "csv":
        return csv_response(name, table.export_rows())
    return _page(request, template, name, {"table": table, "filter": chosen, **more, **_live(request)})


def _live(request: HttpRequest, *topics: str) -> dict[str, Any]:
    wanted = list(topics) or [f"operator.{request.actor.operator_id}"]
    return {"live_topics": " ".join(wanted), "live_token": live.sign(wanted, request.actor)}


def _page(request: HttpRequest, template: str, here: str, context: dict[str, Any]) -> HttpResponseBase:
    held = request.actor.all_permissions
    sees = {
        "installations": "installations.view_location" in held,
        "sessions": "charging.view_session" in held,
        "people": manages_people(request.actor),
    }
    return render(request, template, {**context, "here": here, "sees": sees})
