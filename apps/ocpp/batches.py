"""One batch: decide and write its calls in one transaction, and say what each is answered.

A call is read once; `attempt` may run several times, since a COMMIT whose answer was lost is repeated (contract G8).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import uuid
from collections import Counter as Tally
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
from django.db import Error, InterfaceError, OperationalError, connection, transaction

from apps.charging import decisions
from apps.charging import store as charging
from apps.charging.facts import Decision, Facts, Message, Reply, Unreadable
from apps.charging.models import Counter
from apps.core import bulk, live
from apps.installations import status
from apps.installations import store as installations
from apps.installations.status import Booted, StatusReported
from apps.ocpp import frames
from apps.ocpp.admission import Waiting
from apps.ocpp.clock import ClockWatch, stamped_now
from apps.ocpp.masking import mask, mask_text
from apps.ocpp.v16 import hot, rare

logger = logging.getLogger(__name__)

FrameRow = tuple[dt.datetime, int, int, int, int, str, str, str, str, str, str, int | None]
ID_BLOCK = 1000
OFFSET_STEP_S = 1.0  # a smaller change of a station's clock offset is not written

_FRAME_COLUMNS = (
    *("received_at", "station_id", "generation", "sequence", "operator_id", "direction", "action"),
    *("message_id", "request", "response", "error_code", "latency_ms"),
)
_FRAMES = bulk.Table(
    "ocpp_frame",
    columns=_FRAME_COLUMNS,
    types=(*("timestamptz", "bigint", "bigint", "bigint", "bigint"), *["text"] * 6, "int"),
    conflict="ON CONFLICT DO NOTHING",
)
_QUARANTINE = bulk.Table(
    "ocpp_quarantinedframe",
    columns=("operator_id", "station_id", "received_at", "generation", "sequence", "raw", "error"),
    types=("bigint", "bigint", "timestamptz", "bigint", "bigint", "bytea", "text"),
    conflict="ON CONFLICT DO NOTHING",
)
_REPAIRS = bulk.Table(
    "ocpp_repaircount",
    columns=("operator_id", "station_id", "name", "count", "last_at"),
    types=("bigint", "bigint", "text", "bigint", "timestamptz"),
    conflict="ON CONFLICT (station_id, name) DO UPDATE SET "
    "count = ocpp_repaircount.count + excluded.count, last_at = excluded.last_at",
)
_MARK = bulk.Table(
    "ocpp_batchmark",
    columns=("lane", "batch"),
    types=("text", "uuid"),
    conflict="ON CONFLICT (lane) DO UPDATE SET batch = excluded.batch",
)
_COPY = f"COPY ocpp_frame ({', '.join(_FRAME_COLUMNS)}) FROM STDIN"


@dataclass(slots=True)
class Answer:
    """The frame that goes back; empty where the call was given up. What is `lasting` is said again to a repeat."""

    text: str
    lasting: bool = True


class Socket(Protocol):
    """Where calls come from. On the event loop only."""

    def begin(self, call: Call) -> None:
        """It is this call's turn."""

    def settle(self, call: Call, answer: Answer) -> None:
        """It is answered. Called exactly once, also when the socket died meanwhile (contract G14)."""


@dataclass(slots=True)
class Call:
    """One CALL, or what should have been one (`bad`), from receipt to answer.

    `sequence` counts the CALLs of its connection; `arrived` is monotonic seconds; `waiting` is what its socket has
    waiting. Reading gives the `message`, or the `error` that is its answer; a rare one keeps its payload instead. Where
    the answer was known before (`reply`), nothing is read and decided: it is written down and sent.
    """

    socket: Socket
    station_id: int
    operator_id: int
    generation: int
    sequence: int
    received_at: dt.datetime
    arrived: float
    message_id: str
    action: str
    payload: dict[str, Any]
    raw: str
    clock: ClockWatch
    waiting: Waiting
    bad: frames.Bad | None = None
    message: Message | None = None
    error: frames.CallError | None = None
    reply: str = ""

    @property
    def size(self) -> int:
        return frames.size(self.raw)

    @property
    def is_read(self) -> bool:
        return self.message is not None or self.error is not None or bool(self.reply)

    def refuse(self, code: str, description: str = "") -> None:
        self.error = frames.CallError(code, description)
        self.reply = frames.error(self.message_id, code, description)

    def begin(self) -> None:
        self.socket.begin(self)

    def settle(self, answer: Answer) -> None:
        self.socket.settle(self, answer)


class Transient(Exception):
    """The database was away (or as good as that: it takes no data now) or busy: the whole batch is repeated."""

    def __init__(self, error: Exception, *, database_away: bool, timed_out: bool = False) -> None:
        super().__init__(_first_line(error))
        self.database_away = database_away
        self.timed_out = timed_out


class Refused(Exception):
    """The database refused the batch's data (or our code failed on it): it is bisected."""


class Ids:
    """Durable session and transaction ids, drawn in blocks before the transaction that uses them (contract G12)."""

    def __init__(self) -> None:
        self._blocks: dict[str, list[int]] = {"session": [], "transaction": []}

    def ensure(self, count: int) -> None:
        """Have `count` ids of each kind at hand. Not inside a transaction: a rollback would hand them out again."""
        for name, block in self._blocks.items():
            if len(block) < count:
                first = Counter.draw(name, ID_BLOCK + count)
                block.extend(range(first, first + ID_BLOCK + count))

    def new_session(self) -> int:
        return self._blocks["session"].pop(0)

    def new_transaction(self) -> int:
        return self._blocks["transaction"].pop(0)


@dataclass(slots=True)
class Outcome:
    """What one attempt decided, until it is committed."""

    decided: list[tuple[Message, Decision]] = field(default_factory=list)
    changes: installations.InstallationChanges = field(default_factory=installations.InstallationChanges)
    answers: list[tuple[Call, Answer]] = field(default_factory=list)
    rows: list[FrameRow] = field(default_factory=list)


def _keep_on() -> None:
    """Nobody is more urgent."""


@dataclass(slots=True)
class Batch:
    """`mark` names the lane; `give_way` is called before each decision."""

    calls: list[Call]
    log: list[FrameRow]
    mark: str
    give_way: Callable[[], None] = _keep_on
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    _answers: list[tuple[Call, Answer]] = field(default_factory=list)

    @property
    def size(self) -> int:
        return len(self.calls) + len(self.log)

    def halves(self) -> tuple[Batch, Batch]:
        """Two batches with ids of their own: what failed was rolled back whole."""
        calls, log = len(self.calls) // 2, len(self.log) // 2
        if self.calls and self.log:
            return self._part(self.calls, []), self._part([], self.log)
        return self._part(self.calls[:calls], self.log[:log]), self._part(self.calls[calls:], self.log[log:])

    def _part(self, calls: list[Call], log: list[FrameRow]) -> Batch:
        return Batch(calls, log, self.mark, self.give_way)

    def attempt(self, ids: Ids, *, first: bool, refusal: Refused | None = None) -> list[tuple[Call, Answer]]:
        """Decide, write and commit all of it. Raises `Transient` or `Refused`; then nothing was written.

        With a `refusal` the one message goes to quarantine instead of into the frame log.
        """
        try:
            _connect()
            ids.ensure(len(self.calls))
            if not first and self._committed():
                return self._answers
            with transaction.atomic(durable=True):
                outcome = self._decide(ids, refusal)
                self._answers = outcome.answers
                self._write(outcome, copy=first, refusal=refusal)
        except Error as error:
            raise classified(error) from error
        except Exception as error:  # our own fault on one message must not take the others with it
            logger.exception("batch failed")
            raise Refused(repr(error)) from error
        live.touch_committed(self._topics())
        return self._answers

    def internal_errors(self) -> list[tuple[Call, Answer]]:
        """The last resort: nothing could be stored."""
        return [
            (call, Answer(frames.error(call.message_id, "InternalError", "The message could not be stored."), False))
            for call in self.calls
        ]

    def _committed(self) -> bool:
        rows = bulk.fetch_rows(connection, "SELECT batch FROM ocpp_batchmark WHERE lane = %s", self.mark)
        return bool(rows) and uuid.UUID(str(rows[0][0])) == self.id

    def _decide(self, ids: Ids, refusal: Refused | None) -> Outcome:
        outcome = Outcome()
        messages = [call.message for call in self.calls if call.message is not None]
        if refusal is not None:  # what stands for them may be known from another time
            messages = [_message(call, _unreadable(call, refusal)) for call in self.calls if call.message is not None]
        facts = charging.load_facts(
            connection, messages, new_session_id=ids.new_session, new_transaction_id=ids.new_transaction
        )
        now = dt.datetime.now(dt.UTC)
        for call in self.calls:
            self.give_way()
            text = call.reply or _answer(call, facts, outcome, now, refusal)
            outcome.answers.append((call, Answer(text)))
            if refusal is None:
                outcome.rows.append(_frame_row(call, text, now))
        installations.write_changes(connection, outcome.changes)
        charging.write_decisions(connection, facts, outcome.decided, now)
        return outcome

    def _write(self, outcome: Outcome, *, copy: bool, refusal: Refused | None) -> None:
        rows = outcome.rows + self.log
        if copy and connection.vendor == "postgresql":
            _copy_frames(rows)
        else:
            bulk.insert_rows(connection, _FRAMES, rows)
        if refusal is not None:
            bulk.insert_rows(connection, _QUARANTINE, [_quarantine_row(call, refusal) for call in self.calls])
        bulk.insert_rows(connection, _REPAIRS, _repair_rows([message for message, _decision in outcome.decided]))
        bulk.insert_rows(connection, _MARK, [(self.mark, self.id)])

    def _topics(self) -> set[str]:
        stations = {call.station_id for call in self.calls}
        operators = {call.operator_id for call in self.calls}
        return {f"station.{pk}" for pk in stations} | {f"operator.{pk}" for pk in operators}


def _connect() -> None:
    """A lane's connection waits for locks and statements only so long (contract G5)."""
    if connection.connection is not None or connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '2s'")
        cursor.execute("SET statement_timeout = '10s'")


def read(call: Call) -> None:
    """Translate the payload of a hot CALL, once. What was read of it stays, the payload does not."""
    try:
        body, repairs = hot.read(call.action, call.payload, call.received_at)
    except frames.CallError as error:
        call.error = error
        return
    except Exception as error:  # contract G6: the charger must not repeat it for ever
        logger.exception("%s could not be read", call.action)
        body, repairs = _unreadable(call, error), ()
    if (sent := stamped_now(body)) is not None:
        call.clock.observe(sent, call.received_at)
    call.message, call.payload = _message(call, body, repairs), {}


def _message(call: Call, body: Any, repairs: tuple[str, ...] = ()) -> Message:
    return Message(call.station_id, call.operator_id, call.generation, call.sequence, call.received_at, body, repairs)


def _unreadable(call: Call, error: BaseException) -> Unreadable:
    payload = orjson.loads(call.raw)[3]
    connector = payload.get("connectorId")
    uid = payload.get("idTag")
    content = orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)
    return Unreadable(
        action=call.action,
        connector=connector if isinstance(connector, int) and 0 <= connector <= status.MAX_CONNECTOR else 0,
        error=repr(error)[:500],
        key=hashlib.blake2b(call.action.encode() + content, digest_size=16).hexdigest(),
        uid=uid[:40] if isinstance(uid, str) else "",
        quarantined=isinstance(error, Refused),
    )


def _answer(call: Call, facts: Facts, outcome: Outcome, now: dt.datetime, refusal: Refused | None) -> str:
    if call.error is not None:
        return frames.error(call.message_id, call.error.code, call.error.description)
    if call.message is None:
        try:
            return frames.result(call.message_id, rare.handle(call))
        except frames.CallError as error:
            call.error = error
            return frames.error(call.message_id, error.code, error.description)
    reply = _decide_one(call.message, call, facts, outcome, now, refusal)
    return frames.result(call.message_id, hot.write(call.action, reply, now=now))


def _decide_one(
    message: Message, call: Call, facts: Facts, outcome: Outcome, now: dt.datetime, refusal: Refused | None
) -> Reply:
    _note_offset(call, facts, outcome)
    if refusal is not None:
        message = _message(call, _unreadable(call, refusal))
        decision = decisions.decide(message, facts, now)
    else:
        try:
            _decide_installation(message, facts, outcome)
            decision = decisions.decide(message, facts, now)
        except Exception as error:  # contract G6
            logger.exception("%s could not be decided", call.action)
            message = _message(call, _unreadable(call, error))
            decision = decisions.decide(message, facts, now)
    facts.apply(decision, message.station_id)
    station = facts.stations[message.station_id]
    for connector in decision.new_connectors:
        outcome.changes.found.append((station, connector, message.received_at))
    outcome.decided.append((message, decision))
    return decision.reply


def _decide_installation(message: Message, facts: Facts, outcome: Outcome) -> None:
    """Boots and statuses: their live state and history (sessions are `charging.decisions`' concern)."""
    body, station = message.body, facts.stations[message.station_id]
    origin = (station, message.generation, message.sequence, message.received_at)
    if isinstance(body, Booted):
        outcome.changes.boots.append((origin, body))
    elif isinstance(body, StatusReported):
        if body.connector not in station.connectors:
            found = status.found_connector(body.connector)
            station.connectors[body.connector] = found
            outcome.changes.found.append((station, found, message.received_at))
        change = status.decide_status(
            station, body, generation=message.generation, sequence=message.sequence, received_at=message.received_at
        )
        status.apply_status(change, generation=message.generation, sequence=message.sequence)
        outcome.changes.statuses.append((origin, change))


def _note_offset(call: Call, facts: Facts, outcome: Outcome) -> None:
    """The offset that counts is the one measured on this connection; a new one is written."""
    station = facts.stations[call.station_id]
    offset, known = call.clock.offset_s, station.clock_offset_s
    if offset is not None and (known is None or abs(offset - known) >= OFFSET_STEP_S):
        outcome.changes.offsets[station.id] = (call.generation, offset, call.received_at)
    station.clock_offset_s = offset


def _frame_row(call: Call, text: str, now: dt.datetime) -> FrameRow:
    return (
        call.received_at,
        call.station_id,
        call.generation,
        call.sequence,
        call.operator_id,
        "in",
        call.action,
        call.message_id,
        mask(call.action, call.raw),
        mask(call.action, text),
        call.error.code if call.error is not None else "",
        int((now - call.received_at).total_seconds() * 1000),
    )


def _quarantine_row(call: Call, refusal: Refused) -> bulk.Row:
    raw = mask(call.action, call.raw).encode("utf-8", "surrogatepass")
    origin = (call.operator_id, call.station_id, call.received_at, call.generation, call.sequence)
    return (*origin, raw, str(refusal).replace("\x00", "")[:2000])


def _repair_rows(messages: list[Message]) -> list[bulk.Row]:
    tally: Tally[tuple[int, int, str]] = Tally()
    for message in messages:
        for name in message.repairs:
            tally[message.operator_id, message.station_id, name[:60]] += 1
    now = dt.datetime.now(dt.UTC)
    return [(operator, station, name, count, now) for (operator, station, name), count in sorted(tally.items())]


def _copy_frames(rows: list[FrameRow]) -> None:
    if not rows:
        return
    # Django does this for statements alone: what COPY raises would be taken for a fault of ours, and its batch for bad.
    with connection.wrap_database_errors, connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        copy.write("".join(map(_copy_line, rows)))


_COPY_SPECIAL = "\\\t\n\r"
_COPY_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _copy_text(text: str) -> str:
    for character in _COPY_SPECIAL:
        if character in text:
            return text.translate(_COPY_ESCAPES)
    return text


def _copy_line(row: FrameRow) -> str:
    at, station, generation, sequence, operator, direction, action, message_id, request, response, code, latency = row
    return (
        f"{at.isoformat()}\t{station}\t{generation}\t{sequence}\t{operator}\t{direction}\t{_copy_text(action)}\t"
        f"{_copy_text(message_id)}\t{_copy_text(request)}\t{_copy_text(response)}\t{_copy_text(code)}\t"
        f"{'\\N' if latency is None else latency}\n"
    )


# PostgreSQL's errors that pass by themselves. Away: connection, resources (a full disk), intervention (a restart; not a
# statement's time-out), system errors; a standby that only reads, an idle transaction that was ended. Busy: transaction
# rollback, statement and lock time-outs.
_AWAY = ("08", "53", "57P", "58", "25006", "25P03", "25P04")
_BUSY = ("40", "57", "55P03")
_TIME_OUT = "57014"
_AWAY_SQLITE = ("unable to open", "disk i/o", "disk is full", "readonly database")
_BUSY_SQLITE = ("locked", "busy")


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]


def passes(error: Error) -> bool:
    """Whether what is not a batch may be tried again: the database was away or busy."""
    return isinstance(error, OperationalError | InterfaceError) or isinstance(classified(error), Transient)


def classified(error: Error) -> Transient | Refused:
    """Whether what the database said passes by itself, or is about the data (contract G7)."""
    state = getattr(error.__cause__, "sqlstate", None)
    if state is not None:
        if state.startswith(_AWAY):
            return Transient(error, database_away=True)
        if state.startswith(_BUSY):
            return Transient(error, database_away=False, timed_out=state == _TIME_OUT)
    elif isinstance(error, OperationalError | InterfaceError):
        if connection.vendor == "postgresql":  # the driver's own: there is no server to say more
            return Transient(error, database_away=True)
        text = str(error).lower()
        if any(words in text for words in _AWAY_SQLITE):
            return Transient(error, database_away=True)
        if any(word in text for word in _BUSY_SQLITE):
            return Transient(error, database_away=False)
    return Refused(mask_text(_first_line(error)))  # the others quote the row
