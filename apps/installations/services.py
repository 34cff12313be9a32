"""Changes to locations, chargers and their hardware, and what we ask of chargers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import models, transaction
from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from apps.accounts.services import record_audit
from apps.core import live
from apps.core.actor import Actor, Kind
from apps.installations import baseline
from apps.installations.commands import (
    ANSWER_WITHIN,
    MAX_OPEN,
    OWNER_GONE,
    READ_AGAIN,
    RULES,
    check_payload,
    is_secret_key,
)
from apps.installations.models import (
    EVSE,
    ChargingStation,
    Command,
    CommandState,
    ConfigurationValue,
    Connector,
    ConnectorState,
    HardwareAssignment,
    HardwareUnit,
    Location,
    StationModel,
    StationState,
)

COMMAND = "installations.command_chargingstation"

# Stored in English, as the charger's own words are; pages translate them.
ARCHIVED = gettext_noop("the charger was archived")
NOT_CONNECTED = gettext_noop("the charger was not connected")
BUSY = gettext_noop("the charger was busy until the deadline")
GATEWAY_LOST = gettext_noop("the gateway was lost before an answer")


@dataclass(frozen=True, slots=True)
class ConnectorSpec:
    """A connector to be made. `number` is the connectorId of OCPP 1.6, `evse` its EVSE's number (default: the same)."""

    number: int
    evse: int | None = None
    number_in_evse: int = 1
    standard: str = Connector.Standard.TYPE_2
    format: str = Connector.Format.SOCKET
    power_type: str = Connector.PowerType.AC_3
    max_voltage_v: int = 400
    max_current_a: int = 32
    max_power_w: int = 22_000


# --- locations and chargers -------------------------------------------------------------------------------------------


def create_location(*, actor: Actor, name: str, street: str, city: str, country: str, **fields: Any) -> Location:
    """Make a location; `fields` are further columns of it. Raises ValidationError, PermissionDenied."""
    operator_id = _require(actor, "installations.add_location")
    location = Location(operator_id=operator_id, name=name, street=street, city=city, country=country, **fields)
    with transaction.atomic():
        _save_new(location)
        record_audit(actor=actor, action="location.created", target=location, after={"name": name, "city": city})
    return location


def create_station(
    *,
    actor: Actor,
    location: Location,
    identity: str,
    name: str = "",
    model: StationModel | None = None,
    connectors: Sequence[ConnectorSpec] = (ConnectorSpec(1),),
) -> ChargingStation:
    """Make a charger with its EVSEs, connectors and their live rows. Its key is made by `ocpp.keys`.

    Raises ValidationError (identity taken or unusable, a foreign location or model), PermissionDenied.
    """
    operator_id = _require(actor, "installations.add_chargingstation", location.host_id)
    station = ChargingStation(operator_id=operator_id, location=location, identity=identity, name=name, model=model)
    with transaction.atomic():
        _save_new(station)
        StationState.objects.create(station=station, operator_id=station.operator_id)
        for spec in connectors:
            _make_connector(station, spec)
        record_audit(
            actor=actor,
            action="station.created",
            target=station,
            after={"identity": identity, "location": location.name, "connectors": [one.number for one in connectors]},
        )
    live.touch(f"operator.{station.operator_id}")
    return station


def add_connector(*, actor: Actor, station: ChargingStation, spec: ConnectorSpec) -> Connector:
    """Add a connector, and its EVSE where the charger has none of that number yet."""
    _require(actor, "installations.add_connector", station.location.host_id)
    with transaction.atomic():
        connector = _make_connector(station, spec)
        record_audit(actor=actor, action="connector.added", target=station, after=asdict(spec))
    return connector


def archive_station(*, actor: Actor, station: ChargingStation, now: dt.datetime, why: str) -> None:
    """Take a charger out of service for good: its identity becomes free, its history stays. What waits for it is
    withdrawn. Raises ValidationError without a reason."""
    _require(actor, "installations.delete_chargingstation", station.location.host_id)
    _require_reason(why)
    with transaction.atomic():
        for rows in (
            Connector.objects.visible_to(actor).filter(station=station, archived_at=None),
            EVSE.objects.visible_to(actor).filter(station=station, archived_at=None),
            ChargingStation.objects.visible_to(actor).filter(pk=station.pk, archived_at=None),
        ):
            rows.update(archived_at=now)
        Command.objects.visible_to(actor).filter(station=station, state=CommandState.QUEUED).update(
            state=CommandState.NOT_DELIVERED,
            answered_by=Command.By.SYSTEM,
            detail=ARCHIVED,
            finished_at=now,
        )
        record_audit(
            actor=actor, action="station.archived", target=station, before={"identity": station.identity}, why=why
        )
    station.archived_at = now
    live.touch(f"operator.{station.operator_id}", f"station.{station.pk}")


def restore_station(*, actor: Actor, station: ChargingStation, why: str) -> None:
    """Take an archived charger back into use, with what was archived together with it. Raises ValidationError where its
    identity was given to another charger meanwhile."""
    _require(actor, "installations.change_chargingstation", station.location.host_id)
    _require_reason(why)
    archived_at, station.archived_at = station.archived_at, None
    with transaction.atomic():
        station.validate_constraints()
        for rows in (EVSE.objects.visible_to(actor), Connector.objects.visible_to(actor)):
            rows.filter(station=station, archived_at=archived_at).update(archived_at=None)
        station.save(update_fields=["archived_at"])
        record_audit(
            actor=actor, action="station.restored", target=station, after={"identity": station.identity}, why=why
        )
    live.touch(f"operator.{station.operator_id}", f"station.{station.pk}")


def confirm_connector(*, actor: Actor, connector: Connector, why: str) -> None:
    """Say that the data of a connector which the charger reported were checked."""
    _require(actor, "installations.change_connector", connector.station.location.host_id)
    with transaction.atomic():
        record_audit(
            actor=actor,
            action="connector.checked",
            target=connector,
            before={"found_at": connector.found_at and connector.found_at.isoformat()},
            why=why,
        )
        connector.found_at = None
        connector.save(update_fields=["found_at"])
    live.touch(f"operator.{connector.operator_id}")


def trace_station(*, actor: Actor, station: ChargingStation, until: dt.datetime | None) -> None:
    """Let heartbeats of a charger enter its frame log until then; None: no longer."""
    _require(actor, "installations.change_chargingstation", station.location.host_id)
    before, station.traced_until = station.traced_until, until
    with transaction.atomic():
        station.save(update_fields=["traced_until"])
        record_audit(
            actor=actor,
            action="station.traced",
            target=station,
            before={"until": before and before.isoformat()},
            after={"until": until and until.isoformat()},
        )


def assign_hardware(
    *, actor: Actor, station: ChargingStation, unit: HardwareUnit, at: dt.datetime, why: str = ""
) -> HardwareAssignment:
    """Hang a unit at a charger from `at` on. What hung there, and where the unit hung, ends then.

    Raises ValidationError where a period would overlap one that is closed or begins later.
    """
    _require(actor, "installations.change_chargingstation", station.location.host_id)
    with transaction.atomic():
        rows = HardwareAssignment.objects.visible_to(actor).filter(Q(station=station) | Q(unit=unit))
        around = list(rows.select_for_update(no_key=True).select_related("unit").order_by("pk"))
        if any(one.removed_at is None and one.station_id == station.pk and one.unit_id == unit.pk for one in around):
            raise ValidationError({"unit": _("This unit hangs at this charger already.")})
        if any(one.installed_at >= at or (one.removed_at is not None and one.removed_at > at) for one in around):
            raise ValidationError({"at": _("At that time this unit or another one hung here or elsewhere.")})
        before = [one for one in around if one.removed_at is None]
        rows.filter(removed_at=None).update(removed_at=at)
        assignment = HardwareAssignment(operator_id=station.operator_id, unit=unit, station=station, installed_at=at)
        _save_new(assignment)
        record_audit(
            actor=actor,
            action="hardware.assigned",
            target=station,
            before={"units": [one.unit.serial for one in before if one.station_id == station.pk]},
            after={"unit": unit.serial, "from": at.isoformat()},
            why=why,
        )
    return assignment


def _make_connector(station: ChargingStation, spec: ConnectorSpec) -> Connector:
    number = spec.evse if spec.evse is not None else spec.number
    evse = (
        EVSE.objects.unscoped("the charger's own EVSEs")
        .filter(station=station, number=number)
        .filter(archived_at=None)
        .first()
    )
    if evse is None:
        evse = EVSE(operator_id=station.operator_id, station=station, number=number)
        _save_new(evse)
    values = {name: value for name, value in asdict(spec).items() if name != "evse"}
    connector = Connector(operator_id=station.operator_id, station=station, evse=evse, **values)
    _save_new(connector)
    ConnectorState.objects.create(connector=connector, operator_id=station.operator_id)
    return connector


def _save_new(row: models.Model) -> None:
    row.full_clean()
    row.save(force_insert=True)


# --- commands ---------------------------------------------------------------------------------------------------------


def request_command(
    *,
    actor: Actor,
    station: ChargingStation,
    action: str,
    payload: dict[str, Any],
    why: str = "",
    now: dt.datetime,
) -> Command:
    """Ask a charger for something. Durable on return; `ocpp` delivers it before its deadline or not at all.

    `payload` is the request of OCPP 1.6. Raises PermissionDenied, ValidationError (`action`, `payload`, `why`,
    `station`).
    """
    if station.operator_id != _require(actor, COMMAND, station.location.host_id):
        raise PermissionDenied
    check_payload(action, payload)
    rule = RULES[action]
    if rule.needs_reason:
        _require_reason(why)
    if station.archived_at is not None:
        raise ValidationError({"station": _("This charger is archived.")})
    with transaction.atomic():
        open_ones = Command.objects.visible_to(actor).filter(station=station, state=CommandState.QUEUED)
        if open_ones.count() >= MAX_OPEN:
            raise ValidationError({"station": _("Too many commands wait for this charger.")})
        command = Command.objects.create(
            operator_id=station.operator_id,
            station=station,
            action=action,
            payload=payload,
            user_id=actor.user_id if actor.kind is Kind.SESSION else None,
            actor=actor.label[:160],
            why=why.strip()[:300],
            waits=rule.waits,
            created_at=now,
            deadline_at=now + rule.delivery,
        )
        record_audit(
            actor=actor,
            action="command.requested",
            target=station,
            after={"command": str(command.public_id), "action": action, "payload": payload},
            why=why.strip(),
        )
    _ring(station)
    return command


def answer_command(*, command: Command, state: CommandState, detail: str, answer: Any, now: dt.datetime) -> bool:
    """Write what the charger answered. False, and nothing is done, where the command was answered before; an answer
    that comes late still replaces "outcome unknown"."""
    answered = (
        Command.objects.unscoped("the gateway's own command")
        .filter(pk=command.pk, message_id=command.message_id, answered_at=None)
        .filter(state__in=[CommandState.SENT, CommandState.UNKNOWN])
        .update(
            state=state,
            answered_by=Command.By.STATION,
            detail=detail,
            answer=answer,
            answered_at=now,
            finished_at=None if state == CommandState.ACCEPTED else now,
        )
    )
    if answered and command.action == "ChangeConfiguration":
        _note_configuration_change(command, state, detail, now)
    live.touch(f"operator.{command.operator_id}", f"station.{command.station_id}")
    return bool(answered)


def return_commands(*, commands: Sequence[Command]) -> None:
    """They were claimed, but certainly never written to a socket: they wait again."""
    for command in commands:
        _update(command, state=CommandState.QUEUED, message_id="", generation=None, sent_at=None)


def finish_commands(*, commands: Sequence[Command], now: dt.datetime) -> None:
    """The effect of these accepted commands was seen."""
    if not commands:
        return
    Command.objects.unscoped("the gateway's own commands").filter(
        pk__in=[one.pk for one in commands], state=CommandState.ACCEPTED
    ).update(state=CommandState.DONE, finished_at=now)
    _touch([(one.operator_id, one.station_id) for one in commands])


def close_overdue_commands(*, now: dt.datetime) -> int:
    """Give up what nobody will finish: queued past its deadline, sent by a gateway that is gone, accepted and without
    effect in time. Every gateway does it, and a task for when none runs. Returns how many were closed."""
    commands = Command.objects.unscoped("deadlines hold for every tenant")
    closed = [
        *_expired(commands.filter(state=CommandState.QUEUED, deadline_at__lte=now), now),
        *_lost(commands.filter(state=CommandState.SENT, sent_at__lte=now - OWNER_GONE), now),
        *_without_effect(commands.filter(state=CommandState.ACCEPTED), now),
    ]
    _touch(closed)
    return len(closed)


def lose_commands(*, ids: Sequence[int], detail: str, ask_again: bool, now: dt.datetime) -> None:
    """They were sent and got no answer: their outcome is unknown. With `ask_again` (the socket broke, the charger did
    not stay mute) a read waits for the next connection instead."""
    if ids:
        commands = Command.objects.unscoped("the gateway's own commands").filter(pk__in=ids)
        _touch(_lost(commands, now, detail, ask_again=ask_again))


_Closed = list[tuple[int, int]]


def _expired(rows: models.QuerySet[Command], now: dt.datetime) -> _Closed:
    found = list(rows.select_related("station__state"))
    for command in found:
        detail = BUSY if command.station.state.online else NOT_CONNECTED
        _close(command, CommandState.NOT_DELIVERED, detail, now)
    return [(one.operator_id, one.station_id) for one in found]


def _lost(
    rows: models.QuerySet[Command], now: dt.datetime, detail: str = GATEWAY_LOST, *, ask_again: bool = True
) -> _Closed:
    found = list(rows.filter(state=CommandState.SENT))
    for command in found:
        may_again = ask_again and RULES[command.action].is_read
        if may_again and now < min(command.deadline_at, command.created_at + READ_AGAIN):
            _update(command, state=CommandState.QUEUED, message_id="", generation=None, sent_at=None)
        else:
            _close(command, CommandState.UNKNOWN, detail, now)
    return [(one.operator_id, one.station_id) for one in found]


def _without_effect(rows: models.QuerySet[Command], now: dt.datetime) -> _Closed:
    overdue = [one for one in rows if _effect_due(one) <= now]
    for command in overdue:
        _close(command, CommandState.TIMED_OUT, command.detail, now)
    return [(one.operator_id, one.station_id) for one in overdue]


def _effect_due(command: Command) -> dt.datetime:
    assert command.answered_at is not None
    return command.answered_at + (RULES[command.action].effect_within(command.detail) or ANSWER_WITHIN)


def _close(command: Command, state: CommandState, detail: str, now: dt.datetime) -> None:
    by = command.answered_by or Command.By.SYSTEM
    _update(command, state=state, answered_by=by, detail=detail, finished_at=now)


def _update(command: Command, **values: Any) -> None:
    # Guarded by the state it was read in: another process may have written the outcome meanwhile.
    Command.objects.unscoped("one command, read before").filter(pk=command.pk, state=command.state).update(**values)


def _touch(closed: _Closed) -> None:
    for operator_id, station_id in set(closed):
        live.touch(f"operator.{operator_id}", f"station.{station_id}")


def _ring(station: ChargingStation) -> None:
    # The poll of each second makes the doorbell optional; it only saves that second.
    state = StationState.objects.unscoped("the charger's own live row").filter(station=station, online=True).first()
    if state is not None and state.gateway:
        live.touch(f"gateway.{state.gateway}")


# --- configuration ----------------------------------------------------------------------------------------------------


def begin_baseline(*, station_id: int, now: dt.datetime) -> Command | None:
    """After a boot: ask for the keys of the baseline. None where that was done a short while ago (a charger that boots
    again and again is asked once in ten minutes) or still waits."""
    station = ChargingStation.objects.unscoped("the charger that booted").select_related("location").get(pk=station_id)
    asked = Command.objects.unscoped("the charger that booted").filter(
        station=station, action="GetConfiguration", actor=baseline.ACTOR
    )
    if (
        station.archived_at is not None
        or asked.filter(Q(state__in=Command.OPEN) | Q(created_at__gt=now - baseline.MIN_INTERVAL)).exists()
    ):
        return None
    return request_command(
        actor=Actor.system(station.operator_id, why=baseline.ACTOR),
        station=station,
        action="GetConfiguration",
        payload={"key": list(baseline.KEYS)},
        now=now,
    )


def store_configuration(
    *, command: Command, reported: Iterable[tuple[str, str, bool]], unknown: Iterable[str], now: dt.datetime
) -> None:
    """Keep what a charger reported: (key, value, read only), and the keys it does not know. Values of secret keys are
    not kept. Where the baseline asked, set what differs."""
    rows = {
        key: ConfigurationValue(
            operator_id=command.operator_id,
            station_id=command.station_id,
            key=key,
            value="" if is_secret_key(key) else value,
            readonly=readonly,
            read_at=now,
        )
        for key, value, readonly in reported
    }
    with transaction.atomic():
        ConfigurationValue.objects.bulk_create(
            rows.values(),
            update_conflicts=True,
            unique_fields=["station", "key"],
            update_fields=["value", "readonly", "read_at"],
        )
        if command.actor == baseline.ACTOR:
            _apply_baseline(command, set(unknown), now)


def _apply_baseline(command: Command, unknown: set[str], now: dt.datetime) -> None:
    values = {
        one.key: one
        for one in ConfigurationValue.objects.unscoped("the charger that booted").filter(
            station_id=command.station_id, key__in=baseline.WANTED
        )
    }
    for key, wanted in baseline.WANTED.items():
        row = values.get(key) or ConfigurationValue(
            operator_id=command.operator_id, station_id=command.station_id, key=key, read_at=now
        )
        if row.note == baseline.BY_HAND or (row.note == baseline.REFUSED and row.wanted in wanted.candidates):
            continue
        row.wanted = row.wanted if row.wanted in wanted.candidates else wanted.candidates[0]
        differs = row.pk is not None and key not in unknown and not wanted.is_met(row.value, row.wanted)
        row.note = _baseline_note(row, known=row.pk is not None and key not in unknown, differs=differs)
        row.save()
        if differs and not row.readonly:
            _set_baseline(command.station, key, row.wanted, now)


def _baseline_note(row: ConfigurationValue, *, known: bool, differs: bool) -> str:
    if not known:
        return baseline.NOT_KNOWN
    return baseline.READ_ONLY if differs and row.readonly else ""


def _set_baseline(station: ChargingStation, key: str, value: str, now: dt.datetime) -> None:
    request_command(
        actor=Actor.system(station.operator_id, why=baseline.ACTOR),
        station=station,
        action="ChangeConfiguration",
        payload={"key": key, "value": value},
        now=now,
    )


def _note_configuration_change(command: Command, state: CommandState, detail: str, now: dt.datetime) -> None:
    """Keep what a ChangeConfiguration came to: the new value, the baseline's next candidate, or that it was refused."""
    key, value = command.payload["key"], command.payload["value"]
    row = ConfigurationValue.objects.unscoped("the charger that answered").filter(
        station_id=command.station_id, key=key
    ).first() or ConfigurationValue(operator_id=command.operator_id, station_id=command.station_id, key=key)
    by_baseline = command.actor == baseline.ACTOR
    if state == CommandState.DONE:
        row.value, row.wanted, row.read_at = value, value, now
        row.note = "" if by_baseline else baseline.BY_HAND
        if detail == "RebootRequired":
            row.note = baseline.AFTER_RESTART if by_baseline else row.note
        row.save()
    elif state == CommandState.REJECTED and by_baseline:
        following = baseline.WANTED[key].after(value) if key in baseline.WANTED else None
        row.wanted, row.note = following or value, "" if following else baseline.REFUSED
        row.save()
        if following:
            _set_baseline(command.station, key, following, now)


def _require(actor: Actor, permission: str, host_id: int | None = None) -> int:
    """The actor's operator, if the actor may do this there."""
    if actor.operator_id is None or not actor.can(permission, organisation_id=host_id):
        raise PermissionDenied
    return actor.operator_id


def _require_reason(why: str) -> None:
    if not why.strip():
        raise ValidationError({"why": _("Say why: this is kept with your name.")})
