"""A tariff as a week's picture: what an hour costs at each time of the week. Pure.

Colours are presentation attributes, so that it prints; pages override them by class in the dark.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from django.utils.dates import WEEKDAYS_ABBR
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from apps.tariffs.elements import DAY_S, Dimension, Element
from apps.tariffs.rating import Terms
from apps.tariffs.words import bare_price, clock_words, days_words, duration_words, price_words, title_of

LEFT, TOP, HOUR, ROW, GAP = 44, 22, 32, 30, 4
WIDTH, HEIGHT = LEFT + 24 * HOUR + 2, TOP + 7 * (ROW + GAP)
LIGHTEST, DARKEST = 0.1, 0.45  # beyond, text on it cannot be read in the dark


@dataclass(frozen=True, slots=True)
class Run:
    """Seconds of a day at one price; None is no price."""

    since: int
    until: int
    price: Decimal | None


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table beside the picture: which days, from when to when, at which price."""

    days: str
    times: tuple[str, ...]
    price: str


@dataclass(frozen=True, slots=True)
class Week:
    """The prices of one dimension, of sessions that have lasted `after_s` already."""

    dimension: Dimension
    currency: str
    monday: dt.date
    dated: bool
    after_s: int
    days: tuple[tuple[Run, ...], ...]

    @property
    def name(self) -> str:
        return f"week-{self.dimension.lower()}-{self.after_s}"

    @property
    def title(self) -> str:
        title = title_of(self.dimension)
        if self.after_s:
            title = _("%(what)s, after %(time)s") % {"what": title, "time": duration_words(self.after_s)}
        if self.dated:
            title = _("%(what)s, week of %(day)s") % {"what": title, "day": date_format(self.monday)}
        return title

    @property
    def uniform(self) -> bool:
        return {run.price for day in self.days for run in day} == {self.days[0][0].price}

    @property
    def rows(self) -> list[Row]:
        """The same in words: days that are alike are one group."""
        alike: dict[tuple[Run, ...], list[int]] = {}
        for number, runs in enumerate(self.days):
            alike.setdefault(runs, []).append(number)
        return [
            Row(days_words(days), tuple(times), self.words(price))
            for runs, days in alike.items()
            for price, times in _by_price(runs).items()
        ]

    def words(self, price: Decimal | None) -> str:
        return _("no price") if price is None else price_words(price, self.dimension, self.currency)

    @property
    def svg(self) -> SafeString:
        return _drawn(self)


def weeks_of(terms: Terms, day: dt.date) -> list[Week]:
    """Pictures of what depends on the clock, and of energy always. `day` chooses the week, for prices with dates."""
    monday = day - dt.timedelta(days=day.weekday())
    return [week for dimension in Dimension for week in _weeks(terms, dimension, monday)]


def _weeks(terms: Terms, dimension: Dimension, monday: dt.date) -> Iterator[Week]:
    elements = [one for one in terms.elements if one.component(dimension)]
    by_clock = any(one.restrictions.by_clock for one in elements)
    if not elements or not (by_clock or dimension is Dimension.ENERGY):
        return
    dated = any(one.restrictions.start_date or one.restrictions.end_date for one in elements)
    before = None
    for after in sorted(_durations(elements, dimension)):
        days = tuple(_day(elements, dimension, monday + dt.timedelta(days=number), after) for number in range(7))
        if days != before and any(run.price is not None for runs in days for run in runs):
            yield Week(dimension, terms.currency, monday, dated, after, days)
        before = days


def _durations(elements: Iterable[Element], dimension: Dimension) -> set[int]:
    if dimension is Dimension.FLAT:  # charged at the start
        return {0}
    found = {0}
    for element in elements:
        found.update(filter(None, (element.restrictions.min_duration, element.restrictions.max_duration)))
    return found


def _day(elements: Sequence[Element], dimension: Dimension, day: dt.date, after: int) -> tuple[Run, ...]:
    cuts = {0, DAY_S}
    for element in elements:
        cuts.update(filter(None, (element.restrictions.start_s, element.restrictions.end_s)))
    edges, runs = sorted(cuts), list[Run]()
    for since, until in pairwise(edges):
        price = _price(elements, dimension, day, since, after)
        if runs and runs[-1].price == price:
            since = runs.pop().since
        runs.append(Run(since, until, price))
    return tuple(runs)


def _price(elements: Sequence[Element], dimension: Dimension, day: dt.date, second: int, after: int) -> Decimal | None:
    for element in elements:
        one = element.restrictions
        lasts = (one.min_duration or 0) <= after and (one.max_duration is None or after < one.max_duration)
        component = element.component(dimension)
        if lasts and component is not None and one.hold_on_clock(day, second):
            return component.price
    return None


def _by_price(runs: Iterable[Run]) -> dict[Decimal | None, list[str]]:
    times: dict[Decimal | None, list[str]] = {}
    for run in runs:
        times.setdefault(run.price, []).append(f"{clock_words(run.since)}–{clock_words(run.until)}")
    return times


# --- the picture ------------------------------------------------------------------------------------------------------


def _drawn(week: Week) -> SafeString:
    return format_html(
        '<svg class="week" role="img" aria-labelledby="{name}-title {name}-desc" viewBox="0 0 {w} {h}" '
        'font-family="Inter, sans-serif" font-size="12"><title id="{name}-title">{title}</title>'
        '<desc id="{name}-desc">{desc}</desc>{hours}{days}{cells}{grid}</svg>',
        name=week.name,
        w=WIDTH,
        h=HEIGHT,
        title=week.title,
        desc="; ".join(f"{row.days} {', '.join(row.times)} {row.price}" for row in week.rows),
        hours=format_html_join(
            "",
            '<text class="week-scale" x="{}" y="14" fill="#52525b" text-anchor="{}">{}</text>',
            ((LEFT + hour * HOUR, "end" if hour == 24 else "middle", f"{hour:02}") for hour in range(0, 25, 3)),
        ),
        days=format_html_join(
            "",
            '<text class="week-scale" x="0" y="{}" fill="#52525b">{}</text>',
            ((_y(number) + ROW / 2 + 4, WEEKDAYS_ABBR[number]) for number in range(7)),
        ),
        cells=format_html_join("", "{}", ((cell,) for cell in _cells(week))),
        grid=_grid(),
    )


def _grid() -> SafeString:
    return format_html_join(
        "",
        '<line class="week-grid" x1="{}" x2="{}" y1="{}" y2="{}" stroke="#52525b" stroke-opacity="0.15"/>',
        (
            (LEFT + hour * HOUR, LEFT + hour * HOUR, _y(number), _y(number) + ROW)
            for number in range(7)
            for hour in range(1, 24)
        ),
    )


def _cells(week: Week) -> Iterator[SafeString]:
    shades = _shades(week)
    for number, runs in enumerate(week.days):
        for run in runs:
            yield _cell(week, number, run, shades)


def _cell(week: Week, number: int, run: Run, shades: dict[Decimal, float]) -> SafeString:
    x, width = LEFT + run.since * HOUR / 3600, (run.until - run.since) * HOUR / 3600
    words = f"{WEEKDAYS_ABBR[number]} {clock_words(run.since)}–{clock_words(run.until)}: {week.words(run.price)}"
    shape = format_html(
        '<rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="3" {}><title>{}</title></rect>',
        "week-none" if run.price is None else "week-price",
        round(x + 1, 1),
        _y(number),
        round(max(width - 2, 1), 1),
        ROW,
        _fill(None if run.price is None else shades[run.price]),
        words,
    )
    label = _label(week, run)
    if width < 8 * len(label):
        return shape
    return format_html(
        '{}<text class="week-text" x="{}" y="{}" fill="#14181d" text-anchor="middle">{}</text>',
        shape,
        round(x + width / 2, 1),
        _y(number) + ROW / 2 + 4,
        label,
    )


def _label(week: Week, run: Run) -> str:
    if run.price is None:
        return "–"
    return bare_price(run.price, week.currency) if run.price else _("free")


def _fill(shade: float | None) -> SafeString:
    if shade is None:
        return SafeString('fill="none" stroke="#7f8894" stroke-dasharray="4 3"')
    return format_html('fill="#1d4ed8" fill-opacity="{}"', round(shade, 2))


def _shades(week: Week) -> dict[Decimal, float]:
    """The dearer, the darker."""
    prices = sorted({run.price for runs in week.days for run in runs if run.price is not None})
    step = (DARKEST - LIGHTEST) / max(len(prices) - 1, 1)
    return {price: LIGHTEST + step * number for number, price in enumerate(prices)}


def _y(number: int) -> int:
    return TOP + number * (ROW + GAP)
