"""What we ask of chargers, from the request to its end."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import models, transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from apps.accounts.services import record_audit
from apps.core import live
from apps.core.actor import Actor, Kind
from apps.core.guards import require, require_reason
from apps.installations.commands import (
    ANSWER_WITHIN,
    MAX_OPEN,
    OWNER_GONE,
    READ_AGAIN,
    RULES,
    check_payload,
    check_target,
)
from apps.installations.models import Boot, ChargingStation, Command, CommandState, StationState

COMMAND = "installations.command_chargingstation"

# Stored in English, as the charger's own words are; pages translate them.
NOT_CONNECTED = gettext_noop("the charger was not connected")
BUSY = gettext_noop("the charger was busy until the deadline")
GATEWAY_LOST = gettext_noop("the gateway was lost before an answer")

# How far back a boot looks for resets without an answer: it is told by a task, which may be late.
LOOK_BACK = dt.timedelta(days=1)


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
    if station.operator_id != require(actor, COMMAND, station.location.host_id):
        raise PermissionDenied
    check_payload(action, payload)
    rule = RULES[action]
    if rule.asks_why(a_person=actor.kind is Kind.SESSION):
        require_reason(why)
    if station.archived_at is not None:
        raise ValidationError({"station": _("This charger is archived.")})
    check_target(station, action, payload)
    with transaction.atomic():
        if actor.kind is not Kind.SYSTEM and _queued(station) >= MAX_OPEN:
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
    ring_gateway(station)
    return command


def _queued(station: ChargingStation) -> int:
    rows = Command.objects.unscoped("the charger's own commands").filter(station=station, state=CommandState.QUEUED)
    return int(rows.count())


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
    live.touch(f"operator.{command.operator_id}", f"station.{command.station_id}")
    return bool(answered)


def return_commands(*, commands: Sequence[Command]) -> None:
    """They were claimed, but certainly never written to a socket: they wait again."""
    for command in commands:
        Command.objects.unscoped("the gateway's own command").filter(
            pk=command.pk, state=CommandState.SENT, message_id=command.message_id
        ).update(state=CommandState.QUEUED, message_id="", generation=None, sent_at=None)


def finish_commands(*, commands: Sequence[Command], now: dt.datetime) -> None:
    """The effect of these accepted commands was seen."""
    if not commands:
        return
    Command.objects.unscoped("the gateway's own commands").filter(
        pk__in=[one.pk for one in commands], state=CommandState.ACCEPTED
    ).update(state=CommandState.DONE, finished_at=now)
    _touch([(one.operator_id, one.station_id) for one in commands])


def finish_resets(*, station_ids: Collection[int], now: dt.datetime) -> None:
    """Resets of these chargers whose answer was lost, but that were followed by a boot in time: the boot is the effect.
    A new connection alone is none: the old one may have broken for any reason."""
    resets = list(
        Command.objects.unscoped("effects of commands, all tenants").filter(
            station_id__in=station_ids,
            action="Reset",
            state=CommandState.UNKNOWN,
            answered_at=None,
            created_at__gt=now - LOOK_BACK,
        )
    )
    since = min((one.sent_at for one in resets if one.sent_at is not None), default=now)
    boots = list(
        Boot.objects.unscoped("effects of commands, all tenants")
        .filter(station_id__in={one.station_id for one in resets}, received_at__gte=since)
        .values_list("station_id", "received_at")
    )
    seen = [one for one in resets if any(one.station_id == pk and _in_time(one, at) for pk, at in boots)]
    for command in seen:
        _update(command, state=CommandState.DONE, finished_at=now)
    _touch([(one.operator_id, one.station_id) for one in seen])


def _in_time(command: Command, at: dt.datetime) -> bool:
    within = RULES[command.action].effect
    return command.sent_at is not None and within is not None and command.sent_at <= at <= command.sent_at + within


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
    if reset := {one.station_id for one in found if one.action == "Reset"}:
        finish_resets(station_ids=reset, now=now)  # the boot may have come first
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


def ring_gateway(station: ChargingStation) -> None:
    """Tell the gateway of a connected charger to look what was written for it; it only saves time."""
    state = StationState.objects.unscoped("the charger's own live row").filter(station=station, online=True).first()
    if state is not None and state.gateway:
        live.touch(f"gateway.{state.gateway}")
