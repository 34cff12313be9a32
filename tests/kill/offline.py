"""Chargers to which things happen whether they are connected or not: what is to be said waits in their queues, and is
sent in order when they are back (OCPP 1.6 sections 3.7.1, 4.8)."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from websockets.exceptions import InvalidHandshake, InvalidStatus

from apps.charging.models import Reading, Session
from apps.installations.models import ChargingStation
from apps.ocpp.simulator import NotConnected, SimulatedCharger
from apps.ocpp.simulator.charger import connect_delay
from apps.ocpp.simulator.clocks import PastClock
from tests.ocpp import live

READINGS = 4  # a session
EPOCH = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
PATIENCE_S = 3.0  # between two tries to connect, at most


@dataclass
class Life:
    """What happened at one charger: registers in Wh by the time that it said."""

    station: ChargingStation
    charger: SimulatedCharger
    starts: dict[dt.datetime, int] = field(default_factory=dict)
    readings: dict[dt.datetime, int] = field(default_factory=dict)
    stops: dict[dt.datetime, tuple[dt.datetime, int]] = field(default_factory=dict)  # by start
    said: int = 0

    @property
    def acknowledged(self) -> int:
        return self.said - len(self.charger.queue)


class OfflineLoad:
    """`stations` where something happens each `pace_s` seconds until `finishing`; each ends the session it is in."""

    def __init__(self, stations: Sequence[ChargingStation], uid: str, *, port: int, pace_s: float) -> None:
        url = f"ws://127.0.0.1:{port}/ocpp/{live.URL_KEY}"
        self.lives = [Life(one, _charger(url, one.identity)) for one in stations]
        self.uid = uid
        self.pace_s = pace_s
        self.closed: Counter[int] = Counter()  # close codes of the server
        self.refused: Counter[int] = Counter()  # statuses of refused handshakes
        self.finishing = False

    @property
    def acknowledged(self) -> int:
        return sum(life.acknowledged for life in self.lives)

    @property
    def queued(self) -> int:
        return sum(len(life.charger.queue) for life in self.lives)

    @property
    def connected(self) -> int:
        return sum(life.charger.connected for life in self.lives)

    async def run(self) -> None:
        await asyncio.gather(*map(self._live, self.lives))

    async def _live(self, life: Life) -> None:
        line = asyncio.create_task(self._stay_connected(life))
        numbers = random.Random(life.station.identity)
        while not self.finishing:
            await self._charge(life, numbers)
        while life.charger.queue:
            await asyncio.sleep(0.05)
        line.cancel()
        await life.charger.close()

    async def _charge(self, life: Life, numbers: random.Random) -> None:
        charger = life.charger
        charger.start(1, self.uid)
        payload = self._said(life)
        started = dt.datetime.fromisoformat(payload["timestamp"])
        life.starts[started] = payload["meterStart"]
        for _ in range(READINGS if not self.finishing else 0):
            await self._pass_time(charger, numbers)
            charger.measure(1)
            (value,) = self._said(life)["meterValue"]
            register = next(one["value"] for one in value["sampledValue"] if one["measurand"].startswith("Energy"))
            life.readings[dt.datetime.fromisoformat(value["timestamp"])] = int(register)
        await self._pass_time(charger, numbers)
        charger.stop(1)
        payload = self._said(life)
        life.stops[started] = (dt.datetime.fromisoformat(payload["timestamp"]), payload["meterStop"])
        await self._pass_time(charger, numbers)

    async def _pass_time(self, charger: SimulatedCharger, numbers: random.Random) -> None:
        await charger.clock.sleep(30)
        if not self.finishing:
            await asyncio.sleep(self.pace_s * numbers.uniform(0.5, 1.5))

    def _said(self, life: Life) -> dict[str, Any]:
        life.said += 1
        return life.charger.queue[-1].payload

    async def _stay_connected(self, life: Life) -> None:
        charger, numbers, attempt = life.charger, random.Random(life.station.identity), 0
        while True:
            try:
                await charger.connect()
            except InvalidStatus as refusal:
                self.refused[refusal.response.status_code] += 1
            except (OSError, InvalidHandshake, TimeoutError):
                pass
            else:
                attempt = 0
                closing = asyncio.create_task(charger.closed())
                with contextlib.suppress(NotConnected):
                    while charger.connected:
                        await charger.deliver()
                        await asyncio.sleep(0.02)
                self.closed[(await closing)[0] or 0] += 1
            attempt += 1
            await asyncio.sleep(min(connect_delay(numbers, attempt), PATIENCE_S))


def _charger(url: str, identity: str) -> SimulatedCharger:
    """One that ships as many do: a message that stays unanswered three times is thrown away."""
    charger = SimulatedCharger(url, identity, live.SECRET, clock=PastClock(EPOCH))
    assert charger.setting("TransactionMessageAttempts") == 3
    return charger


def differences(load: OfflineLoad) -> list[str]:
    """What the database says otherwise than the chargers do, in words."""
    return [complaint for life in load.lives for complaint in _differences(life)]


def _differences(life: Life) -> list[str]:
    name = life.station.identity
    sessions = Session.objects.unscoped("a test").filter(station=life.station)
    stored = sorted((one.started_at, one.meter_start_wh, one.ended_at, one.meter_stop_wh) for one in sessions)
    happened = sorted((started, wh, *life.stops[started]) for started, wh in life.starts.items())
    readings = Reading.objects.unscoped("a test").filter(station_id=life.station.pk)
    measured = Counter(readings.values_list("at", "register_wh"))
    found = []
    if stored != happened:
        found.append(f"{name}: {len(stored)} sessions of {len(happened)} starts; {set(happened) ^ set(stored)}")
    if measured != Counter(life.readings.items()):
        found.append(f"{name}: {measured.total()} readings of {len(life.readings)} measured")
    return found
