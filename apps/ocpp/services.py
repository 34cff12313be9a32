"""Changes that the gateway and its keys make: keys, adopted chargers, leases, presence."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from django.db import connection, transaction

from apps.core import bulk, live
from apps.installations.models import ConnectionInterval, StationState
from apps.ocpp.handshake import limit_waits, topics
from apps.ocpp.models import GatewayLease

LEASE = dt.timedelta(seconds=20)


# --- leases: which gateway processes live (contract G11) --------------------------------------------------------------


def open_lease(*, name: str, host: str, pid: int, now: dt.datetime) -> None:
    """Say that a gateway process begins to work, or works again."""
    GatewayLease.objects.update_or_create(
        name=name, defaults={"host": host, "pid": pid, "beat_at": now}, create_defaults=_lease(name, host, pid, now)
    )


def _lease(name: str, host: str, pid: int, now: dt.datetime) -> dict[str, object]:
    return {"name": name, "host": host, "pid": pid, "started_at": now, "beat_at": now}


def beat_lease(*, name: str, now: dt.datetime) -> bool:
    """Say that the process still works; False where the lease was swept meanwhile."""
    return GatewayLease.objects.filter(name=name).update(beat_at=now) == 1


def close_lease(*, name: str, now: dt.datetime) -> None:
    """End a lease. What is still online under it is not."""
    with transaction.atomic():
        limit_waits()
        for lease in GatewayLease.objects.select_for_update(no_key=True).filter(name=name):
            _bury(lease, now)


def sweep_leases(*, now: dt.datetime, host: str = "") -> list[str]:
    """Bury gateways that did not beat for 20 s, and those of `host` whose process is gone; their names."""
    expired = [lease.name for lease in GatewayLease.objects.all() if _is_dead(lease, now, host)]
    buried = []
    for name in expired:
        with transaction.atomic():
            limit_waits()
            locked = GatewayLease.objects.select_for_update(no_key=True, skip_locked=True)
            for lease in locked.filter(name=name):
                if _is_dead(lease, now, host):
                    _bury(lease, lease.beat_at)
                    buried.append(name)
    return buried


def _is_dead(lease: GatewayLease, now: dt.datetime, host: str) -> bool:
    if lease.beat_at < now - LEASE:
        return True
    return lease.host == host and lease.started_at < now and not _is_alive(lease.pid)


def _is_alive(pid: int) -> bool:
    if pid == os.getpid():  # in a container that began again the number is ours now
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _bury(lease: GatewayLease, ended_at: dt.datetime) -> None:
    online = (
        StationState.objects.unscoped("stations of a lost gateway, whoever's")
        .select_for_update(no_key=True)
        .filter(gateway=lease.name, online=True)
        .order_by("pk")
    )
    ids = {state.pk: state.operator_id for state in online.only("pk", "operator_id")}
    StationState.objects.unscoped("stations of a lost gateway, whoever's").filter(
        pk__in=ids, gateway=lease.name, online=True
    ).update(online=False, disconnected_at=ended_at)
    ConnectionInterval.objects.unscoped("connections of a lost gateway, whoever's").filter(
        gateway=lease.name, ended_at=None
    ).update(ended_at=ended_at, reason=ConnectionInterval.Reason.GATEWAY_LOST)
    lease.delete()
    live.touch(*{topic for station, operator in ids.items() for topic in topics(operator, station)})


# --- presence (contract G9, G10, G16) ---------------------------------------------------------------------------------


class Ended(NamedTuple):
    """A connection that is no more."""

    station_id: int
    operator_id: int
    generation: int
    at: dt.datetime
    reason: str
    code: int


_OFFLINE = bulk.Update(
    "installations_stationstate",
    ("station_id",),
    ("generation", "online", "disconnected_at"),
    ("bigint", "bigint", "boolean", "timestamptz"),
    guard="t.generation = v.generation AND t.online",
)
_ENDED = bulk.Update(
    "installations_connectioninterval",
    ("station_id", "generation"),
    ("ended_at", "reason", "close_code"),
    ("bigint", "bigint", "timestamptz", "text", "int"),
    expressions=(
        ("ended_at", "coalesce(t.ended_at, v.ended_at)"),
        ("reason", "CASE WHEN t.reason = '' THEN v.reason ELSE t.reason END"),
    ),
)
_SEEN = bulk.Update(
    "installations_stationstate",
    ("station_id",),
    ("generation", "last_seen_at"),
    ("bigint", "bigint", "timestamptz"),
    guard="t.generation = v.generation AND t.last_seen_at < v.last_seen_at",
)
_PRESENCE = """
SELECT t.station_id, t.generation, s.traced_until
  FROM installations_stationstate t JOIN installations_chargingstation s ON s.id = t.station_id
 WHERE t.station_id = ANY(%s::bigint[])"""


def mark_offline(*, ended: Sequence[Ended]) -> None:
    """Write that connections ended; a station is offline only if the connection was its newest."""
    newest = {one.station_id: one for one in sorted(ended, key=lambda one: one.generation)}
    with transaction.atomic():
        limit_waits()
        bulk.lock_rows(connection, "installations_stationstate", "station_id", newest)
        bulk.update_rows(
            connection, _OFFLINE, [(one.station_id, one.generation, False, one.at) for one in newest.values()]
        )
        bulk.update_rows(
            connection, _ENDED, [(one.station_id, one.generation, one.at, one.reason, one.code) for one in ended]
        )
    live.touch_committed({topic for one in ended for topic in topics(one.operator_id, one.station_id)})


def mark_seen(*, rows: Iterable[tuple[int, int, dt.datetime]]) -> None:
    """Write when stations were last heard: (station id, generation, time)."""
    rows = sorted(rows)
    if not rows:
        return
    with transaction.atomic():
        limit_waits()
        bulk.lock_rows(connection, "installations_stationstate", "station_id", [row[0] for row in rows])
        bulk.update_rows(connection, _SEEN, rows)


def read_presence(*, station_ids: Collection[int], now: dt.datetime) -> dict[int, tuple[int, bool]]:
    """Station id → its newest generation, and whether it is being traced."""
    if not station_ids:
        return {}
    return {
        station_id: (generation, (until := bulk.aware(traced_until)) is not None and until > now)
        for station_id, generation, traced_until in bulk.fetch_rows(connection, _PRESENCE, list(station_ids))
    }
