"""What chargers do to a session, and what is left of it: each line of the contract's "sessions survive".

Its readings and its times: test_readings_survive, test_clocks_survive.
"""

from __future__ import annotations

import datetime as dt

import pytest

from tests.charging.world import CARD, START, World, energy_wh, iso

HOUR = dt.timedelta(hours=1)
MINUTE = dt.timedelta(minutes=1)


def test_g12_a_repeated_start_gets_the_first_id_again_and_makes_no_second_session(world: World):
    first = world.start(at=START)
    world.wait(minutes=2)
    assert world.start(at=START) == first
    assert [session.transaction_id for session in world.sessions] == [first]


def test_g12_a_start_repeated_after_its_stop_gets_the_first_id_again(world: World):
    first = world.start(at=START)
    world.wait(hours=1)
    world.stop(first)
    assert world.start(at=START) == first
    assert world.session(first).state == "ended"


def test_a_repeated_start_of_a_busy_card_is_not_refused_as_concurrent(world: World):
    world.start(at=START)
    answer = world.send("StartTransaction", connectorId=1, idTag=CARD, timestamp=iso(START), meterStart=1000)
    assert answer["idTagInfo"]["status"] == "Accepted"


def test_the_same_start_written_in_another_zone_is_the_same_start(world: World):
    first = world.start(at="2026-11-21T12:00:00Z")
    assert world.start(at="2026-11-21T13:00:00+01:00") == first


def test_a_duplicate_stop_changes_nothing(world: World):
    transaction = world.start()
    ended = world.wait(hours=1)
    first = world.stop(transaction, at=ended)
    world.wait(minutes=10)
    assert world.stop(transaction, at=ended) == first
    session = world.session(transaction)
    assert (session.ended_at, energy_wh(session), world.codes()) == (ended, 4000, [])


def test_a_second_stop_with_other_figures_is_reviewed_and_the_first_one_counts(world: World):
    transaction = world.start()
    world.wait(hours=1)
    world.stop(transaction, meter=5000)
    world.wait(minutes=1)
    world.stop(transaction, meter=5600)
    assert world.session(transaction).meter_stop_wh == 5000
    assert world.codes() == ["second_stop"]


def test_offline_replay_with_old_timestamps_keeps_the_charger_s_times(world: World):
    began, ended = START - 5 * HOUR, START - 3 * HOUR
    transaction = world.start(at=began)
    world.measure(3000, transaction=transaction, at=began + HOUR)
    world.stop(transaction, at=ended)
    session = world.session(transaction)
    assert (session.started_at, session.ended_at, energy_wh(session)) == (began, ended, 4000)
    assert world.read_by(transaction) == [3000]
    assert world.codes() == []


def test_a_replayed_start_older_than_the_running_session_does_not_push_it_aside(world: World):
    running = world.start(at=START)
    world.wait(minutes=10)
    replayed = world.start(at=START - 5 * HOUR, meter=200)
    assert world.session(running).state == "active"
    assert world.session(replayed).state == "awaiting"
    world.stop(replayed, at=START - 4 * HOUR, meter=900)
    assert world.session(replayed).state == "ended"


def test_a_stop_of_an_unknown_transaction_is_kept_for_review(world: World):
    assert world.stop(4711) == {}
    (doubt,) = world.doubts.values()
    assert (doubt.code, doubt.session_id, doubt.blocking) == ("orphan_stop", None, True)
    assert doubt.evidence["transaction_id"] == 4711
    assert doubt.evidence["meter_wh"] == 5000


def test_ends_that_fit_no_session_and_differ_at_all_are_each_kept(world: World):
    long = "x" * 200
    for transaction, sent, meter in ((1, long, 5), (1, long, 6), (2**63 - 1, long, 5), (1, "2026-11-21T12:00:00Z", 5)):
        world.stop(transaction, at=sent, meter=meter)
        world.stop(transaction, at=sent, meter=meter)
    assert len(world.doubts) == 4
    assert all(len(key) <= 80 for _station, key in world.doubts)


@pytest.mark.parametrize("transaction", [0, -1, 4711])
def test_a_stop_without_a_usable_id_ends_the_only_session_that_fits(world: World, transaction: int):
    own = world.start()
    ended = world.wait(hours=1)
    world.stop(transaction, idTag=CARD, at=ended)
    assert world.session(own).state == "ended"
    world.wait(minutes=1)
    world.stop(transaction, idTag=CARD, at=ended)
    assert world.codes() == []


def test_a_stop_without_a_usable_id_ends_no_session_where_two_would_fit(world: World):
    world.add_card("11223344")
    world.start(connector=1)
    world.start(connector=2, card="11223344")
    world.wait(hours=1)
    world.stop(-1)
    assert {session.state for session in world.sessions} == {"active"}
    assert world.codes() == ["orphan_stop"]


def test_a_stop_without_a_usable_id_does_not_end_another_card_s_session(world: World):
    world.start()
    world.wait(hours=1)
    world.stop(-1, idTag="99999999")
    assert world.codes() == ["orphan_stop"]


def test_a_stop_does_not_take_another_station_s_transaction(world: World):
    foreign = world.start(station=1)
    world.wait(hours=1)
    world.stop(foreign, station=2)
    assert world.session(foreign).state == "active"
    assert world.codes() == ["orphan_stop"]


def test_a_start_with_an_unknown_tag_that_already_happened_is_stored_and_reviewed(world: World):
    answer = world.send("StartTransaction", connectorId=1, idTag="FFFFFFFF", timestamp=iso(START - HOUR), meterStart=10)
    assert answer["idTagInfo"]["status"] == "Invalid"
    session = world.session(answer["transactionId"])
    assert (session.started_at, session.meter_start_wh, session.uid) == (START - HOUR, 10, "FFFFFFFF")
    assert world.codes(blocking=True) == ["unknown_card"]


@pytest.mark.parametrize(
    ("card", "answer"),
    [
        ({"state": "blocked"}, "Blocked"),
        ({"state": "lost"}, "Blocked"),
        ({"state": "shipped"}, "Invalid"),
        ({"expires_at": START - HOUR}, "Expired"),
    ],
)
def test_a_start_with_a_refused_card_is_stored_and_reviewed(world: World, card: dict, answer: str):
    world.add_card("AABBCCDD", **card)
    reply = world.send("StartTransaction", connectorId=1, idTag="AABBCCDD", timestamp=iso(START), meterStart=10)
    assert reply["idTagInfo"] == {"status": answer}
    assert world.session(reply["transactionId"]).authorisation_status == answer
    assert world.codes(blocking=True) == ["refused_card"]


def test_a_replayed_start_is_judged_by_the_card_s_date_at_that_time(world: World):
    world.add_card("AABBCCDD", expires_at=START - HOUR)
    transaction = world.start(card="AABBCCDD", at=START - 2 * HOUR)
    assert world.session(transaction).authorisation_status == "Accepted"
    assert world.codes() == []


def test_a_replayed_start_is_not_concurrent_with_a_session_that_began_later(world: World):
    world.start(station=1)
    replayed = world.start(station=2, at=START - 2 * HOUR)
    assert world.session(replayed).authorisation_status == "Accepted"
    assert world.codes() == []


def test_two_starts_with_one_card_at_once_are_concurrent_whatever_their_clocks_say(world: World):
    world.start(station=1, at=START + MINUTE)
    second = world.start(station=2, at=START)
    assert world.session(second).authorisation_status == "ConcurrentTx"


def test_connector_0_starts_ends_and_is_measured(world: World):
    transaction = world.start(connector=0)
    world.wait(minutes=30)
    world.measure(3000, connector=0, transaction=transaction)
    world.wait(minutes=30)
    world.stop(transaction)
    assert world.session(transaction).state == "ended"
    assert world.read_by(transaction) == [3000]


def test_a_connector_that_the_inventory_lacks_is_found(world: World):
    transaction = world.start(connector=5)
    assert 5 in world.facts.stations[1].connectors
    assert world.session(transaction).connector_number == 5


def test_a_reboot_in_mid_session_leaves_it_awaiting_final_data_without_a_review_item(world: World):
    transaction = world.start()
    at = world.wait(minutes=10)
    world.boot()
    session = world.session(transaction)
    assert (session.state, session.awaiting_since, world.codes()) == ("awaiting", at, [])
    world.wait(minutes=10)
    world.measure(3000, transaction=transaction)
    world.stop(transaction)
    assert (session.state, energy_wh(session), world.read_by(transaction)) == ("ended", 4000, [3000])


def test_a_reboot_concerns_its_own_station_alone(world: World):
    transaction = world.start(station=2)
    world.wait(minutes=10)
    world.boot(station=1)
    assert world.session(transaction).state == "active"


def test_a_new_start_on_a_connector_whose_session_is_open_makes_the_older_one_wait(world: World):
    world.add_card("11223344")
    older = world.start()
    at = world.wait(minutes=30)
    newer = world.start(card="11223344", meter=3000)
    assert world.session(newer).state == "active"
    assert (world.session(older).state, world.session(older).awaiting_since) == ("awaiting", at)
    assert world.codes(blocking=False) == ["replaced"]


def test_a_stop_for_a_session_that_waits_ends_it(world: World):
    world.add_card("11223344")
    older = world.start(meter=1000)
    world.wait(minutes=30)
    world.start(card="11223344", meter=3000)
    world.stop(older, meter=2900)
    assert (world.session(older).state, energy_wh(world.session(older))) == ("ended", 1900)


def test_g06_an_unreadable_start_gets_a_real_id_and_a_stub_that_takes_readings_and_the_stop(world: World):
    answer = world.lose("StartTransaction")
    transaction = answer["transactionId"]
    assert 1 <= transaction < 2**31
    assert world.codes(blocking=True) == ["stub"]
    world.wait(minutes=10)
    world.measure(2000, transaction=transaction)
    world.stop(transaction, meter=3000)
    session = world.session(transaction)
    assert (session.state, session.meter_start_wh, session.meter_stop_wh) == ("ended", None, 3000)
    assert world.read_by(transaction) == [2000]


def test_g06_an_unreadable_start_that_is_repeated_gets_the_first_stub_again(world: World):
    assert world.lose("StartTransaction") == world.lose("StartTransaction")
    assert len(world.sessions) == 1


def test_g06_an_unreadable_authorize_is_answered_invalid(world: World):
    assert world.lose("Authorize") == {"idTagInfo": {"status": "Invalid"}}
    assert world.codes() == ["failed"]


@pytest.mark.parametrize("action", ["MeterValues", "StopTransaction", "StatusNotification"])
def test_g06_other_unreadable_messages_are_confirmed_and_reviewed(world: World, action: str):
    assert world.lose(action) == {}
    assert world.codes() == ["failed"]


def test_g07_what_the_database_refused_is_reviewed_as_quarantined(world: World):
    world.lose("MeterValues", quarantined=True)
    assert world.codes() == ["quarantine"]


def test_a_session_tells_its_start_and_its_end_once_by_ids(world: World):
    transaction = world.start()
    world.start(at=START)
    world.wait(hours=1)
    world.stop(transaction)
    world.stop(transaction)
    ids = {"session_id": world.session(transaction).id, "station_id": 1, "operator_id": 7}
    assert world.events == [("charging.session_started", ids), ("charging.session_ended", ids)]
