"""Reads across installations, as typed rows."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass
from typing import Any

from django.db import models
from django.db.models import Case, Count, OuterRef, Q, Subquery, Value, When
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from apps.core.actor import Actor
from apps.installations.models import (
    Boot,
    ChargingStation,
    Command,
    CommandState,
    ConfigurationValue,
    ConnectionInterval,
    Connector,
    ConnectorState,
    ConnectorStatus,
    DataImport,
    ErrorCode,
    HardwareAssignment,
    ProgressReport,
    StationState,
    StatusInterval,
)


class Reported:
    """What a status report says is wrong: in words, and the codes for the small print."""

    error_code: str
    error_info: str
    vendor_error_code: str = ""

    @property
    def error(self) -> str:
        return error_words(self.error_code, self.error_info)

    @property
    def codes(self) -> str:
        return " ".join(filter(None, (error_print(self.error_code), self.vendor_error_code)))


def error_words(code: str, info: str) -> str:
    """The code in words, and what the charger says of it; empty where nothing is wrong."""
    known = code in ErrorCode.values and code != ErrorCode.NO_ERROR
    return " ".join(filter(None, (str(ErrorCode(code).label) if known else "", info)))


def error_print(code: str) -> str:
    return "" if code == ErrorCode.NO_ERROR else code


@dataclass(frozen=True)
class ConnectorLive(Reported):
    """Status of one connector; number 0 is the charger itself. `since` is None before its first report."""

    number: int
    status: str
    since: dt.datetime | None
    error_code: str
    error_info: str


@dataclass(frozen=True, slots=True)
class StationLive:
    """What a charger is doing. `clock_offset_s`: how far its clock is ahead; None: not known at this connection."""

    station_id: int
    online: bool
    gateway: str
    connected_at: dt.datetime | None
    disconnected_at: dt.datetime | None
    last_seen_at: dt.datetime | None
    booted_at: dt.datetime | None
    clock_offset_s: float | None
    connectors: tuple[ConnectorLive, ...]


def live_state(actor: Actor, station: ChargingStation) -> StationLive:
    """The live state of a charger that `actor` may see. Raises StationState.DoesNotExist for any other."""
    state = StationState.objects.visible_to(actor).get(station=station)
    connectors = (
        ConnectorState.objects.visible_to(actor)
        .filter(connector__station=station, connector__archived_at=None)
        .order_by("connector__number")
        .select_related("connector")
    )
    return StationLive(
        station_id=station.pk,
        online=state.online,
        gateway=state.gateway,
        connected_at=state.connected_at,
        disconnected_at=state.disconnected_at,
        last_seen_at=state.last_seen_at,
        booted_at=state.booted_at,
        clock_offset_s=state.clock_offset_s,
        connectors=(
            ConnectorLive(0, state.status, state.status_at, state.error_code, state.error_info),
            *(
                ConnectorLive(one.connector.number, one.status, one.status_at, one.error_code, one.error_info)
                for one in connectors
            ),
        ),
    )


# --- how chargers are, in one word ------------------------------------------------------------------------------------
class Condition(models.TextChoices):
    """A charger in one word: what its connectors do, unless it is not there. In the order of harm."""

    FAULTED = "Faulted", _("faulted")
    OFFLINE = "Offline", _("offline")
    NEVER = "never", _("never connected")
    UNAVAILABLE = "Unavailable", _("out of service")
    UNKNOWN = "Unknown", _("unknown")
    PREPARING = "Preparing", _("preparing or finishing")
    RESERVED = "Reserved", _("reserved")
    CHARGING = "Charging", _("charging")
    AVAILABLE = "Available", _("available")


# What the status of a connector says of its charger. Of several connectors, the one that comes first here.
_TELLING = {
    Condition.FAULTED: (ConnectorStatus.FAULTED,),
    Condition.CHARGING: (ConnectorStatus.CHARGING, ConnectorStatus.SUSPENDED_EV, ConnectorStatus.SUSPENDED_EVSE),
    Condition.PREPARING: (ConnectorStatus.PREPARING, ConnectorStatus.FINISHING),
    Condition.RESERVED: (ConnectorStatus.RESERVED,),
    Condition.AVAILABLE: (ConnectorStatus.AVAILABLE,),
    Condition.UNAVAILABLE: (ConnectorStatus.UNAVAILABLE,),
}


def with_condition(stations: models.QuerySet[Any]) -> models.QuerySet[Any]:
    """Each charger with its `condition`, a value of `Condition`: the one rule for all pages.

    Connector 0 speaks for the whole charger where it is faulted, and where no connector tells anything.
    """
    statuses = ConnectorState.objects.unscoped("joined to chargers that are scoped").filter(
        connector__station=OuterRef("pk"), connector__archived_at=None
    )
    rank = Case(*(When(status__in=told, then=number) for number, told in enumerate(_TELLING.values())))
    ranked = statuses.annotate(rank=rank).exclude(rank=None).order_by("rank")
    rows: models.QuerySet[Any] = stations.annotate(
        condition=Case(
            When(Q(state=None) | Q(state__online=False, state__connected_at=None), then=Value(Condition.NEVER)),
            When(state__online=False, then=Value(Condition.OFFLINE)),
            When(state__status=ConnectorStatus.FAULTED, then=Value(Condition.FAULTED)),
            default=Coalesce(
                Subquery(ranked.values_list(_meaning("status"))[:1]),
                _meaning("state__status"),
                Value(Condition.UNKNOWN),
            ),
            output_field=models.CharField(),
        )
    )
    return rows


def _meaning(status: str) -> Case:
    whens = (When(**{f"{status}__in": told}, then=Value(one)) for one, told in _TELLING.items())
    return Case(*whens, output_field=models.CharField())


def station_conditions(actor: Actor) -> Counter[Condition]:
    """How many chargers in use that `actor` sees are in which condition. One query."""
    stations = with_condition(ChargingStation.objects.visible_to(actor).active())
    counted = stations.order_by().values_list("condition").annotate(count=Count("pk"))
    return Counter({Condition(one): count for one, count in counted})


# --- what needs somebody ----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Fault(Reported):
    """A connector (0: the charger itself) that reports a fault while its charger is connected."""

    station_id: int
    station: str
    location_id: int
    location: str
    connector: int
    since: dt.datetime | None
    error_code: str
    error_info: str


@dataclass(frozen=True, slots=True)
class Absence:
    """A charger that was connected once and is not now. `since`: when its connection ended."""

    station_id: int
    station: str
    location_id: int
    location: str
    since: dt.datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class FoundConnector:
    """A connector that a charger named and the inventory lacked; its data are guesses."""

    connector_id: int
    number: int
    station_id: int
    station: str
    location_id: int
    location: str
    found_at: dt.datetime


@dataclass(frozen=True, slots=True)
class FailedCommand:
    """A command of a person that came to nothing."""

    station_id: int
    station: str
    location_id: int
    location: str
    action: str
    state: str
    state_label: str
    detail: str
    at: dt.datetime


def faults(actor: Actor, *, limit: int) -> list[Fault]:
    """Faulted connectors of connected chargers, longest first."""
    connectors = (
        ConnectorState.objects.visible_to(actor)
        .filter(status=ConnectorStatus.FAULTED, connector__archived_at=None)
        .filter(connector__station__archived_at=None, connector__station__state__online=True)
        .select_related("connector__station__location")
        .order_by("status_at")[:limit]
    )
    stations = (
        StationState.objects.visible_to(actor)
        .filter(status=ConnectorStatus.FAULTED, online=True, station__archived_at=None)
        .select_related("station__location")
        .order_by("status_at")[:limit]
    )
    found = [(one.connector.station, one.connector.number, one) for one in connectors]
    found += [(one.station, 0, one) for one in stations]
    return [
        Fault(
            station_id=station.pk,
            station=str(station),
            location_id=station.location_id,
            location=station.location.name,
            connector=number,
            since=state.status_at,
            error_code=state.error_code,
            error_info=state.error_info,
        )
        for station, number, state in found
    ]


def absences(actor: Actor, *, limit: int) -> list[Absence]:
    """Chargers that are offline, longest first."""
    ended = ConnectionInterval.objects.visible_to(actor).filter(station=OuterRef("station")).order_by("-generation")
    rows = (
        StationState.objects.visible_to(actor)
        .filter(online=False, station__archived_at=None)
        .exclude(connected_at=None)
        .select_related("station__location")
        .annotate(reason=Subquery(ended.values("reason")[:1]))
        .order_by("disconnected_at")[:limit]
    )
    reasons = dict(ConnectionInterval.Reason.choices)
    return [
        Absence(
            station_id=one.station_id,
            station=str(one.station),
            location_id=one.station.location_id,
            location=one.station.location.name,
            since=one.disconnected_at,
            reason=str(reasons.get(one.reason, "")),
        )
        for one in rows
    ]


def found_connectors(actor: Actor, *, limit: int) -> list[FoundConnector]:
    """Connectors to check, oldest first."""
    rows = (
        Connector.objects.visible_to(actor)
        .filter(archived_at=None, station__archived_at=None)
        .exclude(found_at=None)
        .select_related("station__location")
        .order_by("found_at")[:limit]
    )
    return [
        FoundConnector(
            connector_id=one.pk,
            number=one.number,
            station_id=one.station_id,
            station=str(one.station),
            location_id=one.station.location_id,
            location=one.station.location.name,
            found_at=one.found_at,
        )
        for one in rows
    ]


def failed_commands(actor: Actor, *, since: dt.datetime, limit: int) -> list[FailedCommand]:
    """Commands that people gave since then and that came to nothing, newest first."""
    failed = (CommandState.REJECTED, CommandState.TIMED_OUT, CommandState.NOT_DELIVERED, CommandState.UNKNOWN)
    rows = (
        Command.objects.visible_to(actor)
        .filter(created_at__gte=since, state__in=failed, station__archived_at=None)
        .exclude(user=None)
        .select_related("station__location")
        .order_by("-created_at")[:limit]
    )
    return [
        FailedCommand(
            station_id=one.station_id,
            station=str(one.station),
            location_id=one.station.location_id,
            location=one.station.location.name,
            action=one.action,
            state=one.state,
            state_label=str(one.get_state_display()),
            detail=one.detail,
            at=one.created_at,
        )
        for one in rows
    ]


# --- a charger's life -------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class StatusSpan(Reported):
    """A status of a connector (0: the charger itself) from `at` until the next one; `until` None: it holds."""

    at: dt.datetime
    until: dt.datetime | None
    connector: int
    status: str
    error_code: str
    error_info: str
    vendor_error_code: str

    @property
    def word(self) -> str:
        return status_word(self.status)


def status_word(status: str) -> str:
    """A status in words; one that no version of OCPP knows as the charger said it."""
    return str(ConnectorStatus(status).label) if status in ConnectorStatus.values else status


def status_history(actor: Actor, station: ChargingStation, *, limit: int = 100) -> list[StatusSpan]:
    """The newest status changes of a charger, newest first."""
    rows = StatusInterval.objects.visible_to(actor).filter(station_id=station.pk).order_by("-at", "-sequence")[:limit]
    spans: list[StatusSpan] = []
    following: dict[int, dt.datetime] = {}
    for one in rows:
        spans.append(
            StatusSpan(
                at=one.at,
                until=following.get(one.connector_number),
                connector=one.connector_number,
                status=one.status,
                error_code=one.error_code,
                error_info=one.error_info,
                vendor_error_code=one.vendor_error_code,
            )
        )
        following[one.connector_number] = one.at
    return spans


@dataclass(frozen=True, slots=True)
class StationHistory:
    """What is kept of a charger's life, each newest first."""

    connections: list[ConnectionInterval]
    boots: list[Boot]
    reports: list[ProgressReport]
    hardware: list[HardwareAssignment]
    statuses: list[StatusSpan]


def station_for_page(actor: Actor, station_id: int) -> ChargingStation:
    """A charger with its place, model and live row. Raises ChargingStation.DoesNotExist."""
    station: ChargingStation = (
        ChargingStation.objects.visible_to(actor).select_related("location", "model", "state").get(pk=station_id)
    )
    return station


def connectors_of(actor: Actor, station: ChargingStation) -> list[Connector]:
    """The connectors in use, with their status, by number."""
    rows = Connector.objects.visible_to(actor).filter(station=station, archived_at=None)
    return list(rows.select_related("state", "evse").order_by("number"))


def commands_of(actor: Actor, station: ChargingStation, *, limit: int) -> list[Command]:
    """The newest commands of a charger, those that still wait for something first."""
    rows = Command.objects.visible_to(actor).filter(station=station)
    open_first = Case(When(state__in=Command.OPEN, then=0), default=1)
    return list(rows.order_by(open_first, "-created_at", "-pk")[:limit])


def configuration_of(actor: Actor, station: ChargingStation) -> list[ConfigurationValue]:
    """What was read from a charger, by key."""
    return list(ConfigurationValue.objects.visible_to(actor).filter(station=station).order_by("key"))


def history_of_station(actor: Actor, station: ChargingStation, *, limit: int = 50) -> StationHistory:
    """Connections, boots, progress reports, hardware and statuses. Five queries."""
    return StationHistory(
        connections=list(
            ConnectionInterval.objects.visible_to(actor).filter(station=station).order_by("-generation")[:limit]
        ),
        boots=list(Boot.objects.visible_to(actor).filter(station=station).order_by("-received_at", "-pk")[:limit]),
        reports=list(
            ProgressReport.objects.visible_to(actor).filter(station=station).order_by("-received_at", "-pk")[:limit]
        ),
        hardware=list(
            HardwareAssignment.objects.visible_to(actor)
            .filter(station=station)
            .select_related("unit")
            .order_by("-installed_at")[:limit]
        ),
        statuses=status_history(actor, station, limit=2 * limit),
    )


# --- imports ----------------------------------------------------------------------------------------------------------
def imports_of(actor: Actor, *, kind: str, limit: int = 10) -> list[DataImport]:
    """The newest imports of a kind, without their rows."""
    rows = DataImport.objects.visible_to(actor).filter(kind=kind).defer("rows", "refused", "sample")
    return list(rows.select_related("user").order_by("-pk")[:limit])


def import_for_page(actor: Actor, import_id: int) -> DataImport:
    """One import without its rows. Raises DataImport.DoesNotExist."""
    found: DataImport = DataImport.objects.visible_to(actor).defer("rows").select_related("user").get(pk=import_id)
    return found
