"""Keys of chargers and operators, refused and adopted chargers, leases of gateways, presence."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection, transaction
from django.db.models import F, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from apps.accounts.services import record_audit
from apps.core import bulk, live
from apps.core.actor import Actor
from apps.core.guards import require, require_reason
from apps.core.querysets import TenantQuerySet
from apps.installations.models import Boot, ChargingStation, ConnectionInterval, Location, StationModel, StationState
from apps.installations.services import ConnectorSpec, create_station
from apps.ocpp import keys
from apps.ocpp.handshake import limit_waits, topics
from apps.ocpp.models import GatewayLease, HandshakeRefusal, OperatorKey, StationKey, StrangerRefusal

LEASE = dt.timedelta(seconds=20)
REFUSALS_KEPT = dt.timedelta(days=30)
MAX_REFUSALS = 2000  # an operator, and for all strangers together
URL_KEY_OVERLAP = dt.timedelta(days=30)
MAX_OVERLAP_H = 24 * 30
# Stored in English, pages translate it.
FIRST_KEY = gettext_noop("first key")


# --- keys -------------------------------------------------------------------------------------------------------------


def ensure_operator_key(*, operator_id: int) -> OperatorKey:
    """The operator's part of the charger URL; made if there is none."""
    with transaction.atomic():
        key = OperatorKey.objects.unscoped("the operator's own key").filter(operator_id=operator_id).last()
        return key or OperatorKey.objects.create(operator_id=operator_id, key=keys.new_url_key())


def rotate_operator_key(*, actor: Actor, now: dt.datetime, overlap: dt.timedelta = URL_KEY_OVERLAP) -> OperatorKey:
    """A new key for the charger URL; chargers that use an older one have `overlap` to be moved. PermissionDenied."""
    operator_id = require(actor, "ocpp.add_operatorkey")
    with transaction.atomic():
        _shorten(OperatorKey.objects.visible_to(actor), now + overlap)
        key = OperatorKey.objects.create(operator_id=operator_id, key=keys.new_url_key())
        record_audit(
            actor=actor,
            action="operator_key.rotated",
            target=key,
            after={"overlap_h": overlap // dt.timedelta(hours=1)},
        )
    return key


def issue_station_key(
    *, actor: Actor, station: ChargingStation, why: str, now: dt.datetime, overlap_h: int = 0, secret: str = ""
) -> str:
    """A new key for a charger, random unless one is given; the older ones are good for `overlap_h` more hours.

    Returns the key, which is not kept in clear. Raises ValidationError (no reason, a weak key, too long an overlap),
    PermissionDenied.
    """
    if station.operator_id != require(actor, "installations.change_chargingstation", station.location.host_id):
        raise PermissionDenied
    if not 0 <= overlap_h <= MAX_OVERLAP_H:
        raise ValidationError({"overlap_h": _("0 to 720 hours.")})
    require_reason(why)
    return _issue_key(actor, station, now, why, overlap_h, secret)


def register_station(
    *,
    actor: Actor,
    location: Location,
    identity: str,
    now: dt.datetime,
    name: str = "",
    model: StationModel | None = None,
    connectors: Sequence[ConnectorSpec] = (ConnectorSpec(1),),
    why: str = "",
) -> tuple[ChargingStation, str]:
    """Make a charger with its first key, which is returned and not kept in clear. Raises as `create_station` does."""
    with transaction.atomic():
        station = create_station(
            actor=actor, location=location, identity=identity, name=name, model=model, connectors=connectors
        )
        ensure_operator_key(operator_id=station.operator_id)
        return station, _issue_key(actor, station, now, why or FIRST_KEY)


def adopt_refusal(
    *, actor: Actor, refusal: HandshakeRefusal, location: Location, now: dt.datetime, name: str = ""
) -> tuple[ChargingStation, str]:
    """Make a charger of one that was refused because nobody knew it, with a fresh key.

    Raises ValidationError (it is known by now, its identity is unusable), PermissionDenied.
    """
    if refusal.operator_id != require(actor, "ocpp.adopt_handshakerefusal"):
        raise PermissionDenied
    with transaction.atomic():
        station, secret = register_station(
            actor=actor, location=location, identity=refusal.identity, now=now, name=name
        )
        HandshakeRefusal.objects.visible_to(actor).filter(identity__iexact=refusal.identity, station=None).update(
            station=station
        )
        record_audit(
            actor=actor,
            action="station.adopted",
            target=station,
            after={"address": refusal.address, "tries": refusal.count},
        )
    return station, secret


def _issue_key(
    actor: Actor, station: ChargingStation, now: dt.datetime, why: str, overlap_h: int = 0, secret: str = ""
) -> str:
    secret = secret or keys.new_secret()
    try:
        sealed = keys.seal(secret)
    except keys.WeakSecret as weakness:
        raise ValidationError({"secret": _("16 to 128 characters of ASCII; hex digits count half.")}) from weakness
    with transaction.atomic():
        _shorten(StationKey.objects.visible_to(actor).filter(station=station), now + dt.timedelta(hours=overlap_h))
        key = StationKey.objects.create(
            operator_id=station.operator_id,
            station=station,
            salt=sealed.salt,
            digest=sealed.digest,
            pepper_version=sealed.pepper_version,
        )
        record_audit(
            actor=actor,
            action="station_key.issued",
            target=station,
            after={"key": key.pk, "overlap_h": overlap_h},
            why=why.strip(),
        )
    return secret


def _shorten(rows: TenantQuerySet, until: dt.datetime) -> None:
    """Let keys run out at `until`, unless they do so earlier."""
    rows.filter(Q(valid_until=None) | Q(valid_until__gt=until)).update(valid_until=until)


# --- refused connections ----------------------------------------------------------------------------------------------


def clean_refusals(*, now: dt.datetime) -> int:
    """Forget refusals of more than 30 days ago, and the oldest beyond what a flood of strangers may fill; how many."""
    reason = "cleaning up after all tenants"
    refusals = HandshakeRefusal.objects.unscoped(reason)
    gone = refusals.filter(last_at__lt=now - REFUSALS_KEPT).delete()[0]
    gone += StrangerRefusal.objects.filter(last_at__lt=now - REFUSALS_KEPT).delete()[0]
    for operator_id in refusals.order_by().values_list("operator_id", flat=True).distinct():
        gone += _keep_newest(refusals.filter(operator_id=operator_id))
    return gone + _keep_newest(StrangerRefusal.objects.all())


def _keep_newest(rows: QuerySet[Any]) -> int:
    edge = rows.order_by("-last_at").values_list("last_at", flat=True)[MAX_REFUSALS - 1 : MAX_REFUSALS].first()
    return rows.filter(last_at__lt=edge).delete()[0] if edge is not None else 0


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
            _bury(lease, now, ConnectionInterval.Reason.DRAINED)


def sweep_leases(*, now: dt.datetime, host: str = "") -> list[str]:
    """Bury gateways that did not beat for 20 s, and those of `host` whose process is gone; their names."""
    expired = [lease.name for lease in GatewayLease.objects.all() if is_dead(lease, now, host)]
    buried = []
    for name in expired:
        with transaction.atomic():
            limit_waits()
            locked = GatewayLease.objects.select_for_update(no_key=True, skip_locked=True)
            for lease in locked.filter(name=name):
                if is_dead(lease, now, host):
                    _bury(lease, lease.beat_at, ConnectionInterval.Reason.GATEWAY_LOST)
                    buried.append(name)
    return buried


def is_dead(lease: GatewayLease, now: dt.datetime, host: str) -> bool:
    """Whether it did not beat for 20 s, or is one of `host` whose process is gone."""
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
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Whether it has ended and only waits for its parent, which may never look; where the system tells."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


def _bury(lease: GatewayLease, ended_at: dt.datetime, reason: ConnectionInterval.Reason) -> None:
    online = (
        StationState.objects.unscoped("stations of a gateway that ended, whoever's")
        .select_for_update(no_key=True)
        .filter(gateway=lease.name, online=True)
        .order_by("pk")
    )
    ids = {state.pk: state.operator_id for state in online.only("pk", "operator_id")}
    StationState.objects.unscoped("stations of a gateway that ended, whoever's").filter(
        pk__in=ids, gateway=lease.name, online=True
    ).update(online=False, disconnected_at=ended_at)
    ConnectionInterval.objects.unscoped("connections of a gateway that ended, whoever's").filter(
        gateway=lease.name, ended_at=None
    ).update(ended_at=ended_at, reason=reason)
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
    ("bigint", "bigint", "bool", "timestamptz"),
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


def note_status_refused(*, station_id: int, said: str) -> None:
    """The charger cannot report its status when asked (`said`: NotSupported, NotImplemented): it is not asked again
    until it has another firmware."""
    StationState.objects.unscoped("the charger's own live row").filter(pk=station_id).update(status_on_connect=said)


def forget_status_refused(*, station_ids: Collection[int]) -> None:
    """Chargers whose newest boot named another firmware than the boot before are asked again at their next connect."""
    boots = Boot.objects.unscoped("the chargers' own boots").filter(station=OuterRef("pk")).exclude(firmware="")
    versions = boots.order_by("-received_at", "-pk").values("firmware")
    refused = StationState.objects.unscoped("the chargers' own live rows").filter(pk__in=station_ids)
    known = refused.exclude(status_on_connect="").annotate(newest=versions[:1], before=versions[1:2])
    changed = list(known.filter(before__isnull=False).exclude(newest=F("before")).values_list("pk", flat=True))
    if changed:
        refused.filter(pk__in=changed).update(status_on_connect="")
