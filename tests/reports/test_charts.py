"""The bars of a month: as high as what the day came to."""

from __future__ import annotations

import datetime as dt
import re

import pytest

from apps.reports.charts import BOTTOM, HEIGHT, TOP, Bar, consumption_bars

DAY = dt.date(2026, 10, 5)


@pytest.mark.parametrize(
    ("first", "second", "parts"),
    [
        (50_000, 0, {"first": 50_000}),
        (30_000, 20_000, {"first": 30_000, "second": 20_000}),
        (50_000, -2_000, {"first": 48_000}),  # billed, then corrected by what is not billed yet
        (-2_000, 50_000, {"second": 48_000}),
        (-5_000, 0, {}),
        (5_000, -5_000, {}),
    ],
)
def test_a_day_s_bar_is_as_high_as_the_day_s_energy(first, second, parts):
    top = Bar(dt.date(2026, 10, 6), 80_000)
    drawn = consumption_bars([Bar(DAY, first, second), top], title="t", names=("a", "b"))
    # The legend has two more, and the other day one.
    found = re.findall(r'class="bar-(\w+)" [^>]* height="([\d.]+)"', drawn)[:-3]
    heights = {name: round(float(height) * 80_000 / (HEIGHT - TOP - BOTTOM), -3) for name, height in found}
    assert heights == parts
