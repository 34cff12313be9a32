"""From an admitted CALL to its answer: lanes of threads, batches, one transaction for many chargers' messages.

A call is read (frame to body) as it comes, a long one by its lane. A batch is loaded (one query a table), decided
(pure), written (one statement a table) and committed; only then do its answers leave (gateway contract G1, G3 to G8,
G12, G14, G19). PostgreSQL: three threads with a connection each. SQLite: one writer thread that takes urgent messages
first.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.db import connection

from apps.ocpp import batches, frames, v16
from apps.ocpp.batches import Answer, Call, FrameRow

logger = logging.getLogger(__name__)

MAX_MESSAGES = 500
MAX_BYTES = 4 * 1024 * 1024
AT_ONCE = 4096  # characters; a longer frame would hold up the event loop
QUIET_RATE = 25.0  # messages a second below which the bulk lane does not wait
TARGET = 400  # messages that a bulk window aims at
MAX_WINDOW_S = 0.2
LULL = 5.0  # mean gaps between messages after which nobody is expected to join the window …
MIN_LULL_S = 0.005  # … but not within this: a burst has its pauses
LOG_FLUSH_S = 1.0
MAX_LOG_ROWS = 100_000
MAX_LOG_BYTES = 64 * 1024 * 1024  # what waits for a database that is away; then the oldest rows go
AWAY_AFTER_S = 5.0
STUCK_AFTER_S = 20.0  # a batch that gets nowhere for so long is as bad as no database, whatever holds it up
FIRST_BACKOFF_S = 0.05
MAX_BACKOFF_S = 2.0
GIVE_WAY_S = 0.0003
PORTION = 25  # answers that leave in one step of the event loop
MAX_TIME_OUTS = 3  # a batch whose statements time out this often is too heavy: it is bisected …
PATIENCE_S = 60.0  # … and one message only after this, when nobody is left to take a wrong answer (STUCK_AFTER_S)


class Lane(enum.IntEnum):
    """In order of precedence where one thread serves several."""

    URGENT = 0
    BULK = 1
    RARE = 2


class RateMeter:
    """Arrivals a second, as an exponential moving average over about two seconds."""

    def __init__(self) -> None:
        self.rate = 0.0
        self._counted_at = time.monotonic()
        self._count = 0

    def add(self, count: int, now: float) -> None:
        self._count += count
        elapsed = now - self._counted_at
        if elapsed < 0.1:
            return
        weight = min(elapsed / 2.0, 1.0)
        self.rate += weight * (self._count / elapsed - self.rate)
        self._counted_at, self._count = now, 0


def window_s(rate: float) -> float:
    """How long the bulk lane gathers messages at most at this rate (contract G4)."""
    return 0.0 if rate < QUIET_RATE else min(MAX_WINDOW_S, TARGET / rate)


def lull_s(rate: float) -> float:
    """After how long without a message it stops gathering: whoever waits for an answer sends no other one, so that a
    few chargers that send what they kept would wait for each other until the window ends."""
    return max(MIN_LULL_S, LULL / max(rate, QUIET_RATE))


class Worker(threading.Thread):
    """One thread, one database connection, one or more lanes in order of precedence."""

    def __init__(self, inbox: Inbox, lanes: Sequence[Lane]) -> None:
        super().__init__(name=f"inbox-{'-'.join(lane.name.lower() for lane in lanes)}", daemon=True)
        self.inbox = inbox
        self.lanes = lanes
        self.queues: dict[Lane, deque[Call]] = {lane: deque() for lane in lanes}
        self.rate = RateMeter()
        self.busy = False
        self._wake = threading.Condition()
        self._wakes_for: Lane | None = None  # the last lane whose arrival ends the current wait
        self._stopping = False

    def put(self, lane: Lane, call: Call) -> None:
        self.queues[lane].append(call)
        wakes_for = self._wakes_for
        if wakes_for is not None and lane <= wakes_for:
            with self._wake:
                self._wake.notify()

    def stop(self) -> None:
        with self._wake:
            self._stopping = True
            self._wake.notify()

    @property
    def idle(self) -> bool:
        return not self.busy and not any(self.queues.values())

    def run(self) -> None:
        try:
            while self._work_once():
                pass
        finally:
            connection.close()

    def _work_once(self) -> bool:
        lane = self._next_lane()
        if lane is Lane.BULK and not self._stopping:
            lane = self._gather()
        if lane is not None:
            self.busy = True
            self.inbox.process(lane, self._take(lane))
            self.busy = False
        elif Lane.BULK in self.queues:
            self.busy = True
            self.inbox.flush_log()
            self.busy = False
        done = self.idle and (Lane.BULK not in self.queues or self.inbox.log_done)
        return not (self._stopping and done)

    def _next_lane(self) -> Lane | None:
        """The first lane with work; waits for one, at most as long as log rows may wait."""
        crowded = Lane.BULK in self.queues and self.inbox.log_is_crowded
        if (lane := self._filled()) is not None or self._stopping or crowded:
            return lane
        self._wait(Lane.RARE, LOG_FLUSH_S, self._filled)
        return self._filled()

    def _gather(self) -> Lane:
        """Let the window pass in which a bulk batch fills, unless something urgent arrives here."""
        queue, rate = self.queues[Lane.BULK], self.rate.rate
        end, lull = queue[0].arrived + window_s(rate), lull_s(rate)
        while (left := min(end, queue[-1].arrived + lull) - time.monotonic()) > 0 and len(queue) < MAX_MESSAGES:
            self._wait(Lane.URGENT, left, self._urgent)
            if self._stopping or self._urgent() is not None:
                break
        return Lane.BULK if self._urgent() is None else Lane.URGENT

    def _wait(self, wakes_for: Lane, timeout: float, ready: Callable[[], Lane | None]) -> None:
        with self._wake:
            self._wakes_for = wakes_for
            if ready() is None and not self._stopping:
                self._wake.wait(timeout)
            self._wakes_for = None

    def _filled(self) -> Lane | None:
        return next((lane for lane in self.lanes if self.queues[lane]), None)

    def _urgent(self) -> Lane | None:
        return Lane.URGENT if self.queues.get(Lane.URGENT) else None

    def _take(self, lane: Lane) -> list[Call]:
        queue = self.queues[lane]
        calls: list[Call] = []
        size = 0
        limit = 1 if lane is Lane.RARE else MAX_MESSAGES
        while queue and len(calls) < limit and (not calls or size + queue[0].size <= MAX_BYTES):
            calls.append(queue.popleft())
            size += calls[-1].size
        if lane is Lane.BULK:
            self.rate.add(len(calls), time.monotonic())
        return calls


@dataclass(slots=True)
class Trial:
    """A batch that a lane wants committed: since when, and since when it has found no database that takes it (monotonic
    seconds)."""

    began_at: float
    lost_at: float | None = None

    def is_stuck(self, now: float) -> bool:
        lost = self.lost_at is not None and now - self.lost_at > AWAY_AFTER_S
        return lost or now - self.began_at > STUCK_AFTER_S


class Inbox:
    """The lanes of one gateway process. `put` and `log` are called on the event loop and never block."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, name: str) -> None:
        self.loop = loop
        self.name = name
        self.committed_at = time.monotonic()
        self._log: deque[FrameRow] = deque()
        self._log_size = 0
        self._log_lock = threading.Lock()
        self._ids = batches.Ids()
        self._trials: dict[int, Trial] = {}  # a thread of a lane → what it is at
        self._giving_up = threading.Event()
        one_writer = connection.vendor == "sqlite"
        groups: list[list[Lane]] = [list(Lane)] if one_writer else [[lane] for lane in Lane]
        self.workers = [Worker(self, lanes) for lanes in groups]
        self._worker_of = {lane: worker for worker in self.workers for lane in worker.lanes}

    def start(self) -> None:
        for worker in self.workers:
            worker.start()

    def put(self, call: Call) -> None:
        lane = Lane.URGENT if call.action in v16.URGENT else Lane.RARE if call.action in v16.RARE else Lane.BULK
        if lane is not Lane.RARE and not call.is_read and len(call.raw) <= AT_ONCE:
            batches.read(call)  # while what was parsed is still in the processor's cache
        self._worker_of[lane].put(lane, call)

    def log(self, row: FrameRow) -> None:
        """Queue a frame-log row of something that is not an admitted CALL; it is written within about a second."""
        with self._log_lock:
            self._log.append(row)
            self._log_size += _size(row)
            while self._log_size > MAX_LOG_BYTES or len(self._log) > MAX_LOG_ROWS:
                self._log_size -= _size(self._log.popleft())

    @property
    def log_is_crowded(self) -> bool:
        """Whether a batch of log rows is full: it does not wait for its second."""
        return len(self._log) >= MAX_MESSAGES

    @property
    def log_done(self) -> bool:
        return not self._log or self._giving_up.is_set()

    @property
    def idle(self) -> bool:
        return all(worker.idle for worker in self.workers)

    @property
    def is_stuck(self) -> bool:
        """Whether a lane has been trying in vain, or waiting for the database, for too long (contract G13)."""
        now = time.monotonic()
        return any(trial.is_stuck(now) for trial in list(self._trials.values()))

    async def drain(self, timeout: float) -> None:
        """Commit and answer what was admitted, then end the threads. Gives up repeating after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        for worker in self.workers:
            worker.stop()
        while any(worker.is_alive() for worker in self.workers) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        self._giving_up.set()
        for worker in self.workers:
            await asyncio.to_thread(worker.join, 1.0)

    # --- on the lanes' threads ---

    def process(self, lane: Lane, calls: list[Call]) -> None:
        """Commit the calls of one lane and hand their answers to the event loop."""
        if lane is not Lane.RARE:
            for call in calls:
                if not call.is_read:
                    self._give_way()
                    batches.read(call)
        log = self._take_log() if lane is Lane.BULK else []
        self._commit(batches.Batch(calls, log, f"{self.name}:{lane.name}", self._give_way))

    def _give_way(self) -> None:
        """Let the urgent lane have the interpreter while it works: somebody stands at a charger with a card (G20)."""
        urgent = self._worker_of[Lane.URGENT]
        if urgent.busy and urgent is not threading.current_thread():
            time.sleep(GIVE_WAY_S)

    def flush_log(self) -> None:
        rows = self._take_log()
        if rows:
            self._commit(batches.Batch([], rows, f"{self.name}:{Lane.BULK.name}"))

    def _take_log(self) -> list[FrameRow]:
        rows: list[FrameRow] = []
        size = 0
        with self._log_lock:
            while self._log and len(rows) < MAX_MESSAGES and (not rows or size + _size(self._log[0]) <= MAX_BYTES):
                rows.append(self._log.popleft())
                size += _size(rows[-1])
            self._log_size -= size
        return rows

    def _commit(self, batch: batches.Batch) -> None:
        """Commit the batch; where the database refuses its data, its halves, down to the one for quarantine."""
        try:
            answers = self._repeat(batch)
        except batches.Refused:
            if batch.size > 1:
                for half in batch.halves():
                    self._commit(half)
                return
            answers = self._insist(batch)
        except Exception:  # a lane that dies would leave its chargers without an answer for ever
            logger.exception("batch given up")
            answers = batch.internal_errors()
        self._settle(answers)

    def _insist(self, batch: batches.Batch) -> list[tuple[Call, Answer]]:
        """Once more for the message that the database refused: somebody may have written the same just before, or
        altered a table. Then it is kept as bytes and confirmed; CALLERROR only if even that fails."""
        connection.close()  # its plans are of the tables as they were
        try:
            try:
                return self._repeat(batch)
            except batches.Refused as refusal:
                logger.error("message refused by the database: %s", refusal)
                return self._repeat(batch, refusal)
        except Exception:
            logger.exception("quarantine failed")
            return batch.internal_errors()

    def _repeat(self, batch: batches.Batch, refusal: batches.Refused | None = None) -> list[tuple[Call, Answer]]:
        """Attempt the batch until it is through; a transient failure repeats the whole of it with back-off."""
        trial = self._trials[threading.get_ident()] = Trial(time.monotonic())
        backoff, first, time_outs = FIRST_BACKOFF_S, True, 0
        try:
            while True:
                try:
                    answers = batch.attempt(self._ids, first=first, refusal=refusal)
                except batches.Transient as failure:
                    self._note_failure(failure, trial)
                    time_outs += failure.timed_out
                    heavy = batch.size > 1 or time.monotonic() - trial.began_at > PATIENCE_S
                    if heavy and time_outs >= MAX_TIME_OUTS:
                        raise batches.Refused(str(failure)) from failure
                    if self._giving_up.wait(backoff):
                        return []
                    backoff, first = min(backoff * 2, MAX_BACKOFF_S), False
                else:
                    self.committed_at = time.monotonic()
                    return answers
        finally:
            del self._trials[threading.get_ident()]

    def _note_failure(self, failure: batches.Transient, trial: Trial) -> None:
        logger.warning("batch repeated: %s", failure)
        connection.close()
        trial.lost_at = (trial.lost_at or time.monotonic()) if failure.database_away else None

    def _settle(self, answers: list[tuple[Call, Answer]]) -> None:
        if answers:
            self._on_loop(self._settle_portion, answers, 0)

    def _settle_portion(self, answers: list[tuple[Call, Answer]], start: int) -> None:
        """On the event loop: a card's answer waits behind a portion of a batch, not behind all of it (G20)."""
        end = start + PORTION
        if end < len(answers):
            self.loop.call_soon(self._settle_portion, answers, end)
        for call, answer in answers[start:end]:
            try:
                call.settle(answer)
            except Exception:  # one socket's trouble must not take the others' answers with it
                logger.exception("an answer to station %s was not sent", call.station_id)

    def _on_loop(self, callback: Callable[..., None], *values: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(callback, *values)


def _size(row: FrameRow) -> int:
    return frames.size(row[8]) + frames.size(row[9])
