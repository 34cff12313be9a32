"""Curves: a session's power as an SVG, for pages and documents, and the points of a tile's small line. Pure.

Colours are presentation attributes, so that it prints; pages override them by class in the dark. No style element:
the portal's content security policy forbids it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from itertools import pairwise
from zoneinfo import ZoneInfo

from django.utils.formats import number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

WIDTH, HEIGHT = 960, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 12, 28
MAX_POINTS = 400
# A gap longer than this many times the usual distance of readings is shown as one.
GAP = 4
_STEPS_W = (500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000)

Point = tuple[dt.datetime, int]


def small_line(values: Sequence[int]) -> str:
    """Points of a line through equally distant values, 100 wide and 24 high; empty where there is nothing to see."""
    top = max(values, default=0)
    if len(values) < 3 or not top:
        return ""
    step = 100 / (len(values) - 1)
    return " ".join(f"{number * step:.1f},{23 - 22 * value / top:.1f}" for number, value in enumerate(values))


def power_curve(
    points: Sequence[Point],
    *,
    start: dt.datetime,
    end: dt.datetime,
    limit_w: int | None,
    zone: str,
) -> SafeString:
    """kW over time with the limit line; empty where fewer than two points are known. `points` are
    (at, W), oldest first."""
    known = [(at, watts) for at, watts in points if start <= at <= end]
    if len(known) < 2:
        return SafeString("")
    span = max((end - start).total_seconds(), 1.0)
    step = next((one for one in _STEPS_W if one * 5 >= max(watts for _at, watts in known)), 1_000_000)
    top = step * 5 if limit_w is None or limit_w > step * 5 else max(step * 5, limit_w)

    def x(at: dt.datetime) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (at - start).total_seconds() / span, 1)

    def y(watts: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(max(watts / top, 0), 1), 1)

    peak = max(known, key=lambda point: point[1])
    described = _("Power over time. The highest is %(kw)s kW.") % {"kw": number_format(f"{peak[1] / 1000:.2f}")}
    return format_html(
        '<svg class="power-curve" role="img" aria-labelledby="curve-title curve-desc" viewBox="0 0 {w} {h}" '
        'font-family="Inter, sans-serif" font-size="11">'
        '<title id="curve-title">{title}</title><desc id="curve-desc">{desc}</desc>{grid}{hours}{limit}{line}</svg>',
        w=WIDTH,
        h=HEIGHT,
        title=_("Power of this session"),
        desc=described,
        grid=format_html_join(
            "",
            '<line class="curve-grid" x1="{}" x2="{}" y1="{}" y2="{}" stroke="#d4d4d8"/>'
            '<text class="curve-text" x="{}" y="{}" fill="#52525b" text-anchor="end">{}</text>',
            (
                (LEFT, WIDTH - RIGHT, y(watts), y(watts), LEFT - 6, y(watts) + 4, _scale(watts, of=step * 5))
                for watts in range(0, step * 5 + 1, step)
            ),
        ),
        hours=format_html_join(
            "",
            '<text class="curve-text" x="{}" y="{}" fill="#52525b" text-anchor="{}">{}</text>',
            (
                (x(at), HEIGHT - 8, anchor, at.astimezone(ZoneInfo(zone)).strftime("%H:%M"))
                for at, anchor in (
                    (start, "start"),
                    (start + (end - start) / 2, "middle"),
                    (end, "end"),
                )
            ),
        ),
        limit=_limit(limit_w, top, y) if limit_w is not None else "",
        line=_lines(known, x, y),
    )


def _limit(limit_w: int, top: int, y: Callable[[float], float]) -> SafeString:
    if limit_w > top:
        return SafeString("")
    return format_html(
        '<line class="curve-limit" x1="{}" x2="{}" y1="{}" y2="{}" stroke="#b91c1c" stroke-dasharray="4 3"/>'
        '<text class="curve-limit-text" x="{}" y="{}" fill="#b91c1c" text-anchor="end">{}</text>',
        LEFT,
        WIDTH - RIGHT,
        y(limit_w),
        y(limit_w),
        WIDTH - RIGHT - 4,
        y(limit_w) + 13,
        _("limit %(kw)s kW") % {"kw": _kw(limit_w)},
    )


def _lines(known: Sequence[Point], x: Callable[[dt.datetime], float], y: Callable[[float], float]) -> SafeString:
    """The curve in pieces: where readings are missing, nothing is drawn."""
    points = known[:: max(len(known) // MAX_POINTS, 1)]
    distances = sorted((later[0] - earlier[0]).total_seconds() for earlier, later in pairwise(points))
    longest = GAP * max(distances[len(distances) // 2], 1.0)
    pieces: list[list[Point]] = [[points[0]]]
    for earlier, later in pairwise(points):
        if (later[0] - earlier[0]).total_seconds() > longest:
            pieces.append([])
        pieces[-1].append(later)
    return format_html_join(
        "",
        '<polyline class="curve-line" points="{}" fill="none" stroke="#1d4ed8" stroke-width="2" '
        'stroke-linejoin="round" stroke-linecap="round"/>',
        ((" ".join(f"{x(at)},{y(watts)}" for at, watts in piece),) for piece in pieces),
    )


def _scale(watts: int, *, of: int) -> str:
    """A figure of the scale; the highest one has the unit."""
    return f"{_kw(watts)} kW" if watts == of else _kw(watts)


def _kw(watts: int) -> str:
    return str(number_format(f"{watts / 1000:g}"))
