"""The time that the demo's chargers lived offline, and its replay to a gateway over real websockets.

It begins with the last calendar month, which is billed, and is up to twice as long as a month. As many cars come as in
`DAYS`: the longer it is, the fewer a day.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from websockets.exceptions import InvalidHandshake

from apps.ocpp.demo.cast import HARBOUR, TENANTS, Make, Place, Tenant, card_uid, cards_of
from apps.ocpp.simulator import LiveClock, PastClock, SimulatedCharger, Transaction, Vehicle
from apps.ocpp.simulator.charger import Queued
from apps.ocpp.simulator.profiles import Babbler, next_vehicle, stream

DAYS = 25  # so many days' worth of cars come, however long the time is
SAMPLE_S = 15 * 60
BUNDLE = 8  # readings a message
SEED = 7
CLOCK_OFF = dt.timedelta(minutes=-23)
CLOCK_SEEN_S = 5.5  # two statuses this far apart tell the gateway how far the clock is off
UNKNOWN_UID = "04DEADBEEF0001"


@dataclass
class Story:
    """One charger and what is special about it."""

    charger: SimulatedCharger
    tenant: Tenant
    place: Place
    make: Make
    since: dt.datetime
    until: dt.datetime

    @property
    def identity(self) -> str:
        return self.charger.identity

    @property
    def days(self) -> float:
        return (self.until - self.since) / dt.timedelta(days=1)


async def replay_month(
    url: str,
    url_keys: dict[str, str],
    secret: str,
    now: dt.datetime,
    progress: Callable[[int, int], None],
    *,
    days: int | None = None,
) -> None:
    """Let every charger of the demo live through the last `days`, or since the last calendar month began, and tell a
    gateway at `url` of it.

    `url_keys` are the operators' keys by slug; `progress` is called with messages delivered and to deliver.
    """
    stories = lived(url, url_keys, secret, now, days=days)
    total = sum(len(story.charger.queue) for story in stories)
    async with asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(_report(stories, total, progress))
        await asyncio.gather(*(_tell(story) for story in stories), _knock(url, url_keys[HARBOUR.slug], secret))
        watch.cancel()
    progress(total, total)


def lived(url: str, url_keys: dict[str, str], secret: str, now: dt.datetime, *, days: int | None = None) -> list[Story]:
    """Every charger of the demo with all that it has to tell in its queue."""
    last_month = (now.replace(day=1) - dt.timedelta(days=1)).replace(day=1)
    since = last_month if days is None else now - dt.timedelta(days=days)
    since = since.replace(hour=0, minute=0, second=0, microsecond=0)
    stories = [_story(url, url_keys, secret, now, since, tenant, place, *one) for tenant, place, one in _everyone()]
    for story in stories:
        live_through(story)
    return stories


def _everyone() -> Iterator[tuple[Tenant, Place, tuple[str, Make]]]:
    for tenant in TENANTS:
        for place in tenant.places:
            for one in place.stations():
                yield tenant, place, one


def _story(
    url: str,
    url_keys: dict[str, str],
    secret: str,
    now: dt.datetime,
    since: dt.datetime,
    tenant: Tenant,
    place: Place,
    identity: str,
    make: Make,
) -> Story:
    charger = SimulatedCharger(
        f"{url}/{url_keys[tenant.slug]}", identity, secret, hardware=make.hardware, clock=PastClock(now), seed=SEED
    )
    return Story(charger, tenant, place, make, since, now - dt.timedelta(hours=1))


# --- what one charger lived -------------------------------------------------------------------------------------------


def live_through(story: Story) -> None:
    """Fill the charger's queue with its messages, in the order of their times."""
    charger = story.charger
    assert isinstance(charger.clock, PastClock)
    for number in charger.connectors:
        numbers = stream(charger, f"month {number}")
        cards = cards_of(story.tenant, story.identity, number)
        for begin in _arrivals(story, numbers):
            if begin > charger.clock.at or charger.clock.at > story.until:
                charger.clock.at = begin
                _charge(story, number, numbers.choice(cards), numbers)
    if mishap := MISHAPS.get(story.identity):
        mishap(story)
    charger.queue = _bundled(sorted(charger.queue, key=_said_at))


def _bundled(messages: list[Queued]) -> deque[Queued]:
    """Chargers that were offline send what they read of a session in few messages."""
    queue: deque[Queued] = deque()
    latest: dict[Transaction, list[object]] = {}
    for one in messages:
        values = latest.get(one.transaction)
        if one.action != "MeterValues":
            queue.append(one)
        elif values is not None and len(values) < BUNDLE:
            values.extend(one.payload["meterValue"])
        else:
            latest[one.transaction] = one.payload["meterValue"]
            queue.append(one)
    return queue


def _said_at(queued: Queued) -> str:
    payload = queued.payload
    return str(payload.get("timestamp") or payload["meterValue"][0]["timestamp"])


def _arrivals(story: Story, numbers: random.Random) -> Iterator[dt.datetime]:
    """When cars come: by day at the roadside, towards evening at a depot, seldom on Sundays."""
    rate = (2.4 if story.make.dc else 1.1) * min(DAYS / story.days, 1)  # cars a connector and day
    at = story.since
    while at < story.until:
        at += dt.timedelta(days=numbers.expovariate(rate))
        hour = numbers.gauss(17.5, 1.5) if story.place.hosted and not story.make.dc else numbers.gauss(12.5, 3.5)
        moment = at.replace(hour=0, minute=0) + dt.timedelta(hours=min(max(hour, 4.0), 22.0))
        if moment.weekday() == 6 and numbers.random() < 0.7:
            continue
        at = max(at, moment)
        if moment < story.until - dt.timedelta(hours=11):
            yield moment


def _charge(story: Story, connector: int, uid: str, numbers: random.Random) -> None:
    """One session from plug to unplug, read every quarter of an hour."""
    charger, clock = story.charger, story.charger.clock
    assert isinstance(clock, PastClock)
    vehicle = next_vehicle(charger, numbers)
    stay = dt.timedelta(minutes=numbers.uniform(15, 55) if story.make.dc else numbers.uniform(60, 420))
    leaves = clock.at + stay
    charger.start(connector, uid, vehicle)
    while clock.at + dt.timedelta(seconds=SAMPLE_S) < leaves and vehicle.charge < vehicle.limit:
        _pass(clock, SAMPLE_S)
        charger.measure(connector)
    _pass(clock, min((leaves - clock.at).total_seconds(), SAMPLE_S / 2))
    charger.stop(connector, "EVDisconnected" if numbers.random() < 0.3 else "Local")


def _pass(clock: PastClock, seconds: float) -> None:
    clock.at += dt.timedelta(seconds=seconds)


# --- what the review queue shows --------------------------------------------------------------------------------------


def _at(story: Story, *, days: float) -> None:
    """Go to so many days before the end, at a quarter past three in the morning: nobody else charges then."""
    assert isinstance(story.charger.clock, PastClock)
    moment = story.until - dt.timedelta(days=days)
    story.charger.clock.at = moment.replace(hour=2, minute=15, second=0)


def _session(story: Story, uid: str, *, minutes: int = 60, shift_wh: int = 0) -> None:
    """A short session at connector 1, its meter moved by `shift_wh` in the middle."""
    charger, clock = story.charger, story.charger.clock
    assert isinstance(clock, PastClock)
    charger.start(1, uid, Vehicle(capacity_wh=77_000, charge=0.2, max_power_w=11_000))
    for part in range(minutes // 15):
        _pass(clock, SAMPLE_S)
        charger.connectors[1].meter.advance(clock.at)
        charger.connectors[1].meter.register_wh += shift_wh if part == 1 else 0
        charger.measure(1)
    charger.stop(1)


def _unknown_card(story: Story) -> None:
    _at(story, days=6)
    _session(story, UNKNOWN_UID)


def _blocked_card(story: Story) -> None:
    _at(story, days=4)
    _session(story, card_uid(story.tenant, "blocked"))


def _meter_backwards(story: Story) -> None:
    _at(story, days=9)
    _session(story, cards_of(story.tenant, story.identity, 1)[0], shift_wh=-6_000)


def _meter_jumps(story: Story) -> None:
    _at(story, days=3)
    _session(story, cards_of(story.tenant, story.identity, 1)[0], shift_wh=90_000)


def _forgets_stop(story: Story) -> None:
    """The power fails in mid-session and the charger forgets it: there is a Boot, never a Stop."""
    _at(story, days=2)
    _session(story, cards_of(story.tenant, story.identity, 1)[0])
    story.charger.queue.pop()


def _babbles(story: Story) -> None:
    story.charger.mangle = Babbler(stream(story.charger, "tongue")).mangle


MISHAPS: dict[str, Callable[[Story], None]] = {
    "UTR-02": _unknown_card,
    "BER-02": _unknown_card,
    "HAM-05": _unknown_card,
    "HAM-03": _blocked_card,
    "RTM-03": _meter_backwards,
    "LIL-01": _meter_jumps,
    "LIL-03": _forgets_stop,
    "RTM-04": _babbles,
    "MUC-03": _meter_jumps,
}
CLOCK_WRONG = "BER-03"
LOST_STOP = "UTR-03"
FAULTED = {"RTM-02": ("GroundFailure", "Residual current detected")}
OUT_OF_SERVICE = "HAM-04"


# --- the replay -------------------------------------------------------------------------------------------------------


async def _tell(story: Story) -> None:
    """Connect, boot, deliver the month, and say how things stand now."""
    charger = story.charger
    charger.configuration["TransactionMessageRetryInterval"].value = "1"
    last = _keep_for_later(charger) if story.identity == CLOCK_WRONG else ()
    async with charger:
        await charger.boot()
        await charger.deliver()
        charger.clock = LiveClock()
        if last:
            await _tell_with_wrong_clock(charger, last)
        if story.identity == LOST_STOP:
            stop = {"transactionId": 0, "meterStop": 123_456, "timestamp": charger.now(), "reason": "PowerLoss"}
            await charger.call("StopTransaction", stop)
        if story.identity in FAULTED:
            code, info = FAULTED[story.identity]
            await charger.report(1, "Faulted", error_code=code, info=info)
        elif story.identity == OUT_OF_SERVICE:
            await charger.report(1, "Unavailable")


def _keep_for_later(charger: SimulatedCharger) -> tuple[Queued, ...]:
    """Take the last session out of the queue."""
    if not charger.queue:
        return ()
    last = charger.queue[-1].transaction
    kept = tuple(one for one in charger.queue if one.transaction is last)
    charger.queue = deque(one for one in charger.queue if one.transaction is not last)
    return kept


async def _tell_with_wrong_clock(charger: SimulatedCharger, last: tuple[Queued, ...]) -> None:
    """A session that the gateway hears of while it knows how wrong the charger's clock is."""
    charger.clock = LiveClock(offset=CLOCK_OFF)
    await charger.connect()
    await charger.report(1)
    await asyncio.sleep(CLOCK_SEEN_S)
    await charger.report(1)
    charger.queue.extend(last)
    await charger.deliver()


async def _knock(url: str, url_key: str, secret: str) -> None:
    """Two that are refused: a charger that nobody knows, and one with a wrong key."""
    for identity, key in (("WALLBOX-7731", secret), ("HAM-06", secret[::-1])):
        stranger = SimulatedCharger(f"{url}/{url_key}", identity, key)
        for _ in range(3):
            with contextlib.suppress(InvalidHandshake):
                await stranger.connect()


async def _report(stories: list[Story], total: int, progress: Callable[[int, int], None]) -> None:
    while True:
        await asyncio.sleep(0.5)
        progress(total - sum(len(story.charger.queue) for story in stories), total)
