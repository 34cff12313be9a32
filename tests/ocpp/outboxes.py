"""An outbox on a loop and a clock of the test's own, and sockets that only remember what was written to them."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from concurrent.futures import ThreadPoolExecutor

from django.db import connection

from apps.core.actor import Actor
from apps.installations.models import Command, StationState
from apps.installations.services import request_command
from apps.ocpp import frames
from apps.ocpp.outbox import Outbox

START = dt.datetime(2026, 11, 21, 12, 0, tzinfo=dt.UTC)
NAME = "gateway-of-the-test"


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> dt.datetime:
        return self.now

    def move(self, **by: float) -> None:
        self.now += dt.timedelta(**by)


class Socket:
    """A charger's socket that keeps what is sent, and the state of the command's row at that moment."""

    def __init__(self, station, generation=1) -> None:
        self.station = station
        self.station_id = station.pk
        self.operator_id = station.operator_id
        self.generation = generation
        self.sent: list[list] = []
        self.states: list[str] = []

    def send_text(self, text: str) -> None:
        message = json.loads(text)
        self.sent.append(message)
        self.states.append(_state_in_database(message[1]))


def _state_in_database(message_id: str) -> str:
    """What another process would see: a thread has a connection of its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_read_state, message_id).result()


def _read_state(message_id: str) -> str:
    try:
        states = Command.objects.unscoped("test").filter(message_id=message_id).values_list("state", flat=True)
        return states.first() or ""
    finally:
        connection.close()


def connect(tenant, generation=1, gateway=NAME):
    """What a handshake writes."""
    StationState.objects.unscoped("test").filter(station=tenant.station).update(
        generation=generation, online=True, gateway=gateway
    )
    return Socket(tenant.station, generation)


def ask(tenant, action="Reset", payload=None, *, now=START):
    return request_command(
        actor=Actor.system(tenant.operator),
        station=tenant.station,
        action=action,
        payload={"type": "Soft"} if payload is None else payload,
        why="test",
        now=now,
    )


def row(command):
    return Command.objects.unscoped("test").get(pk=command.pk)


class Run:
    """An outbox on a loop of the test's own; `turn` is what happens once a second."""

    def __init__(self, clock, **kwargs) -> None:
        self.loop = asyncio.new_event_loop()
        self.logged: list[tuple] = []
        self.outbox = self._call(self._make, clock, kwargs)

    async def _make(self, clock, kwargs):
        return Outbox(self.loop, name=NAME, log=self.logged.append, now=clock, **kwargs)

    def _call(self, function, *args):
        return self.loop.run_until_complete(function(*args))

    def turn(self) -> None:
        self.outbox._swept_at = float("-inf")  # each turn sweeps, as one in five does
        self._call(self.outbox.turn)

    def answer(self, socket, payload, number=-1) -> bool:
        answered = self.outbox.settle(socket.station_id, frames.Result(socket.sent[number][1], payload))
        self.turn()
        return answered

    def wait(self, seconds) -> None:
        self._call(asyncio.sleep, seconds)

    def close(self) -> None:
        self._call(self.outbox.stop)
        self.loop.close()
