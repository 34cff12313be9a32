"""When a connected car only stands there: from its being full until it charges again. Pure.

PARKING_TIME runs from SuspendedEV until the next Charging status, the next increase of the register, or the Stop.
Where the charger reported no status of charging at all, it runs from the first of the readings that show no increase,
once five minutes have passed without one. SuspendedEVSE is charging time: the car would have gone on.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise

QUIET_S = 300
_TELLING = frozenset({"Charging", "SuspendedEV", "SuspendedEVSE"})

Point = tuple[int, Fraction]  # µs since 1970, Wh
Span = tuple[int, int]  # whole seconds since 1970


def spans(
    start: int, end: int, points: Sequence[Point], statuses: Sequence[tuple[dt.datetime, str]]
) -> tuple[Span, ...]:
    """The parking times between `start` and `end`, seconds since 1970. `points` are the meter's, in order of time and
    not falling; `statuses` those of the connector, the last one before the start included."""
    told = sorted((int(at.timestamp()), status) for at, status in statuses if status in _TELLING)
    told = [one for one in told if one[0] <= end]
    found = _by_status(end, points, told) if told else _by_register(points)
    clipped = ((max(since, start), min(until, end)) for since, until in found)
    return tuple(one for one in clipped if one[0] < one[1])


def _by_status(end: int, points: Sequence[Point], told: Sequence[tuple[int, str]]) -> Iterator[Span]:
    for (since, status), (until, _next) in pairwise([*told, (end, "")]):
        if status == "SuspendedEV":
            yield since, _first_increase(points, since, until)


def _first_increase(points: Sequence[Point], since: int, until: int) -> int:
    """Where the register begins to rise inside; energy of an interval that began before counts as older."""
    for (at, wh), (_later, more) in pairwise(points):
        if at >= since * 1_000_000 and more > wh:
            return min(at // 1_000_000, until)
    return until


def _by_register(points: Sequence[Point]) -> Iterator[Span]:
    first: int | None = None  # the first reading that shows no increase
    for (at, wh), (later, more) in pairwise(points):
        if more > wh:
            yield from _quiet(first, at)
            first = None
        elif first is None:
            first = later
    yield from _quiet(first, points[-1][0])


def _quiet(first: int | None, last: int) -> Iterator[Span]:
    if first is not None and last - first >= QUIET_S * 1_000_000:
        yield first // 1_000_000, last // 1_000_000
