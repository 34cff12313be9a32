"""One admitted CALL a station in this process; what came meanwhile waits, bounded (contract G2).

Chargers do pipeline after an offline spell, and resend with a new id while the first is queued.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from typing import Protocol

logger = logging.getLogger(__name__)

MAX_WAITING = 64
MAX_WAITING_BYTES = 2 * 1024 * 1024
MAX_WAITING_STATION = 4 * MAX_WAITING  # frames of sockets that died meanwhile included: they are still committed


@dataclass(slots=True)
class Waiting:
    """What one socket has waiting."""

    frames: int = 0
    size: int = 0


class Ticket(Protocol):
    """A CALL before its admission. `begin` starts it; whoever began calls `Admission.release` exactly once. A
    `begin` that raises has given the CALL up."""

    station_id: int
    waiting: Waiting

    @property
    def size(self) -> int: ...

    def begin(self) -> None: ...


class Admission:
    """The turnstile of one process; lives on the event loop."""

    def __init__(self) -> None:
        self.closed = False
        self._queues: dict[int, deque[Ticket]] = {}  # a station is in here while a CALL of it is admitted
        self._advancing: set[int] = set()

    @property
    def running(self) -> int:
        """How many CALLs are admitted and not yet settled."""
        return len(self._queues)

    def offer(self, ticket: Ticket) -> bool:
        """Admit the CALL or let it wait; False where its socket has too much waiting."""
        queue = self._queues.get(ticket.station_id)
        if queue is None and not self.closed:
            self._queues[ticket.station_id] = deque()
            try:
                ticket.begin()
            except Exception:
                self._queues.pop(ticket.station_id, None)
                raise
            return True
        if queue is None:
            return True  # draining: it stays unanswered, and the charger repeats it
        waiting = ticket.waiting
        full = waiting.frames >= MAX_WAITING or waiting.size + ticket.size > MAX_WAITING_BYTES
        if full or len(queue) >= MAX_WAITING_STATION:
            return False
        waiting.frames += 1
        waiting.size += ticket.size
        queue.append(ticket)
        return True

    def release(self, station_id: int) -> None:
        """The admitted CALL of this station is settled: admit the next one."""
        if station_id in self._advancing:  # one that was settled within its own `begin`: the loop below goes on
            self._advancing.discard(station_id)
            return
        queue = self._queues[station_id]
        while queue and not self.closed:
            ticket = queue.popleft()
            ticket.waiting.frames -= 1
            ticket.waiting.size -= ticket.size
            self._advancing.add(station_id)
            try:
                ticket.begin()
            except Exception:  # it is given up, those behind it are not
                logger.exception("a call of station %s could not begin", station_id)
                self._advancing.discard(station_id)
                continue
            if station_id in self._advancing:  # it is under way, and releases later
                self._advancing.discard(station_id)
                return
        del self._queues[station_id]
