"""Opening hours as lines that people write, and as OCPI keeps them (OCPI 2.2.1, 8.4.14 to 8.4.16). Pure.

    24/7
    Mon-Fri 08:00-18:00
    Sat 09:00-12:00, 13:00-17:00
    2026-12-24 08:00-12:00
    2026-12-25 to 2026-12-26 closed
    2026-12-31 22:00 to 2027-01-01 04:00 open

Weekly hours are local in OCPI too; days of their own are local here and UTC there.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from itertools import groupby, pairwise
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _

from apps.core.models import is_in_calendar

ALWAYS = "24/7"
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
ONE_DAY = dt.timedelta(days=1)

Hours = dict[str, Any]
Period = tuple[str, str]

_TIME = r"((?:[01]\d|2[0-3]):[0-5]\d)"
_DATE = r"(\d{4}-\d{2}-\d{2})"
_DAY = f"({'|'.join(DAYS)})"
_WEEKLY = re.compile(rf"{_DAY}(?:\s*[-–]\s*{_DAY})?\s+(.+)", re.IGNORECASE)
_PERIOD = re.compile(rf"{_TIME}\s*[-–]\s*{_TIME}")
_ONE_DAY = re.compile(rf"{_DATE}\s+{_TIME}\s*[-–]\s*{_TIME}")
_SPAN = re.compile(rf"{_DATE}(?:\s+{_TIME})?(?:\s+to\s+{_DATE}(?:\s+{_TIME})?)?\s+(open|closed)", re.IGNORECASE)


def from_text(text: str, zone: ZoneInfo) -> Hours:
    """OCPI Hours of lines; an empty dict of none. Raises ValueError with words for whoever wrote them."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    regular: list[tuple[int, Period]] = []
    openings: list[Hours] = []
    closings: list[Hours] = []
    for line in lines:
        if line == ALWAYS:
            continue
        if found := _WEEKLY.fullmatch(line):
            periods = _periods(found[3], line)
            regular += [(day, period) for day in _days(found[1], found[2] or found[1], line) for period in periods]
        elif found := _ONE_DAY.fullmatch(line):
            openings.append(_span(line, zone, found[1], found[2], found[1], found[3]))
        elif found := _SPAN.fullmatch(line):
            where = openings if found[5].lower() == "open" else closings
            where.append(_span(line, zone, found[1], found[2], found[3] or found[1], found[4]))
        else:
            raise ValueError(_("“%(line)s” is not understood. Write lines like the examples.") % {"line": line[:80]})
    if regular and ALWAYS in lines:
        raise ValueError(_("It cannot be open 24/7 and have weekly hours too."))
    hours: Hours = {"twentyfourseven": True} if ALWAYS in lines else {}
    if regular:
        hours["regular_hours"] = _regular(regular)
    if openings:
        hours["exceptional_openings"] = openings
    if closings:
        hours["exceptional_closings"] = closings
    return hours


def to_text(hours: Hours, zone: ZoneInfo) -> str:
    """The lines of OCPI Hours; `from_text` gives the same hours again."""
    lines = [ALWAYS] if hours.get("twentyfourseven") else []
    by_day: dict[int, list[str]] = {}
    for one in hours.get("regular_hours", ()):
        by_day.setdefault(one["weekday"], []).append(f"{one['period_begin']}-{one['period_end']}")
    # Days in a row with the same hours share a line.
    for (periods, _first), group in groupby(
        enumerate(sorted(by_day)), key=lambda item: (by_day[item[1]], item[1] - item[0])
    ):
        days = [DAYS[day - 1] for _number, day in group]
        lines.append(f"{'-'.join(dict.fromkeys((days[0], days[-1])))} {', '.join(periods)}")
    for name, word in (("exceptional_openings", "open"), ("exceptional_closings", "closed")):
        lines += [_span_text(one, zone, word) for one in hours.get(name, ())]
    return "\n".join(lines)


def _days(first: str, last: str, line: str) -> Iterable[int]:
    begin, end = (DAYS.index(name.capitalize()) + 1 for name in (first, last))
    if end < begin:
        raise ValueError(_("“%(line)s”: the week begins on Monday. Write two lines.") % {"line": line[:80]})
    return range(begin, end + 1)


def _periods(text: str, line: str) -> list[Period]:
    periods = []
    for part in text.split(","):
        found = _PERIOD.fullmatch(part.strip())
        if found is None or found[1] >= found[2]:
            raise ValueError(
                _("“%(line)s”: hours go from earlier to later on one day, such as 08:00-18:00.") % {"line": line[:80]}
            )
        periods.append((found[1], found[2]))
    return periods


def _regular(periods: list[tuple[int, Period]]) -> list[Hours]:
    periods = sorted(periods)
    for (day, before), (other, after) in pairwise(periods):
        if day == other and after[0] < before[1]:
            raise ValueError(_("Hours of %(day)s overlap.") % {"day": DAYS[day - 1]})
    return [{"weekday": day, "period_begin": begin, "period_end": end} for day, (begin, end) in periods]


def _span(line: str, zone: ZoneInfo, day: str, at: str | None, last_day: str, until: str | None) -> Hours:
    try:
        begin = dt.datetime.fromisoformat(f"{day} {at or '00:00'}").replace(tzinfo=zone)
        end = dt.datetime.fromisoformat(f"{last_day} {until or '00:00'}").replace(tzinfo=zone)
        if until is None:
            end += ONE_DAY  # to the end of that day, by the clock on the wall
        if not (is_in_calendar(begin) and is_in_calendar(end)):
            raise ValueError(line)
    except (ValueError, OverflowError):
        raise ValueError(_("“%(line)s”: there is no such day.") % {"line": line[:80]}) from None
    moments = [moment.astimezone(dt.UTC) for moment in (begin, end)]
    if moments[0] >= moments[1]:
        raise ValueError(_("“%(line)s” ends before it begins.") % {"line": line[:80]})
    return dict(zip(("period_begin", "period_end"), map(_utc_text, moments), strict=True))


def _utc_text(moment: dt.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _span_text(one: Hours, zone: ZoneInfo, word: str) -> str:
    begin, end = (dt.datetime.fromisoformat(one[name]).astimezone(zone) for name in ("period_begin", "period_end"))
    if begin.time() == end.time() == dt.time():
        last = (end - ONE_DAY).date()
        return f"{' to '.join(dict.fromkeys((str(begin.date()), str(last))))} {word}"
    if word == "open" and begin.date() == end.date():
        return f"{begin.date()} {begin:%H:%M}-{end:%H:%M}"
    return f"{begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} {word}"
