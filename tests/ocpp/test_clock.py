"""Times as chargers write them, and the offset of a charger's clock."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.ocpp.clock import ClockWatch, read_time

NOON = dt.datetime(2026, 11, 21, 12, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("text", "parsed", "repair"),
    [
        ("2026-11-21T12:00:00Z", NOON, ""),
        ("2026-11-21T13:00:00+01:00", NOON, ""),
        ("2026-11-21T12:00:00.123456789Z", NOON.replace(microsecond=123456), ""),
        ("2026-11-21T12:00:00", NOON, "time_without_zone"),
        ("2026-11-21 12:00:00", NOON, "time_without_zone"),
        ("2026-11-21T12:00:00z", NOON, "odd_time"),
        ("2026-11-21t12:00:00Z", NOON, ""),
        ("2026-11-21T13:00:00+0100", NOON, ""),
        ("2026-11-21T13:00:00+01", NOON, ""),
        ("2026-11-21 13:00:00 +01:00", NOON, ""),
        ("2026-11-21T11:59:60Z", NOON, "odd_time"),
        ("2026-11-20T24:00:00Z", NOON - dt.timedelta(hours=12), "odd_time"),
        ("2026-11-21T12:00:00,5Z", NOON.replace(microsecond=500_000), ""),
        ("20261121T120000Z", NOON, ""),
        (" 2026-11-21T12:00:00Z ", NOON, "odd_time"),
        ("2026-11-21T12:00Z", NOON, ""),
    ],
)
def test_times_are_read_as_chargers_write_them(text: str, parsed: dt.datetime, repair: str):
    moment, named = read_time(text)
    assert (moment.sent, moment.parsed, named) == (text, parsed, repair)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-11-21",
        "2026-13-01T00:00:00Z",
        "2026-11-21T25:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T24:00:00Z",
        "12:00:00",
        "1763726400",
        "2026-11-21T12:00:00+99:99",
        "٢٠٢٦-11-21T12:00:00Z",
    ],
)
def test_what_is_no_time_is_kept_as_sent(text: str):
    moment, named = read_time(text)
    assert (moment.sent, moment.parsed, named) == (text, None, "bad_time")


@given(st.text(max_size=40))
def test_no_text_breaks_the_reader(text: str):
    moment, _named = read_time(text)
    assert moment.sent == text


@given(st.datetimes(timezones=st.just(dt.UTC)))
def test_every_time_that_python_writes_is_read_back(moment: dt.datetime):
    assert read_time(moment.isoformat())[0].parsed == moment


def seen(*pairs: tuple[float, float]) -> float | None:
    """The offset after messages given as (second of receipt, seconds that the clock is ahead)."""
    watch = ClockWatch()
    for second, ahead in pairs:
        received = NOON + dt.timedelta(seconds=second)
        watch.observe(received + dt.timedelta(seconds=ahead), received)
    return watch.offset_s


def test_one_message_tells_no_offset():
    assert seen((0, -3600)) is None


def test_two_messages_five_seconds_apart_that_agree_within_two_seconds_tell_the_offset():
    assert seen((0, -3600), (5, -3602)) == -3602


@pytest.mark.parametrize("second", [(4.9, -3600.0), (60, -3597.9)])
def test_messages_too_close_or_that_disagree_tell_nothing(second: tuple[float, float]):
    assert seen((0, -3600), second) is None


def test_replayed_messages_tell_nothing():
    assert seen(*((step * 6, -7200 + step * 294) for step in range(10))) is None


def test_a_burst_of_replayed_messages_does_not_hide_the_clock():
    burst = [(step * 0.1, -7200 + step * 60) for step in range(40)]
    assert seen((-10, 400), *burst, (10, 401)) == 401


def test_the_latest_agreement_counts():
    assert seen((0, 900), (10, 900), (20, 0), (30, 0.5)) == 0.5
