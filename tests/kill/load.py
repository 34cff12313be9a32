"""Chargers that charge as fast as they are answered, note every acknowledged message, repeat what was not acknowledged,
and afterwards look each of them up in the database."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import itertools
import random
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from websockets.exceptions import InvalidHandshake

from apps.charging.models import Reading, Session
from apps.installations.models import ChargingStation
from apps.ocpp.models import Frame, QuarantinedFrame
from apps.ocpp.simulator import NotConnected, SimulatedCharger
from apps.ocpp.simulator.clocks import text
from tests.ocpp import live

READINGS = 4  # a session
STEP = dt.timedelta(seconds=30)
EPOCH = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)


@dataclass
class Life:
    """What one charger said and what it was told."""

    station: ChargingStation
    acknowledged: list[str] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)
    # By start: (meter at the start, transaction id told); by (time): register; by start: meter at the end.
    starts: dict[dt.datetime, tuple[int, int]] = field(default_factory=dict)
    readings: dict[dt.datetime, int] = field(default_factory=dict)
    stops: dict[dt.datetime, int] = field(default_factory=dict)


class Load:
    """`stations` charging until `finish`; each ends the session it is in."""

    def __init__(self, stations: Sequence[ChargingStation], uid: str, *, seed: int = 0) -> None:
        self.lives = [Life(station) for station in stations]
        self.uid = uid
        self.port = 0
        self.finishing = False
        self._seed = seed

    @property
    def acknowledged(self) -> int:
        return sum(len(life.acknowledged) for life in self.lives)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for number, life in enumerate(self.lives):
                tasks.create_task(self._live(life, random.Random(f"{self._seed}:{number}")))

    async def _live(self, life: Life, numbers: random.Random) -> None:
        charger: SimulatedCharger | None = None
        clock, meter = EPOCH, 1000
        while not self.finishing:
            started, meter_start = clock, meter
            start = {"connectorId": 1, "idTag": self.uid, "meterStart": meter, "timestamp": text(clock)}
            charger, answer = await self._say(charger, life, "StartTransaction", start, numbers)
            transaction = answer["transactionId"]
            life.starts[started] = (meter_start, transaction)
            for _ in range(READINGS):
                clock, meter = clock + STEP, meter + 50
                sample = {"value": str(meter), "measurand": "Energy.Active.Import.Register", "unit": "Wh"}
                value = {"timestamp": text(clock), "sampledValue": [sample]}
                payload = {"connectorId": 1, "transactionId": transaction, "meterValue": [value]}
                charger, _ = await self._say(charger, life, "MeterValues", payload, numbers)
                life.readings[clock] = meter
            clock = clock + STEP
            stop = {"transactionId": transaction, "meterStop": meter, "timestamp": text(clock), "idTag": self.uid}
            charger, _ = await self._say(charger, life, "StopTransaction", stop, numbers)
            life.stops[started] = meter
            clock = clock + STEP
        if charger is not None:
            await charger.close()

    async def _say(
        self, charger: SimulatedCharger | None, life: Life, action: str, payload: dict, numbers: random.Random
    ) -> tuple[SimulatedCharger, dict]:
        """Say it until it is acknowledged, on as many sockets as that takes; repeats carry the old id or a new one."""
        message_id = f"{life.station.identity}-{next(_ids)}"
        for attempt in itertools.count():
            if attempt and numbers.random() < 0.5:
                message_id = f"{life.station.identity}-{next(_ids)}"
            try:
                if charger is None or not charger.connected:
                    charger = await self._connect(life.station)
                life.sent[message_id] += 1
                answer = await charger.call(action, payload, message_id=message_id)
            except (NotConnected, OSError, InvalidHandshake, TimeoutError):
                assert attempt < 200, "the gateway did not come back"
                await asyncio.sleep(0.2)
                continue
            life.acknowledged.append(message_id)
            return charger, answer
        raise AssertionError("unreachable")

    async def _connect(self, station: ChargingStation) -> SimulatedCharger:
        url = f"ws://127.0.0.1:{self.port}/ocpp/{live.URL_KEY}"
        charger = SimulatedCharger(url, station.identity, live.SECRET)
        await charger.connect()
        return charger


_ids = itertools.count(1)


class Running(Protocol):
    finishing: bool

    async def run(self) -> None: ...


@contextlib.contextmanager
def at_work(load: Running) -> Iterator[None]:
    """The chargers live in a thread of their own, and come to an end when the block does."""
    failures: list[Exception] = []
    worker = threading.Thread(target=lambda: _run(load, failures), daemon=True)
    worker.start()
    try:
        yield
    finally:
        load.finishing = True
        worker.join(timeout=60)
    assert not worker.is_alive()
    assert failures == []


def _run(load: Running, failures: list[Exception]) -> None:
    try:
        asyncio.run(load.run())
    except Exception as failure:
        failures.append(failure)


def pending_ids(load: Load) -> list[str]:
    """What was sent and not acknowledged."""
    return [one for life in load.lives for one in set(life.sent) - set(life.acknowledged)]


def lost(load: Load) -> list[str]:
    """Everything acknowledged that the database lacks, and every fact that it has twice, in words."""
    return [complaint for life in load.lives for complaint in (*_lost_frames(life), *_lost_facts(life))]


def _lost_frames(life: Life) -> list[str]:
    """One row a reception: what was acknowledged was received, and nothing more often than it was sent."""
    station_id = life.station.pk
    stored = Counter(
        Frame.objects.unscoped("a test").filter(station_id=station_id).values_list("message_id", flat=True)
    )
    quarantined = QuarantinedFrame.objects.unscoped("a test").filter(station_id=station_id).count()
    acknowledged = Counter(life.acknowledged)
    found = [
        f"{one} was sent {life.sent[one]} times, acknowledged {acknowledged[one]} times and stored {stored[one]} times"
        for one in stored.keys() | life.sent.keys()
        if not acknowledged[one] <= stored[one] <= life.sent[one]
    ]
    return [*found, f"{quarantined} in quarantine"] if quarantined else found


def _lost_facts(life: Life) -> list[str]:
    name = life.station.identity
    sessions = list(Session.objects.unscoped("a test").filter(station=life.station))
    readings = list(Reading.objects.unscoped("a test").filter(station_id=life.station.pk))
    found = []
    if len(sessions) != len(life.starts):
        found.append(f"{name}: {len(sessions)} sessions of {len(life.starts)} starts")
    if len(readings) != len(life.readings):
        found.append(f"{name}: {len(readings)} readings of {len(life.readings)} measured")
    by_start = {session.started_at: session for session in sessions}
    for started, (meter, transaction) in life.starts.items():
        session = by_start.get(started)
        if session is None:
            found.append(f"{name}: the start of {started} is missing")
        elif (session.meter_start_wh, session.transaction_id) != (meter, transaction):
            found.append(f"{name}: the start of {started} has other figures")
        elif started in life.stops and (session.state, session.meter_stop_wh) != ("ended", life.stops[started]):
            found.append(f"{name}: the end of {started} is missing")
    by_time = {reading.at: reading.register_wh for reading in readings}
    found += [f"{name}: the reading of {at} is missing" for at, wh in life.readings.items() if by_time.get(at) != wh]
    return found
