"""What pages and the API show of the gateway: the URL of a charger, refused connections in words."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet

from apps.charging.models import Session, SessionState
from apps.core.actor import Actor
from apps.installations.models import ChargingStation, StationState
from apps.ocpp.models import REMEDIES, Frame, HandshakeRefusal, OperatorKey, RefusalReason, RepairCount

FRAMES_A_PAGE = 50
LAST_SESSION = dt.timedelta(days=1)
_DEFAULT_PORTS = {"ws": 80, "wss": 443}


@dataclass(frozen=True, slots=True)
class RefusalRow:
    """A refused connection as it is shown. `reason` and `remedy` are words in the reader's language."""

    public_id: uuid.UUID
    identity: str
    address: str
    code: str
    reason: str
    remedy: str
    count: int
    first_at: dt.datetime
    last_at: dt.datetime
    user_agent: str
    station_id: int | None
    adoptable: bool


def stations_to_part_from(*, gateway: str, now: dt.datetime) -> list[int]:
    """Archived stations that are still connected to `gateway`. One that was charging when it was archived may first
    tell the end of that: it could not connect again for it. It has a day."""
    begun_before = Session.objects.unscoped("the gateway's own chargers").filter(
        station=OuterRef("station"),
        state__in=[SessionState.ACTIVE, SessionState.AWAITING],
        start_received_at__lt=OuterRef("station__archived_at"),
    )
    archived = StationState.objects.unscoped("the gateway's own chargers").filter(
        gateway=gateway, online=True, station__archived_at__isnull=False
    )
    waits = Q(station__archived_at__gt=now - LAST_SESSION) & Exists(begun_before)
    return list(archived.exclude(waits).values_list("pk", flat=True))


def charger_url(*, operator_id: int, identity: str, now: dt.datetime) -> str:
    """The URL that a charger is given: `ws(s)://host[:port]/ocpp/<operator key>/<identity>`."""
    key = (
        OperatorKey.objects.unscoped("the URL of the operator's own charger")
        .filter(Q(valid_until=None) | Q(valid_until__gt=now), operator_id=operator_id)
        .latest("created_at")
    )
    scheme = "wss" if settings.PUBLIC_SCHEME == "https" else "ws"
    port = "" if _DEFAULT_PORTS[scheme] == settings.PUBLIC_PORT else f":{settings.PUBLIC_PORT}"
    return f"{scheme}://{settings.CHARGER_HOST}{port}/ocpp/{key.key}/{quote(identity, safe='')}"


def describe_refusals(refusals: Iterable[HandshakeRefusal]) -> list[RefusalRow]:
    """The rows with reasons and remedies in words. A charger that nobody knows may be adopted."""
    return [_describe(refusal) for refusal in refusals]


def _describe(refusal: HandshakeRefusal) -> RefusalRow:
    reason = RefusalReason(refusal.reason)
    return RefusalRow(
        public_id=refusal.public_id,
        identity=refusal.identity,
        address=refusal.address,
        code=refusal.reason,
        reason=str(reason.label),
        remedy=str(REMEDIES[reason]),
        count=refusal.count,
        first_at=refusal.first_at,
        last_at=refusal.last_at,
        user_agent=refusal.user_agent,
        station_id=refusal.station_id,
        adoptable=reason is RefusalReason.UNKNOWN_STATION and refusal.station_id is None,
    )


@dataclass(frozen=True, slots=True)
class FramePage:
    """Frames of one charger, newest first. `older` is the time from which the next page goes on, or None."""

    frames: list[Frame]
    older: dt.datetime | None


def frames_of(
    actor: Actor,
    station: ChargingStation,
    *,
    action: str = "",
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
    size: int = FRAMES_A_PAGE,
) -> FramePage:
    """Exchanges with a charger, `since` and `until` included. Secrets were masked when they were written."""
    rows = _frames(actor, station, since, until)
    if action:
        rows = rows.filter(action=action)
    found = list(rows.order_by("-received_at", "-generation", "-sequence")[: size + 1])
    return FramePage(frames=found[:size], older=found[size].received_at if len(found) > size else None)


def frame_count(actor: Actor, station: ChargingStation, *, since: dt.datetime | None, until: dt.datetime | None) -> int:
    """How many exchanges there are, `since` and `until` included."""
    return _frames(actor, station, since, until).count()


def _frames(
    actor: Actor, station: ChargingStation, since: dt.datetime | None, until: dt.datetime | None
) -> QuerySet[Frame]:
    rows: QuerySet[Frame] = Frame.objects.visible_to(actor).filter(station_id=station.pk)
    if since is not None:
        rows = rows.filter(received_at__gte=since)
    return rows.filter(received_at__lte=until) if until is not None else rows


def refusals(actor: Actor, *, since: dt.datetime, limit: int) -> list[HandshakeRefusal]:
    """Connections refused since then, the newest first."""
    rows = HandshakeRefusal.objects.visible_to(actor).filter(last_at__gte=since).select_related("station__location")
    return list(rows.order_by("-last_at")[:limit])


def refusal_by_id(actor: Actor, public_id: str) -> HandshakeRefusal | None:
    """One refused connection by its public id, typed by anybody."""
    try:
        wanted = uuid.UUID(public_id)
    except ValueError:
        return None
    found: HandshakeRefusal | None = HandshakeRefusal.objects.visible_to(actor).filter(public_id=wanted).first()
    return found


def repairs_counted(actor: Actor, station: ChargingStation) -> list[RepairCount]:
    """How often which repair was made to the charger's messages, the most frequent first."""
    return list(RepairCount.objects.visible_to(actor).filter(station=station).order_by("-count", "name"))
