"""Whatever a charger sends, twice or in another order, nothing is counted twice and no energy is made up."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.charging.world import CARD, START, World, energy_wh, iso

Step = Callable[[World], Any]
CARDS = (CARD, "11223344", "FFFFFFFF")
TIMES = st.one_of(
    st.integers(-120, 120).map(lambda minutes: iso(START + dt.timedelta(minutes=minutes))),
    st.sampled_from(["1970-01-01T00:00:00Z", "rubbish", "2099-01-01T00:00:00Z"]),
)
METERS = st.one_of(st.integers(0, 30_000), st.sampled_from([0, -5, 10**9]))
TRANSACTIONS = st.one_of(st.integers(1, 4), st.sampled_from([0, -1, 4711, 2**31 - 1]))
CONNECTORS = st.integers(0, 3)


def element(sent: str, register: int) -> dict[str, Any]:
    return {"timestamp": sent, "sampledValue": [{"value": str(register), "unit": "Wh"}]}


starts = st.tuples(
    st.just("StartTransaction"),
    st.fixed_dictionaries(
        {"connectorId": CONNECTORS, "idTag": st.sampled_from(CARDS), "timestamp": TIMES, "meterStart": METERS}
    ),
)
stops = st.tuples(
    st.just("StopTransaction"),
    st.fixed_dictionaries(
        {"transactionId": TRANSACTIONS, "timestamp": TIMES, "meterStop": METERS},
        optional={
            "idTag": st.sampled_from(CARDS),
            "transactionData": st.lists(st.builds(element, TIMES, METERS), max_size=3),
        },
    ),
)
measurements = st.tuples(
    st.just("MeterValues"),
    st.fixed_dictionaries(
        {"connectorId": CONNECTORS, "meterValue": st.lists(st.builds(element, TIMES, METERS), min_size=1, max_size=3)},
        optional={"transactionId": TRANSACTIONS},
    ),
)
boots = st.just(("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"}))
authorisations = st.tuples(st.just("Authorize"), st.fixed_dictionaries({"idTag": st.sampled_from(CARDS)}))
facts = st.lists(st.tuples(st.sampled_from([1, 2]), st.one_of(starts, stops, measurements)), max_size=12)
anything = st.lists(
    st.tuples(st.sampled_from([1, 2]), st.one_of(starts, stops, measurements, boots, authorisations)), max_size=15
)
runs = settings(deadline=None)


def play(messages: list[tuple[int, tuple[str, dict[str, Any]]]], *, again: int = 1, **station: Any) -> World:
    """Send the messages a second apart, each `again` times before the next, as a charger does that got no answer."""
    world = World(**station)
    for number, (where, (action, payload)) in enumerate(messages):
        world.now = START + dt.timedelta(seconds=number)
        answers = [world.send(action, station=where, **payload) for _ in range(again)]
        assert all(answer == answers[0] for answer in answers[1:] if action == "StartTransaction")
    return world


def outcome(world: World) -> dict[str, Any]:
    """What counts: sessions, energy, review, readings, events."""
    return {
        "sessions": sorted(
            (
                *(session.id, session.transaction_id, session.start_key, session.state, session.started_at),
                *(session.ended_at, session.meter_stop_wh, session.register_wh, session.reading_at),
            )
            for session in world.sessions
        )
        if all(session.ended_at and session.reading_at and session.register_wh for session in world.sessions)
        else sorted(repr(session) for session in world.sessions),
        "review": sorted((station, key) for station, key in world.doubts),
        "readings": sorted((row[:4], row.session_id) for row in world.readings.values()),
        "events": world.events,
    }


@runs
@given(anything)
def test_g08_messages_that_are_each_sent_twice_mean_what_they_mean_once(messages):
    assert outcome(play(messages, again=2)) == outcome(play(messages))


@runs
@given(facts, st.data())
def test_g08_facts_repeated_later_change_no_session_that_ended(messages, data):
    world = play(messages)
    ended = {s.id: (s.ended_at, s.meter_stop_wh, s.started_at) for s in world.sessions if s.ended_at is not None}
    again = data.draw(st.permutations(messages))
    for where, (action, payload) in again:
        world.send(action, station=where, **payload)
    for session in world.sessions:
        if session.id in ended:
            assert (session.ended_at, session.meter_stop_wh, session.started_at) == ended[session.id]


@runs
@given(anything)
def test_keys_no_two_sessions_share_a_start_key_or_a_transaction_id(messages):
    world = play(messages)
    keys = [(session.station_id, session.start_key) for session in world.sessions]
    transactions = [session.transaction_id for session in world.sessions]
    assert len(set(keys)) == len(keys)
    assert len(set(transactions)) == len(transactions)


@runs
@given(anything, st.sampled_from(["refuse", "accept_free", "accept_review"]))
def test_g12_every_start_is_answered_with_an_id_that_1_6_allows(messages, policy):
    world = World(unknown_cards=policy)
    for where, (action, payload) in messages:
        answer = world.send(action, station=where, **payload)
        if action == "StartTransaction":
            assert 1 <= answer["transactionId"] <= 2**31 - 1
            assert world.session(answer["transactionId"]).station_id == where


@runs
@given(anything)
def test_there_is_no_negative_energy_and_no_negative_duration_without_a_blocking_item(messages):
    world = play(messages)
    blocked = {doubt.session_id for doubt in world.doubts.values() if doubt.blocking}
    for session in world.sessions:
        energy = energy_wh(session)
        if energy is not None and energy < 0:
            assert session.id in blocked
        if session.ended_at is not None and session.ended_at < session.started_at:
            assert session.id in blocked


@runs
@given(anything)
def test_each_connector_has_at_most_one_active_session(messages):
    world = play(messages)
    places = [(s.station_id, s.connector_number) for s in world.sessions if s.state == "active"]
    assert len(set(places)) == len(places)


@runs
@given(anything)
def test_every_stop_ends_a_session_or_is_kept_for_review(messages):
    world = play(messages)
    kept = {doubt.evidence["meter_wh"] for doubt in world.doubts.values() if "meter_wh" in doubt.evidence}
    ends = {session.meter_stop_wh for session in world.sessions}
    stopped = {payload["meterStop"] for _where, (action, payload) in messages if action == "StopTransaction"}
    second = {doubt.session_id for doubt in world.doubts.values() if doubt.code == "second_stop"}
    assert stopped <= kept | ends or second


@runs
@given(st.lists(st.integers(1, 59), min_size=1, max_size=8, unique=True), st.data())
def test_the_order_of_readings_changes_neither_the_energy_nor_which_readings_are_kept(minutes, data):
    results = []
    for order in (sorted(minutes), data.draw(st.permutations(minutes))):
        world = World()
        transaction = world.start(meter=1000)
        world.wait(hours=1)
        for minute in order:
            at = START + dt.timedelta(minutes=minute)
            world.measure(1000 + 60 * minute, transaction=transaction, at=at)
        world.stop(transaction, meter=5000)
        results.append((energy_wh(world.session(transaction)), world.read_by(transaction), world.codes()))
    assert results[0] == results[1]


@runs
@given(anything)
def test_live_figures_never_move_back_in_time(messages):
    world = World()
    seen: dict[int, dt.datetime] = {}
    for where, (action, payload) in messages:
        world.send(action, station=where, **payload)
        for session in world.sessions:
            if session.reading_at is not None:
                assert session.reading_at >= seen.get(session.id, session.reading_at)
                seen[session.id] = session.reading_at
