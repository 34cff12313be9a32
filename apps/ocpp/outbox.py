"""Commands on their way to chargers (gateway contract G18).

A row says `sent` before its frame is written; at most one call of ours is in flight to a charger; what was in flight
when its socket or process died has an unknown outcome and is never sent again by itself, except reads. The event loop
holds the flights; a thread with a database connection of its own takes one turn a second, or at once when the doorbell
rings: it writes answers, claims what is queued for idle chargers of this process, and looks for effects. A turn reads
only what it can act on: of each idle charger the oldest command, and what was accepted a short while ago. Effects that
come later, and deadlines, are looked for once in five seconds.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
from django.db import Error, InterfaceError, OperationalError, connection, transaction
from django.db.models import Exists, F, OuterRef, Window
from django.db.models.functions import RowNumber
from django.utils.translation import gettext_noop

from apps.core import live
from apps.installations import services
from apps.installations.commands import ANSWER_WITHIN
from apps.installations.models import Command, CommandState, StationState
from apps.installations.querysets import AtStationQuerySet
from apps.ocpp import frames
from apps.ocpp.batches import FrameRow, passes
from apps.ocpp.handshake import limit_waits
from apps.ocpp.masking import mask, mask_text, mask_value
from apps.ocpp.models import FrameDirection
from apps.ocpp.v16 import commands as v16

logger = logging.getLogger(__name__)

TURN_S = 1.0
SWEEP_S = 5.0
MAX_CLAIMS = 100  # a turn, so that the first frames do not wait for hundreds of rows
YOUNG = dt.timedelta(seconds=30)  # an effect is mostly seen by then
MAX_ANSWER = 64_000
MAX_DETAIL = 300

NO_ANSWER = gettext_noop("the charger did not answer in time")
SOCKET_LOST = gettext_noop("the connection broke before an answer")
NOT_STORED = gettext_noop("the charger answered, but its answer could not be stored")

Answered = frames.Result | frames.Error


class ChargerSocket(Protocol):
    """What the outbox needs of a charger's websocket. `send_text` is for the event loop alone."""

    station_id: int
    operator_id: int
    generation: int

    def send_text(self, text: str) -> None: ...


@dataclass(slots=True, eq=False)
class Slot:
    """A charger's place: its socket, the one call in flight, what is asked without a row, the last call given up."""

    socket: ChargerSocket
    flight: Flight | None = None
    asks: deque[tuple[str, dict[str, Any], asyncio.Future[Answered | None]]] = field(default_factory=deque)
    late: Flight | None = None
    calls: int = 0


@dataclass(slots=True, eq=False)
class Flight:
    """One call of ours between its frame and its answer. `command` is None for what is asked without a row."""

    slot: Slot
    command: Command | None
    message_id: str
    action: str
    request: str
    sent_at: dt.datetime
    timer: asyncio.TimerHandle
    reply: asyncio.Future[Answered | None] | None = None


@dataclass(slots=True)
class News:
    """What the loop hands to a turn; handed in again where the database fails."""

    answers: list[tuple[Command, Answered, dt.datetime]] = field(default_factory=list)
    lost: dict[str, list[int]] = field(default_factory=dict)
    unsent: list[Command] = field(default_factory=list)

    def merge(self, later: News) -> None:
        self.answers += later.answers
        self.unsent += later.unsent
        for detail, ids in later.lost.items():
            self.lost.setdefault(detail, []).extend(ids)


class Outbox:
    """The commands of one process. All methods are for the event loop; `log` takes rows of the frame log."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        name: str,
        log: Callable[[FrameRow], None],
        now: Callable[[], dt.datetime] | None = None,
        answer_within: dt.timedelta = ANSWER_WITHIN,
    ) -> None:
        self.loop = loop
        self.name = name
        self._log = log
        self._now = now or _utc_now
        self._answer_within = answer_within.total_seconds()
        self._slots: dict[int, Slot] = {}
        self._news = News()
        self._bell = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._task: asyncio.Task[None] | None = None
        self._swept_at = loop.time() - SWEEP_S
        self._claiming: list[Command] = []
        self.closed = False  # claims nothing more; what is in flight may still be answered
        self._stopping = False

    def start(self) -> None:
        self._task = self.loop.create_task(self._run())

    async def stop(self, timeout: float = 5.0) -> None:
        """Claim nothing more; write the answers that have come, and what was in flight as lost."""
        self.closed = self._stopping = True
        self._bell.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=timeout)
            self._task.cancel()
        for slot in list(self._slots.values()):
            self.detach(slot.socket)
        try:
            async with asyncio.timeout(timeout):
                await self.turn()
                await self.loop.run_in_executor(self._thread, _disconnect)
        except Exception:  # the drain goes on: another gateway closes what is left
            logger.exception("commands in flight could not be closed")
        self._thread.shutdown(wait=False)

    # --- sockets ---

    def attach(self, socket: ChargerSocket) -> None:
        """The charger may be asked things now. What an older socket of it had in flight is lost."""
        older = self._slots.get(socket.station_id)
        if older is not None:
            self._give_up_slot(older)
        self._slots[socket.station_id] = Slot(socket)

    def detach(self, socket: ChargerSocket) -> None:
        """The socket is gone; a newer one of the same charger stays."""
        slot = self._slots.get(socket.station_id)
        if slot is not None and slot.socket is socket:
            del self._slots[socket.station_id]
            self._give_up_slot(slot)

    def ring(self) -> None:
        """Something may be queued: look now instead of within a second."""
        self._bell.set()

    def settle(self, station_id: int, answer: Answered) -> bool:
        """A charger answered. False where nobody waits for that id: it is dropped, and the caller counts it."""
        slot = self._slots.get(station_id)
        if slot is None:
            return False
        if slot.flight is not None and slot.flight.message_id == answer.message_id:
            flight, slot.flight = slot.flight, None
        elif slot.late is not None and slot.late.message_id == answer.message_id:
            flight, slot.late = slot.late, None
        else:
            return False
        self._land(flight, answer)
        self._next(slot)
        return True

    def ask(self, station_id: int, action: str, payload: dict[str, Any]) -> asyncio.Future[Answered | None]:
        """A read of our own that needs no row: its answer, or None where none came. It waits for its turn."""
        future: asyncio.Future[Answered | None] = self.loop.create_future()
        slot = self._slots.get(station_id)
        if slot is None:
            future.set_result(None)
        else:
            slot.asks.append((action, payload, future))
            if slot.flight is None:
                self._next(slot)
        return future

    # --- flights ---

    def _next(self, slot: Slot) -> None:
        """The charger is idle: its next ask goes out at once, its next command with the next turn."""
        if slot.flight is not None:  # what was settled was a late answer
            return
        if not slot.asks:
            self.ring()
            return
        action, payload, future = slot.asks.popleft()
        self._fly(slot, None, str(uuid.uuid4()), action, payload, future)

    def _fly(
        self,
        slot: Slot,
        command: Command | None,
        message_id: str,
        action: str,
        payload: dict[str, Any],
        reply: asyncio.Future[Answered | None] | None = None,
    ) -> None:
        text = frames.call(message_id, action, payload)
        timer = self.loop.call_later(self._answer_within, self._time_out, slot, message_id)
        slot.flight = Flight(slot, command, message_id, action, text, self._now(), timer, reply)
        slot.socket.send_text(text)

    def _time_out(self, slot: Slot, message_id: str) -> None:
        flight = slot.flight
        if flight is not None and flight.message_id == message_id:
            slot.flight, slot.late = None, flight
            self._give_up(flight, NO_ANSWER, "NoAnswer")
            self._next(slot)

    def _give_up_slot(self, slot: Slot) -> None:
        flight, slot.flight = slot.flight, None
        if flight is not None:
            self._give_up(flight, SOCKET_LOST, "ConnectionLost")
        while slot.asks:
            _settle(slot.asks.popleft()[2], None)

    def _give_up(self, flight: Flight, detail: str, error: str) -> None:
        self._log_pair(flight, "", error)
        _settle(flight.reply, None)
        if flight.command is not None:
            self._news.lost.setdefault(detail, []).append(flight.command.pk)
            self.ring()

    def _land(self, flight: Flight, answer: Answered) -> None:
        error = answer.code[:40] if isinstance(answer, frames.Error) else ""
        self._log_pair(flight, mask(flight.action, _text(answer)), error)
        _settle(flight.reply, answer)
        if flight.command is not None:
            self._news.answers.append((flight.command, answer, self._now()))

    def _log_pair(self, flight: Flight, response: str, error: str) -> None:
        flight.timer.cancel()
        slot, socket = flight.slot, flight.slot.socket
        slot.calls += 1  # our calls count backwards: the charger's own of the same connection count from one
        latency = int((self._now() - flight.sent_at).total_seconds() * 1000)
        origin = (flight.sent_at, socket.station_id, socket.generation, -slot.calls, socket.operator_id)
        request = mask(flight.action, flight.request)
        what = (FrameDirection.OUT.value, flight.action, flight.message_id, request, response, error, latency)
        self._log((*origin, *what))

    # --- turns ---

    async def _run(self) -> None:
        while not self._stopping:
            try:
                async with asyncio.timeout(TURN_S):
                    await self._bell.wait()
            except TimeoutError:
                pass
            self._bell.clear()
            try:
                await self.turn()
            except (OperationalError, InterfaceError) as error:
                logger.warning("commands wait for the database: %s", str(error).strip().split("\n", 1)[0])
                await asyncio.sleep(TURN_S)
            except Exception:
                logger.exception("a turn of the outbox failed")
                await asyncio.sleep(TURN_S)

    async def turn(self) -> None:
        """Write what happened, claim what is queued, send it. Where the database fails: raises, forgets nothing."""
        news, self._news = self._news, News()
        idle = {} if self.closed else self._idle()
        sweeps = self.loop.time() - self._swept_at >= SWEEP_S
        try:
            claims = await self.loop.run_in_executor(self._thread, _guarded, self._work, news, idle, sweeps)
        except Error as error:
            if passes(error):
                # Whatever became of the claims' COMMIT, nothing was sent.
                news.unsent += self._claiming
                news.merge(self._news)
                self._news = news
            raise
        finally:
            self._claiming = []
        if sweeps:
            self._swept_at = self.loop.time()
        for command in claims:
            try:
                self._deliver(command)
            except Exception:  # one that cannot be sent must not hold up the others
                logger.exception("command %s could not be sent", command.pk)
                self._abandon(command)
        if len(claims) == MAX_CLAIMS:
            self.ring()

    def _idle(self) -> dict[int, int]:
        return {pk: slot.socket.generation for pk, slot in self._slots.items() if slot.flight is None}

    def _deliver(self, command: Command) -> None:
        slot = self._slots.get(command.station_id)
        late = self.closed or command.deadline_at <= self._now()
        if slot is None or slot.flight is not None or slot.socket.generation != command.generation or late:
            # The socket or the time went while the row was written: it is certain that nothing was sent.
            self._news.unsent.append(command)
            return
        self._fly(slot, command, command.message_id, command.action, command.payload)

    def _abandon(self, command: Command) -> None:
        """It is not certain whether any of it was sent."""
        slot = self._slots.get(command.station_id)
        if slot is not None and slot.flight is not None and slot.flight.command is command:
            slot.flight.timer.cancel()
            slot.flight = None
        self._news.lost.setdefault(SOCKET_LOST, []).append(command.pk)

    # --- on the outbox's thread ---

    def _work(self, news: News, idle: dict[int, int], sweeps: bool) -> list[Command]:
        now = self._now()
        for command, answer, at in news.answers:
            _store_answer(command, answer, at)
        for detail, ids in news.lost.items():
            services.lose_commands(ids=ids, detail=detail, ask_again=detail != NO_ANSWER, now=now)
        services.return_commands(commands=news.unsent)
        if sweeps:
            _sweep(now)
        services.lose_commands(ids=self._orphans(), detail=SOCKET_LOST, ask_again=True, now=now)
        _finish(_accepted().filter(answered_at__gt=now - YOUNG, station__state__gateway=self.name), now)
        self._claiming = self._sendable(idle, now) if idle else []
        return _claim(self._claiming, now)

    def _sendable(self, idle: dict[int, int], now: dt.datetime) -> list[Command]:
        """The oldest command of each idle charger whose newest connection is here, oldest first."""
        queued = Command.objects.unscoped("the chargers connected to this gateway").filter(state=CommandState.QUEUED)
        oldest = (
            queued.filter(deadline_at__gt=now, station__state__gateway=self.name, station__state__online=True)
            .annotate(place=Window(RowNumber(), partition_by=F("station_id"), order_by=["created_at", "pk"]))
            .filter(place=1)
            .order_by("created_at", "pk")
            .values_list("pk", "station_id", "station__state__generation")
        )
        chosen = [pk for pk, station_id, generation in oldest if idle.get(station_id) == generation][:MAX_CLAIMS]
        commands = list(queued.filter(pk__in=chosen).order_by("created_at", "pk")) if chosen else []
        for command in commands:
            command.generation, command.message_id = idle[command.station_id], str(uuid.uuid4())
        return commands

    def _orphans(self) -> list[int]:
        """What was sent on a connection that is no longer the charger's, which has a newer one here."""
        sent = Command.objects.unscoped("the chargers connected to this gateway").filter(state=CommandState.SENT)
        mine = sent.filter(station__state__gateway=self.name, station__state__online=True)
        return list(mine.filter(generation__lt=F("station__state__generation")).values_list("pk", flat=True))


def _sweep(now: dt.datetime) -> None:
    """What no connection of ours leads to: effects at chargers that went offline, and deadlines."""
    _finish(_accepted(), now)
    services.close_overdue_commands(now=now)


def _accepted() -> AtStationQuerySet:
    return Command.objects.unscoped("every gateway sweeps for all").filter(state=CommandState.ACCEPTED)


def _finish(accepted: AtStationQuerySet, now: dt.datetime) -> None:
    services.finish_commands(commands=v16.with_effect(list(accepted)), now=now)


def _claim(commands: list[Command], now: dt.datetime) -> list[Command]:
    """Those commands that are ours from now on. Each is claimed once, whatever other gateways do: the guard is on the
    row itself, and on the charger's newest connection."""
    claimed: list[Command] = []
    if not commands:  # on SQLite an empty transaction would take the write lock
        return claimed
    with transaction.atomic():
        limit_waits()
        for command in commands:
            newest = StationState.objects.unscoped("the charger's newest connection").filter(
                station=OuterRef("station"), generation=command.generation, online=True
            )
            mine = (
                Command.objects.unscoped("the gateway's own command")
                .filter(Exists(newest), pk=command.pk, state=CommandState.QUEUED, deadline_at__gt=now)
                .update(
                    state=CommandState.SENT,
                    message_id=command.message_id,
                    generation=command.generation,
                    sent_at=now,
                )
            )
            command.state, command.sent_at = CommandState.SENT, now
            if mine:
                claimed.append(command)
    for command in claimed:
        live.touch(f"operator.{command.operator_id}", f"station.{command.station_id}")
    return claimed


def _store_answer(command: Command, answer: Answered, at: dt.datetime) -> None:
    outcome = v16.read_answer(command.action, answer)
    try:
        with transaction.atomic():
            limit_waits()
            answered = services.answer_command(
                command=command, state=outcome.state, detail=_detail(outcome), answer=_kept(answer), now=at
            )
            if answered:
                _keep_configuration(command, outcome, answer, at)
    except Exception as error:  # one answer that cannot be kept must not hold up the others
        if isinstance(error, Error) and passes(error):
            raise
        logger.exception("the answer to command %s could not be stored", command.pk)
        services.lose_commands(ids=[command.pk], detail=NOT_STORED, ask_again=False, now=at)


def _keep_configuration(command: Command, outcome: v16.Outcome, answer: Answered, at: dt.datetime) -> None:
    """What the answer says of the charger's configuration, if that was asked."""
    if command.action == "ChangeConfiguration":
        services.note_configuration_change(command=command, state=outcome.state, detail=outcome.detail, now=at)
    elif command.action == "GetConfiguration" and isinstance(answer, frames.Result):
        reported, unknown = v16.read_configuration(answer.payload)
        services.store_configuration(command=command, reported=reported, unknown=unknown, now=at)


def _detail(outcome: v16.Outcome) -> str:
    return mask_text(outcome.detail)[:MAX_DETAIL]


def _kept(answer: Answered) -> dict[str, Any]:
    """The answer as its row keeps it: without secrets, and not longer than is useful."""
    content = answer.payload if isinstance(answer, frames.Result) else _error_content(answer)
    kept: dict[str, Any] = mask_value(content)
    return kept if len(orjson.dumps(kept)) <= MAX_ANSWER else {"omitted": "the answer is too long; see the frame log"}


def _error_content(answer: frames.Error) -> dict[str, Any]:
    return {"errorCode": answer.code, "errorDescription": answer.description, "errorDetails": answer.details}


def _text(answer: Answered) -> str:
    if isinstance(answer, frames.Result):
        return frames.result(answer.message_id, answer.payload)
    return frames.error(answer.message_id, answer.code, answer.description)


def _settle(future: asyncio.Future[Answered | None] | None, answer: Answered | None) -> None:
    if future is not None and not future.done():
        future.set_result(answer)


def _guarded[T](job: Callable[..., T], *args: Any) -> T:
    try:
        return job(*args)
    except Error:
        connection.close()
        raise


def _disconnect() -> None:
    # The thread's own connection: `connection` is another object in each thread.
    connection.close()


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
