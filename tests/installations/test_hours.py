"""Opening hours: lines to OCPI and back."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.installations.hours import from_text, to_text

BERLIN = ZoneInfo("Europe/Berlin")


def test_lines_become_what_ocpi_keeps():
    text = (
        "Mon-Tue 08:00-18:00\nsat 09:00 – 12:00, 13:00-17:00\n2026-12-24 08:00-12:00\n2026-12-25 to 2026-12-26 closed"
    )
    hours = from_text(text, BERLIN)
    assert hours == {
        "regular_hours": [
            {"weekday": 1, "period_begin": "08:00", "period_end": "18:00"},
            {"weekday": 2, "period_begin": "08:00", "period_end": "18:00"},
            {"weekday": 6, "period_begin": "09:00", "period_end": "12:00"},
            {"weekday": 6, "period_begin": "13:00", "period_end": "17:00"},
        ],
        "exceptional_openings": [{"period_begin": "2026-12-24T07:00:00Z", "period_end": "2026-12-24T11:00:00Z"}],
        "exceptional_closings": [{"period_begin": "2026-12-24T23:00:00Z", "period_end": "2026-12-26T23:00:00Z"}],
    }
    assert to_text(hours, BERLIN).splitlines() == [
        "Mon-Tue 08:00-18:00",
        "Sat 09:00-12:00, 13:00-17:00",
        "2026-12-24 08:00-12:00",
        "2026-12-25 to 2026-12-26 closed",
    ]


def test_round_the_clock_may_have_days_of_its_own():
    hours = from_text("24/7\n2026-03-29 closed", BERLIN)
    assert hours["twentyfourseven"] is True
    assert hours["exceptional_closings"] == [
        {"period_begin": "2026-03-28T23:00:00Z", "period_end": "2026-03-29T22:00:00Z"}
    ]
    assert to_text(hours, BERLIN) == "24/7\n2026-03-29 closed"
    assert from_text("", BERLIN) == {}
    assert to_text({}, BERLIN) == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("always", "“always” is not understood"),
        ("{}", "not understood"),
        ("24/7\nMon 08:00-09:00", "cannot be open 24/7"),
        ("Fri-Mon 08:00-18:00", "the week begins on Monday"),
        ("Mon 18:00-08:00", "from earlier to later"),
        ("Mon 08:00-25:00", "from earlier to later"),
        ("Mon 08:00-12:00, 11:00-13:00", "Hours of Mon overlap."),
        ("Mon 08:00-12:00\nMon-Fri 08:00-12:00", "Hours of Mon overlap."),
        ("2026-02-30 closed", "there is no such day"),
        ("2026-12-26 to 2026-12-25 closed", "ends before it begins"),
        ("9999-12-31 closed", "there is no such day"),
    ],
)
def test_what_is_wrong_is_said(text, words):
    with pytest.raises(ValueError, match=words):
        from_text(text, BERLIN)


MINUTES = st.integers(0, 24 * 60 - 1)
MOMENTS = st.datetimes(dt.datetime(2020, 1, 1), dt.datetime(2040, 1, 1)).map(
    lambda at: at.replace(second=0, microsecond=0)
)


@st.composite
def hours(draw: st.DrawFn) -> dict[str, object]:
    regular = []
    for day in range(1, 8):
        times = sorted(draw(st.sets(MINUTES, max_size=6)))
        for begin, end in zip(times[::2], times[1::2], strict=False):
            texts = [f"{minute // 60:02}:{minute % 60:02}" for minute in (begin, end)]
            regular.append({"weekday": day, "period_begin": texts[0], "period_end": texts[1]})
    found: dict[str, object] = {"regular_hours": regular} if regular else {}
    for name in ("exceptional_openings", "exceptional_closings"):
        spans = draw(st.lists(st.tuples(MOMENTS, MOMENTS).filter(lambda span: span[0] < span[1]), max_size=3))
        if spans:
            found[name] = [
                dict(zip(("period_begin", "period_end"), (f"{at.isoformat()}Z" for at in span), strict=True))
                for span in spans
            ]
    return found


@given(hours())
def test_lines_give_the_same_hours_again(known):
    zone = ZoneInfo("UTC")
    assert from_text(to_text(known, zone), zone) == known
