"""Drives an `Inbox` without sockets: puts calls, waits for their answers."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import OperationalError, connection, connections

from apps.installations.models import ChargingStation
from apps.ocpp.admission import Waiting
from apps.ocpp.batches import Answer, Call
from apps.ocpp.clock import ClockWatch
from apps.ocpp.inbox import Inbox

_numbers = itertools.count(1)


@dataclass
class Settled:
    """A socket that keeps the one answer it waits for."""

    future: Future[str]

    def begin(self, call: Call) -> None:
        raise AssertionError("it is the turnstile that begins calls")

    def settle(self, call: Call, answer: Answer) -> None:
        self.future.set_result(answer.text)


class Lanes:
    """An inbox on an event loop of its own thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.inbox = Inbox(self.loop, name=f"test-{next(_numbers)}")

    def send(
        self, station: ChargingStation, action: str, payload: dict, *, message_id: str = "", **call
    ) -> Future[str]:
        """Put one call; the future gives the text of its answer."""
        number = next(_numbers)
        message_id = message_id or f"m{number}"
        future: Future[str] = Future()

        call = Call(
            socket=Settled(future),
            station_id=station.pk,
            operator_id=station.operator_id,
            generation=call.get("generation", 1),
            sequence=call.get("sequence", number),
            received_at=call.get("received_at") or dt.datetime.now(dt.UTC),
            arrived=time.monotonic(),
            message_id=message_id,
            action=action,
            payload=payload,
            raw=json.dumps([2, message_id, action, payload], separators=(",", ":")),
            clock=call.get("clock") or ClockWatch(),
            waiting=Waiting(),
        )
        self.loop.call_soon_threadsafe(self.inbox.put, call)
        return future

    def ask(self, station: ChargingStation, action: str, payload: dict, **call) -> dict:
        """Put one call and wait for the payload of its confirmation."""
        return confirmed(self.send(station, action, payload, **call).result(timeout=15))

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self.inbox.drain(5), self.loop).result(timeout=20)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()
        connections.close_all()


@contextmanager
def running_lanes(*, start: bool = True) -> Iterator[Lanes]:
    lanes = Lanes()
    if start:
        lanes.inbox.start()
    try:
        yield lanes
    finally:
        if not start:
            lanes.inbox.start()
        lanes.close()


def confirmed(text: str) -> dict:
    """The payload of a CALLRESULT; an AssertionError for anything else."""
    frame = json.loads(text)
    assert frame[0] == 3, frame
    return frame[2]


def refused(text: str) -> str:
    """The code of a CALLERROR."""
    frame = json.loads(text)
    assert frame[0] == 4, frame
    return frame[2]


def start_payload(uid: str, *, connector: int = 1, meter: int = 1000, at: dt.datetime | None = None) -> dict:
    at = at or dt.datetime.now(dt.UTC)
    return {"connectorId": connector, "idTag": uid, "meterStart": meter, "timestamp": at.isoformat()}


def stop_payload(transaction_id: int, *, meter: int = 2000, at: dt.datetime | None = None, **more) -> dict:
    at = at or dt.datetime.now(dt.UTC)
    return {"transactionId": transaction_id, "meterStop": meter, "timestamp": at.isoformat(), **more}


def meter_payload(
    wh: int, *, connector: int = 1, transaction_id: int | None = None, at: dt.datetime | None = None
) -> dict:
    at = at or dt.datetime.now(dt.UTC)
    sample = {"value": str(wh), "measurand": "Energy.Active.Import.Register", "unit": "Wh"}
    payload = {
        "connectorId": connector,
        "meterValue": [{"timestamp": at.isoformat(), "sampledValue": [sample]}],
    }
    return payload if transaction_id is None else {**payload, "transactionId": transaction_id}


def say(sqlstate: str, words: str) -> None:
    """Let the database say that something is wrong: PostgreSQL by its code, SQLite in its words."""
    if connection.vendor != "postgresql":
        raise OperationalError(words)
    with connection.cursor() as cursor:
        cursor.execute(f"DO $$ BEGIN RAISE EXCEPTION 'a test' USING ERRCODE = '{sqlstate}'; END $$")
