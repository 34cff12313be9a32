"""Own locations and chargers with their health."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Case, Prefetch, QuerySet, Value, When
from django.utils.translation import gettext_lazy as _

from apps.charging.selectors import last_start
from apps.core.actor import Actor
from apps.installations.models import ChargingStation, Connector, Location
from apps.installations.selectors import Condition, error_print, error_words, with_condition

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
_CONDITIONS = {
    "Faulted": [Condition.FAULTED],
    "Offline": [Condition.OFFLINE, Condition.NEVER],
    "Unavailable": [Condition.UNAVAILABLE],
    "Charging": [Condition.CHARGING],
    "Occupied": [Condition.PREPARING, Condition.RESERVED],
    "Available": [Condition.AVAILABLE],
    "Unknown": [Condition.UNKNOWN],
}


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
    error_code: str


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


def visible_stations(actor: Actor) -> QuerySet[Any]:
    """The actor's chargers in use, each with its `health`, that one's rank `harm`, and `last_start`."""
    health = Case(*(When(condition__in=told, then=Value(name)) for name, told in _CONDITIONS.items()))
    rows: QuerySet[Any] = (
        with_condition(ChargingStation.objects.visible_to(actor).active())
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
        error=error_words(state.error_code, state.error_info) if state else "",
        error_code=error_print(state.error_code) if state else "",
    )


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
