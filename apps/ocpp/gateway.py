"""One gateway process: its sockets, lanes and commands, its lease, the watch over its database, and its end.

Everything here runs on the event loop; what it asks of the database runs on one thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import os
import random
import re
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from channels.layers import get_channel_layer
from django.db import Error, connection

from apps.core import live, timeseries
from apps.installations.models import ConnectionInterval
from apps.ocpp import batches, frames, selectors, services
from apps.ocpp.admission import Admission
from apps.ocpp.handshake import Accepted, Handshakes
from apps.ocpp.inbox import Inbox
from apps.ocpp.outbox import Outbox
from apps.ocpp.services import Ended

if TYPE_CHECKING:
    from apps.ocpp.consumers import ChargerConsumer

logger = logging.getLogger(__name__)
Reason = ConnectionInterval.Reason

TICK_S = 0.5
BEAT_S = 5.0
SWEEP_S = 10.0
SEEN_S = 10.0
AWAY_AFTER_S = 5.0
SPREAD_S = 10.0  # over which all sockets are closed
SPREAD_RATE = 500.0  # sockets a second, where there are fewer
DRAIN_S = 10.0
LAST_SOCKETS_S = 1.0
SETTLE_S = 10.0  # after which a charger that has not reported its status is asked for it …
JITTER_S = 10.0  # … give or take, so that a storm of reconnects is not followed by one of questions
ASK_RATE = 50.0  # such questions a second
MEMBERSHIP_S = 3600.0  # after which the doorbell is hung anew: memberships in groups run out
ASK_STATUS = ("TriggerMessage", {"requestedMessage": "StatusNotification"})
NOT_KNOWN = ("NotSupported", "NotImplemented")

_current: Gateway | None = None


class NoGateway(RuntimeError):
    """This process runs no gateway."""


def current() -> Gateway:
    """The gateway of this process. Raises `NoGateway`."""
    if _current is None:
        raise NoGateway("start one with manage.py serve or manage.py gateway")
    return _current


def is_ready() -> bool:
    """Whether this process takes chargers; true where it never does."""
    return _current is None or _current.ready


def dropped() -> dict[str, int]:
    """How many frames this process dropped, by why, since it started (contract: RESULT nobody waits for, not JSON)."""
    return {} if _current is None else dict(_current.counts)


class Gateway:
    """What the sockets of one process share."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        host = socket.gethostname()
        self.loop = loop
        self.host = host
        self.name = re.sub(r"[^A-Za-z0-9.-]", "-", f"{host[:40]}-{os.getpid()}-{secrets.token_hex(3)}")
        self.admission = Admission()
        self.inbox = Inbox(loop, name=self.name)
        self.outbox = Outbox(loop, name=self.name, log=self.inbox.log)
        self.handshakes = Handshakes(loop, gateway=self.name, on_unclaimed=self._unclaimed)
        self.sockets: dict[int, ChargerConsumer] = {}
        self.seen: dict[int, ChargerConsumer] = {}
        self.counts: Counter[str] = Counter()
        self.draining = False
        self.database_away = False
        self._status_due: asyncio.Queue[ChargerConsumer] = asyncio.Queue()
        self._ended: list[Ended] = []
        self._database_seen = time.monotonic()
        self._database = ThreadPoolExecutor(1, thread_name_prefix="gateway")
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def ready(self) -> bool:
        return not self.draining and not self.database_away

    async def start(self) -> None:
        """Take the lease and start the threads. Raises `Error` where there is no database."""
        global _current
        live.bind(self.loop)
        await self._in_database(self._enter)
        self.inbox.start()
        self.outbox.start()
        self.handshakes.start()
        jobs = (self._keep_house, self._watch, self._hear_doorbell, self._ask_statuses)
        self._tasks = [self.loop.create_task(task()) for task in jobs]
        _current = self

    def _enter(self) -> None:
        now = dt.datetime.now(dt.UTC)
        timeseries.ensure_months(today=now.date())
        services.open_lease(name=self.name, host=self.host, pid=os.getpid(), now=now)
        services.sweep_leases(now=now, host=self.host)

    # --- sockets ---

    def attach(self, socket: ChargerConsumer) -> None:
        """A socket was accepted: the newest of a station wins (contract G10)."""
        other = self.sockets.get(socket.station_id)
        if other is not None and other.generation > socket.generation:
            socket.close(1000, Reason.REPLACED, "replaced by a newer connection")
            return
        self.sockets[socket.station_id] = socket
        if other is not None:
            other.close(1000, Reason.REPLACED, "replaced by a newer connection")
        if self.draining:  # its handshake was under way
            socket.close(1001, Reason.DRAINED, "restarting")
        elif self.database_away:
            socket.close(1013, Reason.DATABASE, "try again later")

    def opened(self, socket: ChargerConsumer) -> None:
        """The charger has its answer to the handshake: it may be asked things now."""
        if self.sockets.get(socket.station_id) is socket:
            self.outbox.attach(socket)
            if socket.asks_status:
                delay = SETTLE_S + random.uniform(0, JITTER_S)  # noqa: S311 - spread, not secrecy
                self.loop.call_later(delay, self._want_status, socket)

    def detach(self, socket: ChargerConsumer, reason: Reason, code: int) -> None:
        """A socket is gone; that its station is offline is written with the next batch, if it is the newest."""
        if self.sockets.get(socket.station_id) is socket:
            del self.sockets[socket.station_id]
        self.outbox.detach(socket)
        self._end(socket.station_id, socket.operator_id, socket.generation, reason, code)

    def settle_command(self, socket: ChargerConsumer, frame: frames.Result | frames.Error) -> None:
        """A charger answered a command; at once, never behind its own CALLs."""
        if not self.outbox.settle(socket.station_id, frame):
            self.counts["unexpected answers"] += 1

    def _unclaimed(self, accepted: Accepted) -> None:
        self._end(accepted.station_id, accepted.operator_id, accepted.generation, Reason.LOST, 1006)

    def _end(self, station_id: int, operator_id: int, generation: int, reason: Reason, code: int) -> None:
        self._ended.append(Ended(station_id, operator_id, generation, dt.datetime.now(dt.UTC), reason.value, code))

    def _close_all(self, code: int, reason: Reason, words: str) -> float:
        """Close all sockets, spread out; the seconds that takes."""
        sockets = list(self.sockets.values())
        spread = min(SPREAD_S, len(sockets) / SPREAD_RATE)
        for number, one in enumerate(sockets):
            self.loop.call_later(spread * number / len(sockets), one.close, code, reason, words)
        return spread

    # --- after a connect: what is the status? (contract G15) ---

    def _want_status(self, socket: ChargerConsumer) -> None:
        if self.sockets.get(socket.station_id) is socket and not socket.reported_status:
            self._status_due.put_nowait(socket)

    async def _ask_statuses(self) -> None:
        asked: set[asyncio.Task[None]] = set()
        while True:
            socket = await self._status_due.get()
            if self.sockets.get(socket.station_id) is socket and not socket.reported_status:
                task = self.loop.create_task(self._ask_status(socket.station_id))
                asked.add(task)
                task.add_done_callback(asked.discard)
                await asyncio.sleep(1 / ASK_RATE)

    async def _ask_status(self, station_id: int) -> None:
        answer = await self.outbox.ask(station_id, *ASK_STATUS)
        said = answer.code if isinstance(answer, frames.Error) else answer and answer.payload.get("status")
        if said in NOT_KNOWN:
            with contextlib.suppress(Error):  # then it is asked once more after its next connect
                await self._in_database(lambda: services.note_status_refused(station_id=station_id, said=said))

    # --- house-keeping, once a tick ---

    async def _keep_house(self) -> None:
        due = {self._beat: 0.0, self._flush_seen: SEEN_S, self._sweep: SWEEP_S}
        every = {self._beat: BEAT_S, self._flush_seen: SEEN_S, self._sweep: SWEEP_S}
        began = time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self._in_database(_ping)
                if self.database_away:  # one that can only be read is not back
                    await self._beat()
                self._database_seen = time.monotonic()
                await self._flush_ended()
                for job in [job for job, at in due.items() if time.monotonic() - began >= at]:
                    # First, so that one that fails keeps no other from its turn.
                    due[job] = time.monotonic() - began + every[job]
                    await job()
            except Error as failure:  # the watch reports an absence; the next tick tries again
                logger.warning("house-keeping: %s", str(failure).strip().split("\n", 1)[0])
            except Exception:
                logger.exception("house-keeping failed")

    async def _beat(self) -> None:
        now = dt.datetime.now(dt.UTC)
        if not await self._in_database(lambda: services.beat_lease(name=self.name, now=now)):
            # We were taken for dead, and our stations written offline: they connect anew.
            logger.warning("lease %s was lost", self.name)
            await self._in_database(
                lambda: services.open_lease(name=self.name, host=self.host, pid=os.getpid(), now=now)
            )
            self._close_all(1012, Reason.GATEWAY_LOST, "connect again")

    async def _sweep(self) -> None:
        await self._in_database(lambda: services.sweep_leases(now=dt.datetime.now(dt.UTC)))

    async def _flush_seen(self) -> None:
        """Write when each station was last seen, and find out which of our sockets are no longer the newest."""
        seen, self.seen = self.seen, {}
        rows = [(one.station_id, one.generation, one.seen_at) for one in seen.values()]
        try:
            await self._in_database(lambda: services.mark_seen(rows=rows))
        except Error:
            self.seen = seen | self.seen
            raise
        await self._look_around()

    async def _look_around(self) -> None:
        ids = list(self.sockets)
        found = await self._in_database(lambda: services.read_presence(station_ids=ids, now=dt.datetime.now(dt.UTC)))
        for station_id, (generation, traced) in found.items():
            one = self.sockets.get(station_id)
            if one is None:
                continue
            one.traced = traced
            if one.generation < generation:
                one.close(1000, Reason.REPLACED, "replaced by a newer connection")
        now = dt.datetime.now(dt.UTC)
        archived = await self._in_database(lambda: selectors.stations_to_part_from(gateway=self.name, now=now))
        for one in filter(None, map(self.sockets.get, archived)):
            one.close(1000, Reason.ARCHIVED, "the charger was archived")

    async def _flush_ended(self) -> None:
        ended, self._ended = self._ended, []
        if ended:
            await self._write_ended(ended)

    async def _write_ended(self, ended: list[Ended]) -> None:
        try:
            await self._in_database(lambda: services.mark_offline(ended=ended))
        except Error as error:
            if batches.passes(error):
                self._ended = ended + self._ended
                raise
            # What one of them holds is refused: the others must not wait for it.
            if len(ended) == 1:
                logger.exception("the end of a connection was not written: %s", ended[0])
                return
            for one in ended:
                await self._write_ended([one])

    async def _in_database[T](self, job: Callable[[], T]) -> T:
        return await self.loop.run_in_executor(self._database, _guarded, job)

    # --- the database goes and comes (contract G13) ---

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            seen_at = max(self._database_seen, self.inbox.committed_at)  # on SQLite batches make house-keeping wait
            away = self.inbox.is_stuck or time.monotonic() - seen_at > AWAY_AFTER_S
            if away and not self.database_away:
                logger.error("the database is away: closing %d sockets", len(self.sockets))
                self.database_away = self.handshakes.closed = True
                self._close_all(1013, Reason.DATABASE, "try again later")
            elif self.database_away and not away and not self.draining:
                logger.warning("the database is back")
                self.handshakes.limit_rate()
                self.database_away = self.handshakes.closed = False

    # --- the doorbell: somebody wrote something that concerns us ---

    async def _hear_doorbell(self) -> None:
        layer = get_channel_layer()
        while True:
            try:
                channel = await layer.new_channel()  # a new one each time: where no more is waited, it is gone
                await layer.group_add(live.group(f"gateway.{self.name}"), channel)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(MEMBERSHIP_S):
                        await self._answer_doorbell(layer, channel)
            except Exception as failure:  # a doorbell only saves time; its library has no common error class
                logger.warning("the doorbell is not heard: %r", failure)
            await asyncio.sleep(TICK_S)

    async def _answer_doorbell(self, layer: Any, channel: str) -> None:
        while True:
            await layer.receive(channel)
            self.outbox.ring()
            with contextlib.suppress(Error):  # house-keeping looks as well
                await self._look_around()

    # --- the end (contract G17) ---

    async def drain(self) -> None:
        """Admit nothing more, commit and answer what was admitted, close the sockets, drop the lease."""
        self.draining = self.handshakes.closed = self.admission.closed = self.outbox.closed = True
        deadline = time.monotonic() + DRAIN_S
        while self.admission.running and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        deadline += self._close_all(1001, Reason.DRAINED, "restarting")
        await self._wait_for_sockets()
        await self.outbox.stop()
        await self.inbox.drain(max(deadline - time.monotonic(), 1.0))
        await self.loop.run_in_executor(None, self.handshakes.stop)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(Error):
            await self._flush_seen()
            await self._flush_ended()
            await self._in_database(lambda: services.close_lease(name=self.name, now=dt.datetime.now(dt.UTC)))
        await self.loop.run_in_executor(self._database, lambda: connection.close())
        self._database.shutdown(wait=False)

    async def _wait_for_sockets(self) -> None:
        """Until all are gone; the last ones may be dead and do not answer the close frame."""
        gone_at = time.monotonic()
        count = len(self.sockets)
        while self.sockets and time.monotonic() - gone_at < LAST_SOCKETS_S:
            await asyncio.sleep(0.02)
            if len(self.sockets) != count:
                gone_at, count = time.monotonic(), len(self.sockets)


def _guarded(job: Callable[[], Any]) -> Any:
    try:
        return job()
    except Error:
        connection.close()
        raise


def _ping() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
