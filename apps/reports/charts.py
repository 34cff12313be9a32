"""Consumption as bars, a month by day, as an SVG for pages and documents. Pure.

Colours are presentation attributes, so that it prints; pages override them by class in the dark. No style element:
the portal's content security policy forbids it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import count

from django.utils.formats import date_format, number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

WIDTH, HEIGHT = 960, 280
LEFT, RIGHT, TOP, BOTTOM = 100, 12, 40, 28  # at the left "10,000 kWh" in a phone's letters
LINES = 4
# Of the day's width, the part that its bar takes.
BAR = 0.66
_NICE = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class Bar:
    """A day's energy in Wh, in two parts: the second stands on the first. After a correction either may be negative."""

    day: dt.date
    first: int
    second: int = 0

    @property
    def whole(self) -> int:
        """What the two come to, which is how high the bar is."""
        return max(self.first + self.second, 0)

    @property
    def foot(self) -> int:
        """How much of that is the first part's: less than it says where the second takes some of it back."""
        return min(max(self.first, 0), self.whole)


def consumption_bars(bars: Sequence[Bar], *, title: str, names: tuple[str, str]) -> SafeString:
    """kWh by day, with a legend of the two `names`; empty where no day has any energy."""
    most = max(bars, key=lambda bar: bar.whole, default=None)
    if most is None or not most.whole:
        return SafeString("")
    step = _step(most.whole)
    top = step * LINES
    return format_html(
        '<svg class="bars" role="img" aria-labelledby="bars-title bars-desc" viewBox="0 0 {w} {h}" '
        'font-family="Inter, sans-serif" font-size="11">'
        '<title id="bars-title">{title}</title><desc id="bars-desc">{desc}</desc>{grid}{days}{bars}{legend}</svg>',
        w=WIDTH,
        h=HEIGHT,
        title=title,
        desc=_("Energy by day. The most was %(kwh)s kWh on %(day)s.")
        % {"kwh": _kwh(most.whole), "day": date_format(most.day)},
        grid=_grid(step, top),
        days=_days(bars),
        bars=_rectangles(bars, top),
        legend=_legend(names),
    )


def _step(most: int) -> int:
    """The distance of the scale's lines in Wh: 1, 2 or 5 and zeros, so that all of it lies below the last one."""
    for power in count():
        for nice in _NICE:
            if nice * 10**power * LINES >= most:
                return max(nice * 10**power, 1)
    raise AssertionError("count() ends")


def _height(energy: int, top: int) -> float:
    return (HEIGHT - TOP - BOTTOM) * energy / top


def _grid(step: int, top: int) -> SafeString:
    def y(energy: int) -> float:
        return round(HEIGHT - BOTTOM - _height(energy, top), 1)

    return format_html_join(
        "",
        '<line class="curve-grid" x1="{}" x2="{}" y1="{}" y2="{}" stroke="#d4d4d8"/>'
        '<text class="curve-text" x="{}" y="{}" fill="#52525b" text-anchor="end">{}</text>',
        (
            (LEFT, WIDTH - RIGHT, y(energy), y(energy), LEFT - 8, y(energy) + 4, _scale(energy, of=top))
            for energy in range(0, top + 1, step)
        ),
    )


def _days(bars: Sequence[Bar]) -> SafeString:
    return format_html_join(
        "",
        '<text class="curve-text" x="{}" y="{}" fill="#52525b" text-anchor="middle">{}</text>',
        ((round(left + width / 2, 1), HEIGHT - 8, bar.day.day) for bar, left, width in _placed(bars)),
    )


def _rectangles(bars: Sequence[Bar], top: int) -> SafeString:
    drawn = []
    for bar, left, width in _placed(bars):
        foot = float(HEIGHT - BOTTOM)
        for name, energy in (("first", bar.foot), ("second", bar.whole - bar.foot)):
            if energy > 0:
                height = _height(energy, top)
                foot -= height
                drawn.append((name, *_LOOKS[name], round(left, 1), round(foot, 1), round(width, 1), round(height, 1)))
    return format_html_join("", _RECTANGLE, drawn)


# The second part is hollow, so that paper without colours tells both apart.
_LOOKS = {"first": ("#1d4ed8", "#1d4ed8"), "second": ("#ffffff", "#1d4ed8")}
_RECTANGLE = '<rect class="bar-{}" fill="{}" stroke="{}" x="{}" y="{}" width="{}" height="{}"/>'


def _placed(bars: Sequence[Bar]) -> Iterator[tuple[Bar, float, float]]:
    """Each bar with its left edge and its width."""
    slot = (WIDTH - LEFT - RIGHT) / len(bars)
    for number, bar in enumerate(bars):
        yield bar, LEFT + slot * (number + (1 - BAR) / 2), slot * BAR


def _legend(names: tuple[str, str]) -> SafeString:
    places = (LEFT, LEFT + 200)
    return format_html_join(
        "",
        _RECTANGLE + '<text class="curve-text" x="{}" y="22" fill="#52525b">{}</text>',
        (
            (look, *_LOOKS[look], x, 12, 11, 11, x + 18, name)
            for look, x, name in zip(_LOOKS, places, names, strict=True)
        ),
    )


def _scale(energy: int, *, of: int) -> str:
    """A figure of the scale; the highest one has the unit."""
    return f"{_kwh(energy)} kWh" if energy == of else _kwh(energy)


def _kwh(energy: int) -> str:
    return str(number_format(f"{(Decimal(energy) / 1000).normalize():f}", use_l10n=True, force_grouping=True))
