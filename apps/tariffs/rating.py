"""The rating engine: what one session costs by one version of a tariff. Pure: no database, no clock.

Facts, terms and VAT rates in; periods and items out, each with the element that priced it and the registers that it
comes from. Energy is Wh, time whole seconds between UTC instants, everything exact until one rounding a (dimension,
VAT class). The rules follow OCPI 2.2.1, 11; where it leaves a choice, the docstrings say which one was taken.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from apps.core import money
from apps.tariffs import parking
from apps.tariffs.elements import DAY_S, Component, Dimension, Element, price_fraction

ENGINE = "1"  # kept with what it rated; a change that moves an amount counts it up
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_EPOCH_DAY = _EPOCH.toordinal()
_LOOK_S = 3 * 3600  # a zone's clock is looked at so often for a change
_TIMES = (Dimension.TIME, Dimension.PARKING_TIME)


class RatingError(Exception):
    """The session cannot be priced. `code` is meter, time or vat, then with the `vat_class` that has no rate; the text
    is for a log."""

    def __init__(self, code: str, text: str, *, vat_class: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.vat_class = vat_class


@dataclass(frozen=True, slots=True)
class Usage:
    """A session as the engine needs it. Instants are aware; `readings` and `statuses` come in any order.

    `readings` are the registers in Wh, those at start and stop are the session's own. `statuses` are those of the
    connector, the last one before the start included. `zone` is the place's.
    """

    started_at: dt.datetime
    ended_at: dt.datetime
    meter_start: Decimal | int
    meter_stop: Decimal | int
    zone: str
    readings: Sequence[tuple[dt.datetime, Decimal | int]] = ()
    statuses: Sequence[tuple[dt.datetime, str]] = ()


@dataclass(frozen=True, slots=True)
class Terms:
    """What a version of a tariff says. A session without energy and shorter than `fee_after_s` pays no fee."""

    currency: str
    elements: tuple[Element, ...]
    fee_after_s: int = 0


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of the session at one price. `element` counts from 1. Quantities are Wh, seconds, or 1 for a fee;
    `billed` is `quantity` with what the step adds. `registers` are the meter at both ends, of energy only;
    `interpolated` says that one of them lies between two readings."""

    dimension: Dimension
    element: int
    since: dt.datetime
    until: dt.datetime
    quantity: Fraction
    billed: Fraction
    price: Decimal
    step: int
    vat_class: str
    exact: Fraction
    registers: tuple[Fraction, Fraction] | None = None
    interpolated: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """All of one dimension and VAT class, net: `exact`, and `amount` rounded once."""

    dimension: Dimension
    vat_class: str
    vat_rate: Decimal
    quantity: Fraction
    billed: Fraction
    exact: Fraction
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Rating:
    currency: str
    periods: tuple[Period, ...]
    items: tuple[Item, ...]
    total: Decimal
    charging_s: int
    parking_s: int

    @property
    def interpolated(self) -> bool:
        return any(period.interpolated for period in self.periods)


def rate(usage: Usage, terms: Terms, vat_rates: Mapping[str, Decimal]) -> Rating:
    """What the session costs, net. `vat_rates` are percent by VAT class. Raises RatingError."""
    start, end = _second(usage.started_at), _second(usage.ended_at)
    if usage.ended_at < usage.started_at:
        raise RatingError("time", "the session ends before it begins")
    if usage.meter_stop < usage.meter_start:
        raise RatingError("meter", "the meter at the end is below that at the start")
    points = _points(usage)
    parked = parking.spans(start, end, points, usage.statuses)
    stretches = _stretches(start, end, usage.zone, terms.elements, parked)
    periods = [
        *_steps(_energy(stretches, points)),
        *_steps_of_time(_times(stretches)),
        *_fee(stretches, terms, no_energy=usage.meter_stop == usage.meter_start),
    ]
    items = _items(periods, terms.currency, vat_rates)
    parking_s = sum(last - first for first, last in parked)
    return Rating(
        currency=terms.currency,
        periods=tuple(periods),
        items=items,
        total=money.total((one.amount for one in items), terms.currency),
        charging_s=end - start - parking_s,
        parking_s=parking_s,
    )


# --- the session, cut wherever a price may change ---------------------------------------------------------------------


class Stretch(NamedTuple):
    """Part of a session in which no restriction changes: its ends, and the number of the element that holds for each
    dimension (first match wins, a price of 0 too)."""

    since: int
    until: int
    holds: Mapping[Dimension, tuple[int, Component]]
    parked: bool


def _stretches(
    start: int, end: int, zone: str, elements: Sequence[Element], parked: Sequence[parking.Span]
) -> list[Stretch]:
    clocks = list(_clocks(start, end, ZoneInfo(zone)))
    cuts = {start, end}
    cuts.update(at for span in parked for at in span)
    cuts.update(start + one for element in elements for one in _durations(element) if start + one < end)
    for since, until, offset in clocks:
        cuts.add(since)
        cuts.update(_clock_cuts(since, until, offset, elements))
    edges = sorted(cuts)
    pairs = list(pairwise(edges)) or [(start, end)]
    found, clock = [], 0
    for since, until in pairs:
        while clock + 1 < len(clocks) and clocks[clock + 1][0] <= since:
            clock += 1
        holds = _holding(elements, since + clocks[clock][2], since - start)
        found.append(Stretch(since, until, holds, any(first <= since < last for first, last in parked)))
    return found


def _holding(elements: Sequence[Element], local: int, duration: int) -> dict[Dimension, tuple[int, Component]]:
    day, second = dt.date.fromordinal(_EPOCH_DAY + local // DAY_S), local % DAY_S
    holds: dict[Dimension, tuple[int, Component]] = {}
    for number, element in enumerate(elements, 1):
        restrictions = element.restrictions
        shortest, longest = restrictions.min_duration or 0, restrictions.max_duration
        if duration < shortest or (longest is not None and duration >= longest):
            continue
        if not restrictions.by_clock or restrictions.hold_on_clock(day, second):
            for component in element.components:
                holds.setdefault(component.dimension, (number, component))
    return holds


def _clocks(start: int, end: int, zone: ZoneInfo) -> Iterator[tuple[int, int, int]]:
    """(from, to, seconds that the local clock is ahead of UTC) for each stretch on one offset."""
    since = at = start
    offset = _offset(start, zone)
    while at < end:
        later = min(at + _LOOK_S, end)
        if _offset(later, zone) != offset:
            later = _change(at, later, zone, offset)
            yield since, later, offset
            since, offset = later, _offset(later, zone)
        at = later
    yield since, end, offset


def _change(before: int, after: int, zone: ZoneInfo, offset: int) -> int:
    """The first second after `before` with another offset."""
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (middle, after) if _offset(middle, zone) == offset else (before, middle)
    return after


def _offset(at: int, zone: ZoneInfo) -> int:
    ahead = dt.datetime.fromtimestamp(at, zone).utcoffset()
    return int(ahead.total_seconds()) if ahead is not None else 0


def _clock_cuts(since: int, until: int, offset: int, elements: Sequence[Element]) -> Iterator[int]:
    """Instants inside at which the local clock shows a boundary of an element; midnight is one for days and dates."""
    seconds = {0} if any(element.restrictions.by_clock for element in elements) else set()
    for element in elements:
        seconds.update(one % DAY_S for one in (element.restrictions.start_s, element.restrictions.end_s) if one)
    for second in seconds:
        first = since + (second - since - offset) % DAY_S
        yield from range(first, until, DAY_S)


def _durations(element: Element) -> Iterator[int]:
    yield from (one for one in (element.restrictions.min_duration, element.restrictions.max_duration) if one)


# --- quantities -------------------------------------------------------------------------------------------------------


def _energy(stretches: Sequence[Stretch], points: Sequence[parking.Point]) -> list[Period]:
    found = []
    for number, component, run in _runs(stretches, Dimension.ENERGY):
        since, until = run[0].since, run[-1].until
        first, first_guessed = (points[0][1], False) if run[0] is stretches[0] else _register(points, since)
        last, last_guessed = (points[-1][1], False) if run[-1] is stretches[-1] else _register(points, until)
        if last > first:
            guessed = first_guessed or last_guessed
            found.append(_period(component, number, since, until, last - first, (first, last), guessed))
    return found


def _register(points: Sequence[parking.Point], second: int) -> tuple[Fraction, bool]:
    """The meter at an instant, and whether that is interpolated between two readings that differ."""
    at = second * 1_000_000
    index = bisect_right(points, at, key=lambda point: point[0])
    (earlier, less), (later, more) = points[max(index - 1, 0)], points[min(index, len(points) - 1)]
    if earlier >= at or later == earlier or more == less:
        return less, False
    return less + (more - less) * Fraction(at - earlier, later - earlier), True


def _times(stretches: Sequence[Stretch]) -> list[Period]:
    found = []
    for dimension in _TIMES:
        kind = [one for one in stretches if one.parked is (dimension is Dimension.PARKING_TIME)]
        for number, component, run in _runs(kind, dimension):
            since, until = run[0].since, run[-1].until
            if until > since:
                found.append(_period(component, number, since, until, Fraction(until - since)))
    return sorted(found, key=lambda period: period.since)


def _runs(stretches: Sequence[Stretch], dimension: Dimension) -> Iterator[tuple[int, Component, list[Stretch]]]:
    """Neighbouring stretches that one element prices."""
    run: list[Stretch] = []
    for stretch in stretches:
        if run and (run[-1].until != stretch.since or run[-1].holds.get(dimension) != stretch.holds.get(dimension)):
            yield from _priced(run, dimension)
            run = []
        run.append(stretch)
    yield from _priced(run, dimension)


def _priced(run: list[Stretch], dimension: Dimension) -> Iterator[tuple[int, Component, list[Stretch]]]:
    if run and (held := run[0].holds.get(dimension)) is not None:
        yield *held, run


def _fee(stretches: Sequence[Stretch], terms: Terms, *, no_energy: bool) -> Iterator[Period]:
    """Once a session, at the first instant for which there is one."""
    if no_energy and stretches[-1].until - stretches[0].since < terms.fee_after_s:
        return
    for stretch in stretches:
        if (held := stretch.holds.get(Dimension.FLAT)) is not None:
            number, component = held
            yield _period(component, number, stretch.since, stretch.since, Fraction(1))
            return


# --- steps, prices, items ---------------------------------------------------------------------------------------------


def _steps_of_time(periods: list[Period]) -> list[Period]:
    """Of TIME and PARKING_TIME the one priced last is rounded up, by the step of its last period."""
    if not periods:
        return []
    last = periods[-1].dimension
    rounded = iter(_steps([one for one in periods if one.dimension is last]))
    return [next(rounded) if one.dimension is last else one for one in periods]


def _steps(periods: list[Period]) -> list[Period]:
    """The sum in whole steps of the last period, which takes the surplus at its price and VAT."""
    if not periods:
        return []
    last = periods[-1]
    quantity = sum((one.quantity for one in periods), Fraction(0))
    surplus = -(-quantity // last.step) * last.step - quantity
    if not surplus:
        return periods
    return [*periods[:-1], _billing(last, last.quantity + surplus)]


def _period(
    component: Component,
    element: int,
    since: int,
    until: int,
    quantity: Fraction,
    registers: tuple[Fraction, Fraction] | None = None,
    interpolated: bool = False,
) -> Period:
    return Period(
        component.dimension,
        element,
        _EPOCH + dt.timedelta(seconds=since),
        _EPOCH + dt.timedelta(seconds=until),
        quantity,
        quantity,
        component.price,
        component.step,
        component.vat_class,
        price_fraction(component) * quantity,
        registers,
        interpolated,
    )


def _billing(period: Period, billed: Fraction) -> Period:
    return replace(period, billed=billed, exact=period.exact * billed / period.quantity)


def _items(periods: Sequence[Period], currency: str, vat_rates: Mapping[str, Decimal]) -> tuple[Item, ...]:
    grouped: dict[tuple[Dimension, str], list[Period]] = {}
    for period in periods:
        grouped.setdefault((period.dimension, period.vat_class), []).append(period)
    items = []
    for (dimension, vat_class), group in grouped.items():
        if vat_class not in vat_rates:
            raise RatingError("vat", f"no rate for the VAT class {vat_class}", vat_class=vat_class)
        exact = sum((one.exact for one in group), Fraction(0))
        quantity = sum((one.quantity for one in group), Fraction(0))
        billed = sum((one.billed for one in group), Fraction(0))
        amount = money.rounded(exact, currency)
        items.append(Item(dimension, vat_class, vat_rates[vat_class], quantity, billed, exact, amount))
    return tuple(items)


# --- the meter --------------------------------------------------------------------------------------------------------


def _points(usage: Usage) -> list[parking.Point]:
    """The registers in order of time. One that does not fit between its neighbours and the session's own is drawn to
    them: the sum is always stop minus start."""
    first, last = _micros(usage.started_at), _micros(usage.ended_at)
    low, high = Fraction(usage.meter_start), Fraction(usage.meter_stop)
    inside = sorted((at, wh) for at, wh in ((_micros(at), wh) for at, wh in usage.readings) if first < at < last)
    points: list[parking.Point] = [(first, low)]
    for at, wh in inside:
        low = max(low, min(Fraction(wh), high))
        points.append((at, low))
    points.append((last, high))
    return points


def _micros(at: dt.datetime) -> int:
    since = at - _EPOCH
    return (since.days * DAY_S + since.seconds) * 1_000_000 + since.microseconds


def _second(at: dt.datetime) -> int:
    return _micros(at) // 1_000_000
