"""Reads across installations, as typed rows."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from apps.core.actor import Actor
from apps.installations.models import ChargingStation, ConnectorState, StationState


@dataclass(frozen=True, slots=True)
class ConnectorLive:
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
