"""The pages of a charger and of a session, and a charger's first connection."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from apps.accounts import selectors as accounts
from apps.backoffice.commands import OFFERS, progress_of
from apps.backoffice.forms import AddStationForm, FrameFilter, NewKeyForm
from apps.charging import selectors as charging
from apps.charging.admin import evidence_lines, repairs_of, resolution_title, settlement_chip
from apps.charging.curve import power_curve
from apps.charging.meter import NOTES
from apps.charging.models import AuthorisationReason, ReviewItem, Session
from apps.charging.prices import price_items, price_steps
from apps.core import live
from apps.core.actor import Actor
from apps.core.admin import add_refusal, render_page
from apps.core.models import is_in_calendar
from apps.core.templatetags.parts import at_place
from apps.installations import selectors as installations
from apps.installations.commands import RULES
from apps.installations.models import ChargingStation, Connector
from apps.installations.selectors import StationLive
from apps.installations.services import request_command, trace_station
from apps.ocpp import selectors as ocpp
from apps.ocpp.models import HandshakeRefusal
from apps.ocpp.services import adopt_refusal, ensure_operator_key, issue_station_key, register_station

# --- a charger --------------------------------------------------------------------------------------------------------
QUALITY_OVER = dt.timedelta(days=30)
TRACE_FOR = dt.timedelta(hours=1)
ROWS = 10


def station_page(request: HttpRequest, station_id: int) -> HttpResponse:
    """What a charger does now, what was asked of it, its newest sessions."""
    station = _station(request, station_id, "installations.view_chargingstation")
    actor, now = request.actor, timezone.now()
    sessions = charging.sessions_at(actor, station, limit=ROWS) if actor.can("charging.view_session") else []
    commands = installations.commands_of(actor, station, limit=ROWS)
    state = installations.live_state(actor, station)
    return _station_response(
        request,
        station,
        "now",
        live=state,
        connector_rows=_connector_rows(state, installations.connectors_of(actor, station)),
        quality=charging.start_quality(actor, station, since=now - QUALITY_OVER),
        progress=[progress_of(one) for one in commands],
        sessions=list(zip([one.pk for one in sessions], charging.session_rows(actor, sessions), strict=True)),
        offers=OFFERS.values() if _may_command(request, station) else (),
        repairs=ocpp.repairs_counted(actor, station),
        tracing=station.traced_until is not None and station.traced_until > now,
    )


def _connector_rows(state: StationLive, connectors: list[Connector]) -> list[dict[str, Any]]:
    """Each connector's status, 0 first, with its data."""
    known = {one.number: one for one in connectors}
    return [
        {
            "number": one.number,
            "status": one.status,
            "word": installations.status_word(one.status),
            "since": one.since,
            "error": one.error,
            "codes": one.codes,
            "connector": known.get(one.number),
        }
        for one in state.connectors
    ]


def station_messages(request: HttpRequest, station_id: int) -> HttpResponse:
    """The frame log: each exchange with its answer and latency, by action and time."""
    station = _station(request, station_id, "ocpp.view_frame")
    form = FrameFilter(request.GET)
    zone = ZoneInfo(station.location.time_zone)
    with timezone.override(zone):
        wanted = form.cleaned_data if form.is_valid() else {}
    page = ocpp.frames_of(
        request.actor,
        station,
        action=wanted.get("action", "").strip(),
        since=wanted.get("since"),
        until=_moment(request.GET.get("before")) or wanted.get("until"),
    )
    query = request.GET.copy()
    if page.older is not None:
        query["before"] = page.older.isoformat()
    return _station_response(
        request,
        station,
        "messages",
        form=form,
        page=page,
        older=f"?{query.urlencode()}" if page.older is not None else "",
        tracing=station.traced_until is not None and station.traced_until > timezone.now(),
        may_change=_may(request, "installations.change_chargingstation", station),
    )


def station_configuration(request: HttpRequest, station_id: int) -> HttpResponse:
    """What the charger said of its settings, and what is wanted."""
    station = _station(request, station_id, "installations.view_configurationvalue")
    values = installations.configuration_of(request.actor, station)
    return _station_response(
        request, station, "configuration", values=values, may_command=_may_command(request, station)
    )


def station_history(request: HttpRequest, station_id: int) -> HttpResponse:
    """Connections with reasons, statuses, boots and firmware, hardware, and what people did."""
    station = _station(request, station_id, "installations.view_chargingstation")
    return _station_response(
        request,
        station,
        "history",
        history=installations.history_of_station(request.actor, station),
        audit=accounts.history_of(target=station, actor=request.actor)[:ROWS],
    )


def station_command(request: HttpRequest, station_id: int, action: str) -> HttpResponse:
    """Ask a charger for something: what will happen, the values, why."""
    station = _station(request, station_id, COMMAND)
    offer = OFFERS.get(action)
    if offer is None:
        raise Http404(action)
    form = offer.form(
        request.POST if request.method == "POST" else None,
        initial={name: request.GET[name] for name in request.GET},
        rule=RULES[action],
        connectors=installations.connectors_of(request.actor, station),
        sessions=charging.running_at(request.actor, station),
        zone=station.location.time_zone,
    )
    if request.method == "POST" and form.is_valid():
        try:
            request_command(
                actor=request.actor,
                station=station,
                action=action,
                payload=form.payload(),
                why=form.cleaned_data["why"],
                now=timezone.now(),
            )
        except ValidationError as error:
            form.add_error(None, error.messages)
        else:
            return redirect(reverse("backoffice:station", args=[station.pk]) + "#commands")
    return render_page(
        request,
        "backoffice/command.html",
        title=offer.title,
        subtitle=str(station),
        station=station,
        offer=offer,
        form=form,
        online=station.state.online,
        waits=RULES[action].waits,
        back=reverse("backoffice:station", args=[station.pk]),
    )


def station_trace(request: HttpRequest, station_id: int) -> HttpResponse:
    """Heartbeats enter the frame log for an hour, or no longer."""
    station = _station(request, station_id, "installations.change_chargingstation")
    if request.method != "POST":
        return redirect("backoffice:station_messages", station.pk)
    until = timezone.now() + TRACE_FOR if "on" in request.POST else None
    trace_station(actor=request.actor, station=station, until=until)
    text = _("Heartbeats are kept for an hour.") if until else _("Heartbeats are not kept any more.")
    messages.success(request, text)
    return redirect("backoffice:station_messages", station.pk)


# --- a charger comes --------------------------------------------------------------------------------------------------
def add_station(request: HttpRequest) -> HttpResponse:
    """Make a charger, or adopt a refused one; its URL, identity and key are shown on the next page, once."""
    if not request.user.has_perm("installations.add_chargingstation"):
        raise PermissionDenied
    refusal = _refusal_to_adopt(request)
    form = AddStationForm(
        request.POST if request.method == "POST" else None,
        request=request,
        adopted=refusal is not None,
        initial={"location": request.GET.get("location", "")},
    )
    if request.method == "POST" and form.is_valid():
        try:
            station, secret = _register(request, form, refusal)
        except ValidationError as error:
            add_refusal(form, error)
        else:
            return _connecting(request, station, secret)
    has_places = form.fields["location"].queryset.exists()
    return render_page(
        request,
        "backoffice/add_station.html",
        title=_("Adopt a charger") if refusal else _("Add a charger"),
        form=form,
        refusal=refusal,
        has_places=has_places,
    )


def station_connecting(request: HttpRequest, station_id: int) -> HttpResponse:
    """How a charger connects, and how far it came: waiting → connected → first status."""
    return _connecting(request, _station(request, station_id, "installations.view_chargingstation"), "")


def station_key(request: HttpRequest, station_id: int) -> HttpResponse:
    """A new key for a charger, shown once."""
    station = _station(request, station_id, "installations.change_chargingstation")
    form = NewKeyForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        secret = issue_station_key(actor=request.actor, station=station, now=timezone.now(), **form.cleaned_data)
        return _connecting(request, station, secret)
    return render_page(
        request,
        "backoffice/reason.html",
        title=_("Issue a new key"),
        subtitle=str(station),
        original=station,
        form=form,
        consequence=_("A new key is made and shown once. Set it in the charger; until then it may be refused."),
        dangerous=True,
        back=reverse("backoffice:station", args=[station.pk]),
    )


def _connecting(request: HttpRequest, station: ChargingStation, secret: str) -> HttpResponse:
    ensure_operator_key(operator_id=station.operator_id)
    url = ocpp.charger_url(operator_id=station.operator_id, identity=station.identity, now=timezone.now())
    state = installations.live_state(request.actor, station)
    since = ocpp.refusals(request.actor, since=timezone.now() - dt.timedelta(hours=1), limit=ROWS)
    refused = [one for one in since if one.identity.lower() == station.identity.lower()]
    response = render_page(
        request,
        "backoffice/connecting.html",
        title=_("Connect the charger"),
        subtitle=str(station),
        station=station,
        url=url,
        secret=secret,
        live=state,
        reported=any(one.since is not None for one in state.connectors),
        refused=ocpp.describe_refusals(refused),
        live_url=reverse("backoffice:station_connecting", args=[station.pk]),
        **_live_part(request.actor, f"station.{station.pk}", f"operator.{station.operator_id}"),
    )
    response.headers["Cache-Control"] = "no-store"
    return response


def _register(
    request: HttpRequest, form: AddStationForm, refusal: HandshakeRefusal | None
) -> tuple[ChargingStation, str]:
    given = form.cleaned_data
    if refusal is not None:
        return adopt_refusal(
            actor=request.actor,
            refusal=refusal,
            location=given["location"],
            name=given["name"],
            now=timezone.now(),
        )
    return register_station(
        actor=request.actor,
        location=given["location"],
        identity=given["identity"],
        name=given["name"],
        model=given["model"],
        connectors=form.specs(),
        now=timezone.now(),
    )


def _refusal_to_adopt(request: HttpRequest) -> HandshakeRefusal | None:
    public_id = request.GET.get("refusal")
    if not public_id:
        return None
    if not request.user.has_perm("ocpp.adopt_handshakerefusal"):
        raise PermissionDenied
    refusal = ocpp.refusal_by_id(request.actor, public_id)
    if refusal is None or refusal.station_id is not None:
        raise Http404("no such refusal, or adopted already")
    return refusal


# --- a session --------------------------------------------------------------------------------------------------------
def session_page(request: HttpRequest, session_id: int) -> HttpResponse:
    """All that is known of a session: figures, curve, why its card was accepted, doubts with repairs, evidence."""
    actor = request.actor
    if not actor.can("charging.view_session"):
        raise PermissionDenied
    try:
        session = charging.session_for_page(actor, session_id)
    except Session.DoesNotExist:
        raise Http404(session_id) from None
    # The newest page unless another one is asked for.
    pages = Paginator(charging.readings_of(actor, session), READINGS_A_PAGE)
    readings = pages.get_page(request.GET.get("readings") or -1)
    items = charging.review_items_of(actor, session) if actor.can("charging.view_reviewitem") else []
    [row] = charging.session_rows(actor, [session])
    may_repair = actor.can("charging.repair_session")
    until = session.ended_at or timezone.now()
    return render_page(
        request,
        "backoffice/session.html",
        title=_("Session at %(charger)s") % {"charger": session.station},
        subtitle=session.location.name,
        session=session,
        row=row,
        zone=session.location.time_zone,
        readings=readings,
        curve=power_curve(
            charging.power_points(actor, session, most=POINTS),
            start=session.started_at,
            end=until,
            limit_w=session.connector.max_power_w if session.connector else None,
            zone=session.location.time_zone,
        ),
        notes=[NOTES.get(code, code) for code in charging.reading_notes(actor, session)],
        items=[(item, repairs_of(item) if may_repair else (), evidence_lines(item)) for item in items],
        held=any(item.blocking and item.state == "open" for item in items),
        **_price_part(request, session),
        authorisations=charging.authorisations_for(actor, session),
        authorisation_reason=_reason_of(session),
        **_frames_around(request, session),
        timeline=_timeline(session, items),
        audit=accounts.history_of(target=session, actor=actor)[:ROWS],
        may_stop=session.state == "active" and session.transaction_id is not None and actor.can(COMMAND),
        **_live_part(request.actor, f"station.{session.station_id}", f"session.{session.pk}"),
    )


READINGS_A_PAGE = 500
POINTS = 400


def _price_part(request: HttpRequest, session: Session) -> dict[str, Any]:
    """Where the session stands on its way to a price, and its CDRs, the newest first."""
    actor = request.actor
    if not actor.can("charging.view_cdr"):
        return {}
    settlement = charging.settlement_of(actor, session)
    return {
        "settlement": settlement,
        "settlement_chip": settlement_chip(settlement) if settlement is not None else "",
        "cdrs": [(cdr, price_items(cdr), price_steps(cdr)) for cdr in charging.cdrs_of(actor, session)],
    }


def _reason_of(session: Session) -> str:
    known = AuthorisationReason(session.authorisation_reason) if session.authorisation_reason else None
    return str(known.label) if known is not None else ""


def _timeline(session: Session, items: list[ReviewItem]) -> list[dict[str, Any]]:
    zone = session.location.time_zone
    events = [(session.started_at, _("The session began."), str(session.token or session.uid or ""))]
    if session.awaiting_since is not None:
        events.append((session.awaiting_since, _("The charger went on without ending it; its final data are due."), ""))
    if session.ended_at is not None:
        words = charging.STOP_REASONS.get(session.stop_reason, "")
        events.append((session.ended_at, f"{_('It ended.')} {words}".rstrip(), session.stop_reason))
    for item in items:
        events.append((item.opened_at, item.get_code_display(), ""))
        if item.resolved_at is not None:
            by = str(item.resolved_by or "")
            events.append((item.resolved_at, _("Resolved: %(how)s") % {"how": resolution_title(item)}, by))
    return [{"shown": at_place(at, zone), "text": text, "by": by} for at, text, by in sorted(events, key=_when)]


def _when(event: tuple[dt.datetime, str, str]) -> dt.datetime:
    return event[0]


def _frames_around(request: HttpRequest, session: Session) -> dict[str, Any]:
    """The newest messages of its charger while it ran, those of other connectors too, and the way to all of them."""
    if not request.actor.can("ocpp.view_frame"):
        return {}
    margin = dt.timedelta(seconds=30)
    since = session.start_received_at - margin
    until = (session.stop_received_at or timezone.now()) + margin
    zone = ZoneInfo(session.location.time_zone)
    local = {name: f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S}" for name, at in (("since", since), ("until", until))}
    return {
        "frames": ocpp.frames_of(request.actor, session.station, since=since, until=until).frames,
        "frames_total": ocpp.frame_count(request.actor, session.station, since=since, until=until),
        "frames_link": f"{reverse('backoffice:station_messages', args=[session.station_id])}?{urlencode(local)}",
    }


# --- what these pages share -------------------------------------------------------------------------------------------
COMMAND = "installations.command_chargingstation"


def _station(request: HttpRequest, station_id: int, permission: str) -> ChargingStation:
    try:
        station = installations.station_for_page(request.actor, station_id)
    except ChargingStation.DoesNotExist:
        raise Http404(station_id) from None
    if not _may(request, permission, station):
        raise PermissionDenied
    return station


def _may(request: HttpRequest, permission: str, station: ChargingStation) -> bool:
    return bool(request.actor.can(permission, organisation_id=station.location.host_id))


def _may_command(request: HttpRequest, station: ChargingStation) -> bool:
    return station.archived_at is None and _may(request, COMMAND, station)


def _station_response(request: HttpRequest, station: ChargingStation, tab: str, **context: Any) -> HttpResponse:
    return render_page(
        request,
        f"backoffice/station_{tab}.html",
        title=str(station),
        subtitle=station.location.name,
        station=station,
        zone=station.location.time_zone,
        tab=tab,
        **_live_part(request.actor, f"station.{station.pk}"),
        **context,
    )


def _live_part(actor: Actor, *topics: str) -> dict[str, str]:
    return {"topics": " ".join(topics), "token": live.sign(list(topics), actor)}


def _moment(text: str | None) -> dt.datetime | None:
    try:
        found = dt.datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found if found.tzinfo is not None and is_in_calendar(found) else None
