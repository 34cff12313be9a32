"""Sessions of chargers whose clock is off, or that have none (gateway contract, Keys)."""

from __future__ import annotations

import datetime as dt

import pytest

from apps.charging.facts import EARLIEST
from tests.charging.world import START, World

HOUR = dt.timedelta(hours=1)
MINUTE = dt.timedelta(minutes=1)
CLOCKLESS = "1970-01-01T00:00:00Z"


@pytest.mark.parametrize("offset", [301.0, -301.0])
def test_a_known_offset_beyond_five_minutes_at_the_start_is_reviewed_and_corrects_nothing(offset: float):
    world = World(clock_offset_s=offset)
    sent = START + dt.timedelta(seconds=offset)
    transaction = world.start(at=sent)
    assert world.session(transaction).started_at == sent
    assert world.session(transaction).start_offset_s == offset
    assert world.codes(blocking=True) == ["clock_offset"]


def test_a_known_offset_at_the_stop_alone_is_reviewed(world: World):
    transaction = world.start()
    world.wait(hours=1)
    world.facts.stations[1].clock_offset_s = -3600.0
    world.stop(transaction, at=world.now - HOUR + MINUTE, meter=1200)
    (doubt,) = world.doubts.values()
    assert (doubt.code, doubt.blocking, doubt.evidence["at"]) == ("clock_offset", True, "stop")


@pytest.mark.parametrize("offset", [None, 0.0, 300.0, -300.0])
def test_an_unknown_offset_or_one_within_five_minutes_is_no_doubt(offset: float | None):
    world = World(clock_offset_s=offset)
    world.start()
    assert world.codes() == []


@pytest.mark.parametrize("sent", ["yesterday", "1970-01-01T00:00:00Z", "2099-01-01T00:00:00Z", ""])
def test_a_time_that_cannot_be_becomes_the_time_of_receipt_and_is_reviewed(world: World, sent: str):
    transaction = world.start(at=sent)
    session = world.session(transaction)
    assert (session.started_at, session.started_sent) == (START, sent)
    assert world.codes(blocking=True) == ["bad_time"]


def test_a_reading_with_a_time_that_cannot_be_is_flagged_and_stored_once(world: World):
    transaction = world.start()
    world.wait(minutes=10)
    world.measure(2000, transaction=transaction, at="nonsense")
    world.wait(minutes=1)
    world.measure(2000, transaction=transaction, at="nonsense")
    (reading,) = world.readings.values()
    assert (reading.at, reading.notes) == (START + 10 * MINUTE, "bad_time")


def test_a_stop_before_its_start_is_reviewed(world: World):
    transaction = world.start()
    world.wait(hours=1)
    world.stop(transaction, at=START - MINUTE, meter=1200)
    assert world.codes(blocking=True) == ["bad_time"]


def test_keys_a_clockless_start_repeated_before_its_stop_is_the_same_session(world: World):
    first = world.start(at=CLOCKLESS, meter=0)
    world.wait(minutes=1)
    assert world.start(at=CLOCKLESS, meter=0) == first


def test_keys_a_clockless_start_after_the_stop_is_a_new_session(world: World):
    first = world.start(at=CLOCKLESS, meter=0)
    world.wait(hours=1)
    world.stop(first, at="1970-01-01T01:00:00Z", meter=900)
    second = world.start(at=CLOCKLESS, meter=0)
    assert second != first
    world.wait(minutes=1)
    assert world.start(at=CLOCKLESS, meter=0) == second
    assert "maybe_same_start" not in world.codes()


def test_keys_a_clockless_start_after_a_boot_without_a_stop_may_be_the_same_start(world: World):
    first = world.start(at=CLOCKLESS, meter=0)
    world.wait(minutes=5)
    world.boot()
    world.wait(minutes=1)
    second = world.start(at=CLOCKLESS, meter=0)
    assert second != first
    assert "maybe_same_start" in world.codes(blocking=True)
    world.wait(minutes=1)
    assert world.start(at=CLOCKLESS, meter=0) == second
    keys = {session.start_key for session in world.sessions}
    assert len(keys) == 2
    assert all(len(key) <= 64 for key in keys)


def test_keys_a_boot_does_not_split_a_start_of_a_charger_that_has_a_clock(world: World):
    first = world.start(at=EARLIEST)
    world.wait(minutes=5)
    world.boot()
    assert world.start(at=EARLIEST) == first
