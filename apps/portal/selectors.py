"""What the portal's pages show, as typed rows."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Case, Count, Exists, OuterRef, Prefetch, Q, QuerySet, Value, When
from django.db.models.fields import CharField
from django.db.models.functions import Coalesce, NullIf
from django.utils.timesince import timesince
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import Invitation, Membership
from apps.accounts.selectors import grantable_roles, managed_organisations
from apps.charging.curve import small_line
from apps.charging.models import Session, SessionState
from apps.charging.selectors import (
    ReadingRow,
    SessionRow,
    last_start,
    reading_rows,
    session_rows,
    totals_by_day,
    visible_sessions,
)
from apps.core.actor import Actor
from apps.installations.models import ChargingStation, Connector, ConnectorState, Location

# A charger by what a visitor needs to know first, worst first. Values are those of parts.status_chip.
HEALTH = {
    "Faulted": _("faulted"),
    "Offline": _("offline"),
    "Unavailable": _("out of service"),
    "Charging": _("charging"),
    "Occupied": _("in use"),
    "Available": _("available"),
    "Unknown": _("unknown"),
}
BROKEN = ("Faulted", "Offline", "Unavailable")
_CHARGING = ("Charging", "SuspendedEV", "SuspendedEVSE")
_OCCUPIED = ("Preparing", "Finishing", "Reserved")
# What OCPP calls the reason of an end, in words for a visitor.
STOP_REASONS = {
    "DeAuthorized": _("The card was no longer accepted."),
    "EmergencyStop": _("The emergency stop was pressed."),
    "EVDisconnected": _("The car was unplugged."),
    "HardReset": _("The charger was restarted."),
    "Local": _("It was ended at the charger."),
    "PowerLoss": _("The charger lost its power supply."),
    "Reboot": _("The charger restarted by itself."),
    "Remote": _("It was ended by the operator or an app."),
    "SoftReset": _("The charger was restarted."),
    "UnlockCommand": _("The plug was unlocked from afar."),
}
READINGS_SHOWN = 3000
# So long without a reading is told as a gap; chargers send one a minute, slow ones one in five.
GAP = dt.timedelta(minutes=15)
ATTENTION_ROWS = 8
LIVE_ROWS = 12
# Fewer days make no curve.


@dataclass(frozen=True, slots=True)
class ConnectorRow:
    """A connector with its live status; `since` in UTC."""

    number: int
    standard: str
    max_power_w: int
    status: str
    word: str
    since: dt.datetime | None
    error: str


@dataclass(frozen=True, slots=True)
class StationRow:
    """A charger: `health` is a key of `HEALTH`, `since` when it became so."""

    public_id: UUID
    name: str
    identity: str
    place: str
    place_public_id: UUID
    zone: str
    health: str
    health_word: str
    since: dt.datetime | None
    connectors: tuple[ConnectorRow, ...]
    last_start: dt.datetime | None


@dataclass(frozen=True, slots=True)
class LocationRow:
    """A location with its chargers counted by health."""

    public_id: UUID
    name: str
    street: str
    postal_code: str
    city: str
    country: str
    zone: str
    stations: int
    broken: int
    charging: int


@dataclass(frozen=True, slots=True)
class PersonRow:
    """One role of somebody in an organisation; `may_end` tells whether the actor may take it back.
    `zone` is the operator's."""

    public_id: UUID
    name: str
    email: str
    role: str
    organisation: str
    zone: str
    since: dt.datetime
    is_you: bool
    may_end: bool


@dataclass(frozen=True, slots=True)
class InvitationRow:
    """An offer of a role that can still be taken."""

    public_id: UUID
    email: str
    role: str
    organisation: str
    zone: str
    sent_at: dt.datetime
    expires_at: dt.datetime


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """One line of a session's life; `by` names whom or what it is put down to."""

    at: dt.datetime
    text: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class SessionLife:
    """A session with its readings, oldest first, and what happened in it. `limit_w` is what the connector gives."""

    session: SessionRow
    readings: list[ReadingRow]
    limit_w: int | None
    events: list[SessionEvent]

    @property
    def power(self) -> list[tuple[dt.datetime, int]]:
        return [(one.at, one.power_w) for one in self.readings if one.power_w is not None]


@dataclass(frozen=True, slots=True)
class Months:
    """This month so far beside last month up to the same day, in Wh; `days` is this month's energy day by day."""

    sessions: int
    sessions_before: int
    energy_wh: int
    energy_before_wh: int
    days: list[int]

    @property
    def curve(self) -> str:
        return small_line(self.days)


@dataclass(frozen=True, slots=True)
class Overview:
    """The first page. `power_w` is what runs now; `stations` counts chargers by health, `sessions_now` is uncut."""

    stations: dict[str, int]
    attention: list[StationRow]
    attention_count: int
    running: list[SessionRow]
    running_count: int
    power_w: int
    month: Months

    @property
    def station_count(self) -> int:
        return sum(self.stations.values())

    @property
    def broken_count(self) -> int:
        return sum(self.stations.get(health, 0) for health in BROKEN)


def visible_stations(actor: Actor) -> QuerySet[Any]:
    """The actor's chargers in use, each with its `health`, that one's rank `harm`, and `last_start`."""
    of_station = ConnectorState.objects.unscoped("joined to stations that are scoped").filter(
        connector__station=OuterRef("pk"), connector__archived_at=None
    )

    def some(*statuses: str) -> Exists:
        return Exists(of_station.filter(status__in=statuses))

    health = Case(
        When(Q(state=None) | Q(state__online=False), then=Value("Offline")),
        When(Q(state__status="Faulted") | Q(some("Faulted")), then=Value("Faulted")),
        When(some(*_CHARGING), then=Value("Charging")),
        When(some("Available"), then=Value("Available")),
        When(some(*_OCCUPIED), then=Value("Occupied")),
        When(Q(state__status="Unavailable") | Q(some("Unavailable")), then=Value("Unavailable")),
        default=Value("Unknown"),
        output_field=CharField(),
    )
    rows: QuerySet[Any] = (
        ChargingStation.objects.visible_to(actor)
        .active()
        .select_related("location", "state")
        .annotate(health=health, last_start=last_start())
        .annotate(harm=Case(*(When(health=name, then=Value(rank)) for rank, name in enumerate(HEALTH))))
        .order_by("location__name", "name", "identity")
    )
    return rows


def station_rows(stations: QuerySet[Any]) -> list[StationRow]:
    """Typed rows of a page of `visible_stations`: two queries, whatever its size."""
    connectors = Connector.objects.unscoped("of stations that are scoped").filter(archived_at=None)
    with_connectors = stations.prefetch_related(
        Prefetch("connectors", queryset=connectors.select_related("state").order_by("number"))
    )
    return [_station_row(station) for station in with_connectors]


def visible_locations(actor: Actor) -> QuerySet[Location]:
    """The actor's locations in use, by name."""
    rows: QuerySet[Location] = Location.objects.visible_to(actor).active().order_by("name")
    return rows


def location_rows(actor: Actor, locations: Iterable[Location]) -> list[LocationRow]:
    """Typed rows of a page of locations: one query for all their chargers."""
    places = list(locations)
    counted: dict[int, Counter[str]] = {place.pk: Counter() for place in places}
    health = visible_stations(actor).filter(location__in=[place.pk for place in places])
    for pk, state in health.values_list("location_id", "health").order_by():
        counted[pk][state] += 1
    return [_location_row(place, counted[place.pk]) for place in places]


def visible_people(actor: Actor) -> QuerySet[Membership]:
    """Who has which role in the organisations whose people the actor looks after, by name."""
    rows: QuerySet[Membership] = (
        Membership.objects.visible_to(actor)
        .current()
        .filter(organisation__in=managed_organisations(actor).values("pk"))
        .select_related("user", "organisation", "operator")
        .annotate(shown_name=Coalesce(NullIf("user__name", Value("")), "user__email", output_field=CharField()))
        .order_by("shown_name", "user__email", "pk")
    )
    return rows


def person_rows(actor: Actor, memberships: Iterable[Membership]) -> list[PersonRow]:
    """Typed rows of a page of `visible_people`, without a query of their own."""
    return [
        PersonRow(
            public_id=one.public_id,
            name=one.user.get_full_name(),
            email=one.user.email,
            role=one.get_role_display(),
            organisation=str(one.organisation),
            zone=one.operator.time_zone,
            since=one.created_at,
            is_you=one.user_id == actor.user_id,
            may_end=one.role in grantable_roles(actor, organisation_id=one.organisation_id),
        )
        for one in memberships
    ]


def open_invitations(actor: Actor, *, now: dt.datetime) -> QuerySet[Invitation]:
    """Offers into those organisations that can still be taken, the newest first."""
    rows: QuerySet[Invitation] = (
        Invitation.objects.visible_to(actor)
        .open(now)
        .filter(organisation__in=managed_organisations(actor).values("pk"))
        .select_related("organisation", "operator", "brand")
        .order_by("-created_at", "-pk")
    )
    return rows


def invitation_rows(invitations: Iterable[Invitation]) -> list[InvitationRow]:
    """Typed rows of a page of `open_invitations`, without a query of their own."""
    return [
        InvitationRow(
            public_id=one.public_id,
            email=one.email,
            role=one.get_role_display(),
            organisation=str(one.organisation),
            zone=one.operator.time_zone,
            sent_at=one.created_at,
            expires_at=one.expires_at,
        )
        for one in invitations
    ]


def overview(actor: Actor, *, now: dt.datetime, zone: str) -> Overview:
    """What the first page answers: is anything broken, what runs now, what came of the month in `zone`."""
    stations = visible_stations(actor)
    by_health = dict(stations.order_by().values_list("health").annotate(count=Count("pk")))
    broken = stations.filter(health__in=BROKEN).order_by("harm", "location__name", "name", "identity")
    running = visible_sessions(actor).filter(state=SessionState.ACTIVE)
    powers = running.order_by().values_list("live__power_w", flat=True)
    return Overview(
        stations=by_health,
        attention=station_rows(broken[:ATTENTION_ROWS]),
        attention_count=sum(by_health.get(name, 0) for name in BROKEN),
        running=session_rows(actor, running[:LIVE_ROWS]),
        running_count=len(powers),
        power_w=sum(power or 0 for power in powers),
        month=months(actor, now=now, zone=zone),
    )


def months(actor: Actor, *, now: dt.datetime, zone: str) -> Months:
    """One query, whatever the number of sessions."""
    today = now.astimezone(ZoneInfo(zone)).date()
    first = today.replace(day=1)
    before = (first - dt.timedelta(days=1)).replace(day=1)
    since = dt.datetime.combine(before, dt.time(), ZoneInfo(zone))
    totals = totals_by_day(actor, since=since, zone=zone)
    current = [one for one in totals if one.day >= first]
    earlier = [one for one in totals if one.day < first and one.day.day <= today.day]
    energy = {one.day: one.energy_wh for one in current}
    return Months(
        sessions=sum(one.sessions for one in current),
        sessions_before=sum(one.sessions for one in earlier),
        energy_wh=sum(energy.values()),
        energy_before_wh=sum(one.energy_wh for one in earlier),
        days=[energy.get(first + dt.timedelta(days=number), 0) for number in range(today.day)],
    )


def session_life(actor: Actor, session: Session) -> SessionLife:
    """All that the actor may know of one of `visible_sessions`: its readings cost one query, its connector another."""
    [row] = session_rows(actor, [session])
    readings = reading_rows(actor, session, limit=READINGS_SHOWN)
    connector = session.connector if row.own_place else None
    return SessionLife(
        session=row,
        readings=readings,
        limit_w=connector.max_power_w if connector else None,
        events=_events(row, readings, session.awaiting_since),
    )


def _events(row: SessionRow, readings: list[ReadingRow], awaiting_since: dt.datetime | None) -> list[SessionEvent]:
    events = [SessionEvent(row.started_at, str(_("The session began.")), row.card or "")]
    until = [row.ended_at] if row.ended_at else []
    known = [row.started_at, *(one.at for one in readings), *until]
    for earlier, later in pairwise(known):
        if later - earlier > GAP:
            text = _("No readings for %(long)s.") % {"long": timesince(earlier, later, depth=1)}
            events.append(SessionEvent(earlier, text))
    if awaiting_since is not None and row.ended_at is None:
        events.append(SessionEvent(awaiting_since, str(_("The connection was lost; the end is still to come."))))
    if row.ended_at is not None:
        ended = str(_("The session ended."))
        why = STOP_REASONS.get(row.stop_reason)
        events.append(SessionEvent(row.ended_at, f"{ended} {why}" if why else ended))
    elif readings:
        events.append(SessionEvent(readings[-1].at, str(_("The newest reading came."))))
    return sorted(events, key=lambda event: event.at)


def _station_row(station: Any) -> StationRow:
    connectors = tuple(_connector_row(connector) for connector in station.connectors.all())
    state = getattr(station, "state", None)
    changed = [one.since for one in connectors if one.since and one.status == station.health]
    since = (state and state.disconnected_at) if station.health == "Offline" else max(changed, default=None)
    return StationRow(
        public_id=station.public_id,
        name=str(station),
        identity=station.identity,
        place=station.location.name,
        place_public_id=station.location.public_id,
        zone=station.location.time_zone,
        health=station.health,
        health_word=str(HEALTH[station.health]),
        since=since,
        connectors=connectors,
        last_start=station.last_start,
    )


def _connector_row(connector: Connector) -> ConnectorRow:
    state = getattr(connector, "state", None)
    return ConnectorRow(
        number=connector.number,
        standard=connector.get_standard_display(),
        max_power_w=connector.max_power_w,
        status=state.status if state else "Unknown",
        word=state.get_status_display() if state else str(HEALTH["Unknown"]),
        since=state.status_at if state else None,
        error=_error_of(state) if state else "",
    )


def _error_of(state: ConnectorState) -> str:
    told = [state.error_code if state.error_code != "NoError" else "", state.error_info]
    return ": ".join(filter(None, told))


def _location_row(place: Location, counted: Counter[str]) -> LocationRow:
    return LocationRow(
        public_id=place.public_id,
        name=place.name,
        street=place.street,
        postal_code=place.postal_code,
        city=place.city,
        country=place.country,
        zone=place.time_zone,
        stations=counted.total(),
        broken=sum(counted[health] for health in BROKEN),
        charging=counted["Charging"],
    )
