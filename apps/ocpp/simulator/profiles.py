"""How a charger lives: cars come and go, and the profile decides what goes wrong.

Every choice is drawn from the charger's own random numbers, one stream a concern, so that one seed gives one life
however its messages interleave.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import enum
import json
import random
from collections.abc import Sequence
from typing import Any

from websockets.exceptions import InvalidHandshake

from apps.ocpp.simulator import charger as machine
from apps.ocpp.simulator.charger import CallRefused, Connector, NotConnected, SimulatedCharger
from apps.ocpp.simulator.clocks import LiveClock
from apps.ocpp.simulator.vehicle import ENERGY, Vehicle

TROUBLES = (NotConnected, CallRefused, TimeoutError)
CONNECT_TROUBLES = (OSError, TimeoutError, InvalidHandshake)
PEACE_S = (15 * 60.0, 45 * 60.0)  # between two troubles of a profile
OFFLINE_S = (3 * 60.0, 12 * 60.0)
MAX_OFF_CLOCK_MIN = 55


class Profile(enum.StrEnum):
    GOOD = "good"
    OFFLINE_REPLAYING = "offline_replaying"
    REBOOTING = "rebooting"
    CLOCK_OFF = "clock_off"
    BABBLING = "babbling"


async def live(
    charger: SimulatedCharger, profile: Profile = Profile.GOOD, *, cards: Sequence[str], busy: bool = True
) -> None:
    """Be this charger until cancelled. `cards` charge at it; with `busy` off only what we start by command does."""
    charger.supervised = True
    prepare(charger, profile)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_stay_connected(charger))
            tasks.create_task(_deliver(charger))
            tasks.create_task(_beat(charger))
            for one in charger.connectors.values():
                tasks.create_task(_serve_cars(charger, one, cards if busy else ()))
            if profile is Profile.OFFLINE_REPLAYING:
                tasks.create_task(_lose_line(charger))
            elif profile is Profile.REBOOTING:
                tasks.create_task(_lose_power(charger))
            elif profile is Profile.BABBLING:
                tasks.create_task(_babble(charger))
    finally:
        await charger.close(1001)


def prepare(charger: SimulatedCharger, profile: Profile) -> None:
    """Set the clock and the tongue of a profile."""
    if profile is Profile.CLOCK_OFF and isinstance(charger.clock, LiveClock):
        minutes = stream(charger, "clock").choice([-1, 1]) * stream(charger, "minutes").randrange(6, MAX_OFF_CLOCK_MIN)
        charger.clock.offset = dt.timedelta(minutes=minutes)
    elif profile is Profile.BABBLING:
        charger.mangle = Babbler(stream(charger, "tongue")).mangle


def stream(charger: SimulatedCharger, concern: str) -> random.Random:
    """Random numbers of one concern of this charger."""
    return random.Random(f"{charger.seed}:{charger.identity}:{concern}")  # noqa: S311 - one seed gives one life


# --- the line ---------------------------------------------------------------------------------------------------------


async def _stay_connected(charger: SimulatedCharger) -> None:
    numbers, attempt = stream(charger, "line"), 0
    while True:
        while charger.stays_offline:
            await charger.clock.sleep(5)
        try:
            await charger.connect()
            if not charger.booted.is_set():
                await charger.boot()
            else:  # after a broken line most chargers say nothing; this one reports what may have changed
                await charger.report_all()
            attempt = 0
            await charger.closed()
        except (*TROUBLES, *CONNECT_TROUBLES):
            await charger.close()
        attempt += 1
        await asyncio.sleep(machine.connect_delay(numbers, attempt))


async def _deliver(charger: SimulatedCharger) -> None:
    while True:
        await charger.online.wait()
        await charger.queued.wait()
        with contextlib.suppress(NotConnected):
            await charger.deliver()
        await asyncio.sleep(0)


async def _beat(charger: SimulatedCharger) -> None:
    while True:
        await asyncio.sleep(charger.heartbeat_s)
        with contextlib.suppress(*TROUBLES):
            await charger.heartbeat()


# --- cars -------------------------------------------------------------------------------------------------------------


async def _serve_cars(charger: SimulatedCharger, one: Connector, cards: Sequence[str]) -> None:
    numbers = stream(charger, f"cars {one.number}")
    await charger.booted.wait()
    await charger.clock.sleep(numbers.uniform(0, 300) if one.number > 1 else 2)
    while True:
        uid = await _next_card(charger, one, numbers, cards)
        if uid is None or not one.operative:
            continue
        await _charge(charger, one, uid, numbers)
        await charger.clock.sleep(numbers.uniform(10 * 60, 90 * 60))


async def _next_card(
    charger: SimulatedCharger, one: Connector, numbers: random.Random, cards: Sequence[str]
) -> str | None:
    """The card that is presented next, or the one that a command names; None if the system refuses it."""
    if not cards:
        return await one.remote.get()
    with contextlib.suppress(asyncio.QueueEmpty):
        return one.remote.get_nowait()
    uid = numbers.choice(cards)
    await charger.change(one.number, "Preparing")
    await charger.clock.sleep(numbers.uniform(4, 15))
    with contextlib.suppress(*TROUBLES):  # offline it lets cards charge that it cannot ask about
        if await charger.authorize(uid) != "Accepted":
            await charger.change(one.number, "Available")
            await charger.clock.sleep(60)
            return None
    return uid


def next_vehicle(charger: SimulatedCharger, numbers: random.Random) -> Vehicle:
    """A car as it arrives here."""
    hardware = charger.hardware
    at_most = numbers.choice([50_000, 100_000, 150_000] if hardware.dc else [3_700, 7_400, 11_000, 11_000, 22_000])
    return Vehicle(
        capacity_wh=numbers.choice([42_000, 58_000, 64_000, 77_000, 93_000]),
        charge=numbers.uniform(0.12, 0.6),
        limit=numbers.choice([0.8, 0.9, 1.0]),
        max_power_w=at_most,
    )


async def _charge(charger: SimulatedCharger, one: Connector, uid: str, numbers: random.Random) -> None:
    """One session, until the car is full, the driver comes back, or somebody ends it."""
    vehicle, stay_s = next_vehicle(charger, numbers), numbers.uniform(20 * 60, 180 * 60)
    transaction = charger.start(one.number, uid, vehicle)
    await charger.change(one.number, "Charging")
    since = asyncio.get_running_loop().time()
    speed = charger.clock.speed if isinstance(charger.clock, LiveClock) else 1.0
    while one.transaction is transaction and not one.halt.is_set():
        stayed = (asyncio.get_running_loop().time() - since) * speed
        if stayed >= stay_s:
            break
        # Sampling keeps its own pace: a fast life is not a denser one.
        interval = charger.setting("MeterValueSampleInterval") or 60
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(one.halt.wait(), min(interval, max(stay_s - stayed, 1) / speed))
        charger.measure(one.number)
    if one.transaction is not transaction:  # the power went off meanwhile
        await charger.change(one.number, "Available")
        return
    charger.stop(one.number, one.halt_reason)
    await charger.change(one.number, "Finishing")
    await charger.clock.sleep(numbers.uniform(20, 120))
    await charger.change(one.number, "Available")


# --- what goes wrong --------------------------------------------------------------------------------------------------


async def _lose_line(charger: SimulatedCharger) -> None:
    numbers = stream(charger, "weather")
    while True:
        await charger.clock.sleep(numbers.uniform(*PEACE_S))
        charger.stays_offline = True
        await charger.break_off()
        await charger.clock.sleep(numbers.uniform(*OFFLINE_S))
        charger.stays_offline = False


async def _lose_power(charger: SimulatedCharger) -> None:
    """In mid-session. Half the time the charger knows afterwards what it was doing, and ends it; else it forgot."""
    numbers = stream(charger, "mains")
    while True:
        await charger.clock.sleep(numbers.uniform(*PEACE_S))
        charger.booted.clear()
        await charger.break_off()
        if numbers.random() < 0.5:
            charger.lose_transactions()
        for one in charger.connectors.values():
            if one.transaction is not None:
                one.ask_to_stop("PowerLoss")


async def _babble(charger: SimulatedCharger) -> None:
    """Bursts of status, and now and then a frame that is none. Five of those would end the connection."""
    numbers = stream(charger, "mouth")
    odd = ('[2,"open', '[3,"nobody-asked",{}]', "{}", '[2,"odd","StatusNotification"]', '[9,"kind",{}]')
    while True:
        await charger.clock.sleep(numbers.uniform(60, 240))
        with contextlib.suppress(*TROUBLES):
            for _ in range(numbers.randrange(2, 8)):
                await charger.report(numbers.choice([0, *charger.connectors]))
            if numbers.random() < 0.2:
                await charger.send(numbers.choice(odd))


class Babbler:
    """Says what it means as badly as chargers do: kWh, odd letter case, fields that nobody knows, everything twice."""

    def __init__(self, numbers: random.Random) -> None:
        self.numbers = numbers

    def mangle(self, message_id: str, action: str, payload: dict[str, Any]) -> list[str]:
        """The frames that leave instead of the one."""
        text = machine.frame(message_id, action, self._garbled(action, json.loads(json.dumps(payload))))
        return [text, text] if self.numbers.random() < 0.1 else [text]

    def _garbled(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        if self.numbers.random() < 0.3:
            payload["vendorField"] = "x" * 8
        for name in ("status", "errorCode", "reason"):
            if name in payload and self.numbers.random() < 0.5:
                payload[name] = payload[name].lower()
        for value in payload.get("meterValue", ()):
            for sample in value["sampledValue"]:
                self._garble(sample)
        return payload

    @staticmethod
    def _garble(sample: dict[str, Any]) -> None:
        sample["measurand"] = sample["measurand"].lower()
        if sample["measurand"] == ENERGY.lower():
            sample["value"], sample["unit"] = f"{int(sample['value']) / 1000:.3f}", "kWh"
