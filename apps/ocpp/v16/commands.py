"""What a 1.6 charger's answer to a command means, and by what the effect of an accepted one is seen. Data and queries;
`outbox` calls them.

Source: OCPP 1.6 sections 5.2 to 5.18. Answers are read leniently: case is folded, an unknown word is an unknown
outcome.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q
from django.utils.translation import gettext_noop

from apps.cards.uid import normalise
from apps.charging.models import Session, SessionState
from apps.installations.commands import RULES
from apps.installations.models import (
    Boot,
    Command,
    CommandState,
    ConnectionInterval,
    ConnectorState,
    ConnectorStatus,
    StationState,
)
from apps.ocpp import frames
from apps.ocpp.models import Frame, FrameDirection

# Words that mean yes, and words that mean no; anything else is an unknown outcome.
YES = {
    "ChangeAvailability": ("Accepted", "Scheduled"),
    "ChangeConfiguration": ("Accepted", "RebootRequired"),
    "UnlockConnector": ("Unlocked", "Accepted"),
}
NO = ("Rejected", "NotSupported", "NotImplemented", "UnlockFailed", "UnknownMessageId", "UnknownVendorId")
MAX_KEYS = 1000
MAX_KEY = 50
MAX_VALUE = 2000
RUNNING = (SessionState.ACTIVE, SessionState.AWAITING)
ODDEST_CLOCK = dt.timedelta(days=2)
WITHOUT_STATUS = frozenset({"GetConfiguration"})
NO_ANSWER = gettext_noop("the charger's answer could not be read")
NO_STATUS = gettext_noop("the charger answered without a status that is known")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an answer means. `detail` is the charger's status word, or its error."""

    state: CommandState
    detail: str


def read_answer(action: str, answer: frames.Result | frames.Error) -> Outcome:
    """The meaning of a CALLRESULT or CALLERROR to `action`."""
    if isinstance(answer, frames.Error):
        if answer.broken:
            return Outcome(CommandState.UNKNOWN, NO_ANSWER)
        return Outcome(CommandState.REJECTED, f"{answer.code}: {answer.description}".rstrip(": ")[:300])
    accepted = CommandState.DONE if RULES[action].effect is None else CommandState.ACCEPTED
    if action in WITHOUT_STATUS:
        return Outcome(accepted, "")
    sent = answer.payload.get("status")
    word = sent.casefold() if isinstance(sent, str) else ""
    for known in YES.get(action, ("Accepted",)):
        if word == known.casefold():
            return Outcome(accepted, known)
    for known in NO:
        if word == known.casefold():
            return Outcome(CommandState.REJECTED, known)
    return Outcome(CommandState.UNKNOWN, NO_STATUS)


def read_configuration(payload: dict[str, Any]) -> tuple[list[tuple[str, str, bool]], list[str]]:
    """Of an answer to GetConfiguration: (key, value, read only) of what is known, and the keys that are not."""
    reported = [
        (key, _plain(entry.get("value")), entry.get("readonly") in (True, "true", "True"))
        for entry in _list(payload.get("configurationKey"))
        if isinstance(entry, dict) and (key := _plain(entry.get("key"))) and len(key) <= MAX_KEY
    ]
    return reported, [_plain(key) for key in _list(payload.get("unknownKey"))]


def _list(value: Any) -> list[Any]:
    return value[:MAX_KEYS] if isinstance(value, list) else []


def _plain(value: Any) -> str:
    return "" if value is None or isinstance(value, dict | list) else str(value)[:MAX_VALUE]


def with_effect(commands: Sequence[Command]) -> list[Command]:
    """Those accepted commands whose effect is in the database. One query an action, whatever their number."""
    by_action: dict[str, list[Command]] = defaultdict(list)
    for command in commands:
        by_action[command.action].append(command)
    seen = {pk for action, some in by_action.items() if action in _EFFECTS for pk in _EFFECTS[action](some)}
    return [command for command in commands if command.pk in seen]


def _started(commands: list[Command]) -> Iterable[int]:
    """A session with the card asked for began at that charger, at that connector if one was named."""
    sessions = list(
        Session.objects.unscoped("effects of commands, all tenants")
        .filter(station_id__in=_stations(commands), start_received_at__gte=_since(commands))
        .filter(Q(state__in=RUNNING) | Q(started_at__gte=_since(commands) - ODDEST_CLOCK))  # both have an index
        .values_list("station_id", "uid", "connector_number", "start_received_at")
    )
    for command in commands:
        uid, connector = normalise(command.payload["idTag"]), command.payload.get("connectorId")
        if any(
            station_id == command.station_id
            and normalise(found) == uid
            and connector in (None, number)
            and received_at >= _sent(command)
            for station_id, found, number, received_at in sessions
        ):
            yield command.pk


def _stopped(commands: list[Command]) -> Iterable[int]:
    """The session has its end."""
    ended = set(
        Session.objects.unscoped("effects of commands, all tenants")
        .filter(transaction_id__in=[command.payload["transactionId"] for command in commands])
        .filter(Q(state__in=[SessionState.ENDED, SessionState.VOID]) | Q(stop_received_at__isnull=False))
        .values_list("station_id", "transaction_id")
    )
    return [one.pk for one in commands if (one.station_id, one.payload["transactionId"]) in ended]


def _restarted(commands: list[Command]) -> Iterable[int]:
    """The charger booted, or at least came back on a new connection."""
    stations, since = _stations(commands), _since(commands)
    times = _latest(
        [
            *Boot.objects.unscoped("effects of commands, all tenants")
            .filter(station_id__in=stations, received_at__gte=since)
            .values_list("station_id", "received_at"),
            *ConnectionInterval.objects.unscoped("effects of commands, all tenants")
            .filter(station_id__in=stations, started_at__gte=since)
            .values_list("station_id", "started_at"),
        ]
    )
    return [one.pk for one in commands if one.station_id in times and times[one.station_id] >= _sent(one)]


def _available(commands: list[Command]) -> Iterable[int]:
    """The connector (0: the charger) shows the availability asked for."""
    stations = _stations(commands)
    statuses: dict[tuple[int, int], str] = {
        (station_id, 0): status
        for station_id, status in StationState.objects.unscoped("effects of commands, all tenants")
        .filter(station_id__in=stations)
        .values_list("station_id", "status")
    }
    statuses |= {
        (station_id, number): status
        for station_id, number, status in ConnectorState.objects.unscoped("effects of commands, all tenants")
        .filter(connector__station_id__in=stations, connector__archived_at=None)
        .values_list("connector__station_id", "connector__number", "status")
    }
    for command in commands:
        status = statuses.get((command.station_id, command.payload["connectorId"]), ConnectorStatus.UNKNOWN)
        out_of_service = status == ConnectorStatus.UNAVAILABLE
        if status != ConnectorStatus.UNKNOWN and out_of_service == (command.payload["type"] == "Inoperative"):
            yield command.pk


def _triggered(commands: list[Command]) -> Iterable[int]:
    """The message asked for arrived. Heartbeats are not logged: the time when the charger was last seen moved on."""
    stations = _stations(commands)
    arrived = _latest(
        ((station_id, action), at)
        for station_id, action, at in Frame.objects.unscoped("effects of commands, all tenants")
        .filter(station_id__in=stations, received_at__gte=_since(commands), direction=FrameDirection.IN)
        .filter(action__in={command.payload["requestedMessage"] for command in commands})
        .values_list("station_id", "action", "received_at")
    )
    arrived |= {
        (station_id, "Heartbeat"): seen_at
        for station_id, seen_at in StationState.objects.unscoped("effects of commands, all tenants")
        .filter(station_id__in=stations, last_seen_at__isnull=False)
        .values_list("station_id", "last_seen_at")
    }
    for command in commands:
        at = arrived.get((command.station_id, command.payload["requestedMessage"]))
        if at is not None and at >= _sent(command):
            yield command.pk


_EFFECTS: dict[str, Callable[[list[Command]], Iterable[int]]] = {
    "RemoteStartTransaction": _started,
    "RemoteStopTransaction": _stopped,
    "Reset": _restarted,
    "ChangeAvailability": _available,
    "TriggerMessage": _triggered,
}


def _latest(times: Iterable[tuple[Any, dt.datetime]]) -> dict[Any, dt.datetime]:
    found: dict[Any, dt.datetime] = {}
    for key, at in times:
        found[key] = max(at, found.get(key, at))
    return found


def _stations(commands: list[Command]) -> set[int]:
    return {command.station_id for command in commands}


def _since(commands: list[Command]) -> dt.datetime:
    return min(_sent(command) for command in commands)


def _sent(command: Command) -> dt.datetime:
    assert command.sent_at is not None
    return command.sent_at
