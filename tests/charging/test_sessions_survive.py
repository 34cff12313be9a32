"""What chargers do to a session, and what is left of it: each line of the contract's "sessions survive"."""

from __future__ import annotations

import datetime as dt

import pytest

from apps.charging.facts import EARLIEST
from tests.charging.world import CARD, START, World, energy_wh, iso

HOUR = dt.timedelta(hours=1)
MINUTE = dt.timedelta(minutes=1)


@pytest.fixture
def world() -> World:
    return World()


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


def test_a_meter_that_goes_backwards_during_a_session_is_reviewed(world: World):
    transaction = world.start(meter=100_000)
    world.wait(minutes=10)
    world.measure(102_000, transaction=transaction)
    world.wait(minutes=10)
    world.measure(101_000, transaction=transaction)
    assert world.codes(blocking=True) == ["meter_backwards"]


def test_a_stop_below_the_start_is_reviewed_even_by_one_watt_hour(world: World):
    transaction = world.start(meter=1000)
    world.wait(hours=1)
    world.stop(transaction, meter=999)
    assert energy_wh(world.session(transaction)) == -1
    assert world.codes(blocking=True) == ["meter_backwards"]


def test_the_rounding_of_a_register_sent_in_kwh_is_not_a_meter_going_backwards(world: World):
    transaction = world.start(meter=1000)
    world.wait(hours=1)
    world.measure(5004, transaction=transaction)
    world.wait(minutes=1)
    world.stop(transaction, meter=5000)
    assert world.codes() == []


@pytest.mark.parametrize(("register", "codes"), [(1000 + 4900, []), (1000 + 4901, ["meter_jump"])])
def test_a_jump_is_more_than_power_times_elapsed_times_1_2_plus_500_wh(world: World, register: int, codes: list):
    transaction = world.start(meter=1000)
    world.wait(minutes=10)  # 22 kW × 1/6 h × 1.2 + 500 Wh = 4,900 Wh
    world.measure(register, transaction=transaction)
    assert world.codes() == codes


def test_power_readings_between_two_registers_do_not_make_a_jump(world: World):
    transaction = world.start(meter=0)
    for _ in range(6):
        world.wait(minutes=10)
        sample = {"value": "22", "unit": "kW", "measurand": "Power.Active.Import"}
        element = {"timestamp": iso(world.now), "sampledValue": [sample]}
        world.send("MeterValues", connectorId=1, transactionId=transaction, meterValue=[element])
    world.wait(seconds=1)
    world.measure(22_000, transaction=transaction)
    assert world.codes() == []


def test_a_start_meter_of_zero_before_a_full_odometer_is_reviewed_as_a_jump(world: World):
    transaction = world.start(meter=0)
    world.wait(minutes=10)
    world.measure(910_083, transaction=transaction)
    assert world.codes(blocking=True) == ["meter_jump"]


def test_a_replaced_odometer_is_reviewed_as_replaced(world: World):
    transaction = world.start(meter=900_000)
    world.wait(minutes=10)
    world.measure(902_000, transaction=transaction)
    world.wait(minutes=10)
    world.measure(300, transaction=transaction)
    world.wait(minutes=10)
    world.stop(transaction, meter=2300)
    assert world.codes(blocking=True) == ["meter_changed"]


def test_values_in_kwh_are_converted(world: World):
    transaction = world.start(meter=1000)
    world.wait(minutes=30)
    sample = {"value": "3.5", "unit": "kWh"}
    element = {"timestamp": iso(world.now), "sampledValue": [sample]}
    world.send("MeterValues", connectorId=1, transactionId=transaction, meterValue=[element])
    assert world.read_by(transaction) == [3500]
    assert world.session(transaction).register_wh == 3500


def test_values_without_unit_context_or_measurand_are_the_import_register_in_wh(world: World):
    transaction = world.start(meter=1000)
    world.wait(minutes=30)
    element = {"timestamp": iso(world.now), "sampledValue": [{"value": "3500"}]}
    world.send("MeterValues", connectorId=1, transactionId=transaction, meterValue=[element])
    (reading,) = world.readings.values()
    assert (reading.register_wh, reading.context, reading.notes) == (3500, "Sample.Periodic", "no_unit")


def test_per_phase_values_are_summed_where_no_total_is_given(world: World):
    transaction = world.start(meter=1000)
    world.wait(minutes=30)
    samples = [{"value": "1200", "unit": "Wh", "phase": phase} for phase in ("L1", "L2", "L3")]
    world.send(
        "MeterValues",
        connectorId=1,
        transactionId=transaction,
        meterValue=[{"timestamp": iso(world.now), "sampledValue": samples}],
    )
    assert world.session(transaction).register_wh == 3600


def test_connector_0_starts_ends_and_is_measured(world: World):
    transaction = world.start(connector=0)
    world.wait(minutes=30)
    world.measure(3000, connector=0, transaction=transaction)
    world.wait(minutes=30)
    world.stop(transaction)
    assert world.session(transaction).state == "ended"
    assert world.read_by(transaction) == [3000]


def test_the_main_meter_s_readings_on_connector_0_belong_to_no_session(world: World):
    transaction = world.start(connector=1)
    world.wait(minutes=10)
    world.measure(99_000_000, connector=0)
    assert world.read_by(transaction) == []
    assert len(world.readings) == 1
    assert world.codes() == []


def test_a_reading_on_connector_0_that_names_the_transaction_belongs_to_it(world: World):
    transaction = world.start(connector=1)
    world.wait(minutes=10)
    world.measure(2000, connector=0, transaction=transaction)
    assert world.read_by(transaction) == [2000]


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


def test_the_older_session_takes_readings_by_transaction_id_only(world: World):
    world.add_card("11223344")
    older = world.start(meter=1000)
    world.wait(minutes=30)
    newer = world.start(card="11223344", meter=3000)
    world.wait(minutes=10)
    world.measure(3100)
    world.measure(2900, transaction=older)
    assert world.read_by(newer) == [3100]
    assert world.read_by(older) == [2900]


def test_a_stop_for_a_session_that_waits_ends_it(world: World):
    world.add_card("11223344")
    older = world.start(meter=1000)
    world.wait(minutes=30)
    world.start(card="11223344", meter=3000)
    world.stop(older, meter=2900)
    assert (world.session(older).state, energy_wh(world.session(older))) == ("ended", 1900)


def test_readings_without_transaction_id_belong_to_the_connector_s_running_session(world: World):
    transaction = world.start(connector=2)
    world.wait(minutes=10)
    world.measure(2000, connector=2)
    world.measure(7000, connector=1)
    assert world.read_by(transaction) == [2000]


def test_replayed_readings_without_transaction_id_from_before_the_start_are_not_the_session_s(world: World):
    transaction = world.start()
    world.measure(700, at=START - HOUR)
    assert world.read_by(transaction) == []
    assert world.codes() == []


def test_readings_do_not_take_another_station_s_or_connector_s_transaction(world: World):
    world.add_card("11223344")
    foreign = world.start(station=1, connector=1)
    own = world.start(station=2, connector=1, card="11223344")
    world.wait(minutes=10)
    world.measure(2000, transaction=foreign, station=2)
    world.measure(3000, transaction=own, station=2, connector=2)
    assert world.read_by(foreign) == []
    assert world.read_by(own) == [2000]


def test_old_replayed_readings_are_stored_and_live_figures_only_move_forward(world: World):
    transaction = world.start()
    world.wait(hours=1)
    world.measure(5000, transaction=transaction)
    world.measure(3000, transaction=transaction, at=START + 30 * MINUTE)
    assert world.read_by(transaction) == [3000, 5000]
    assert world.session(transaction).register_wh == 5000
    assert world.codes() == []


def test_readings_after_the_stop_are_stored_and_move_nothing(world: World):
    transaction = world.start()
    ended = world.wait(hours=1)
    world.stop(transaction, at=ended, meter=5000)
    world.wait(minutes=1)
    world.measure(4900, transaction=transaction, at=ended - MINUTE)
    world.measure(5000, transaction=transaction)
    assert world.read_by(transaction) == [4900, 5000]
    assert (world.session(transaction).reading_at, world.session(transaction).power_w) == (ended, 0)


def test_the_transaction_data_of_a_stop_are_readings_of_its_session(world: World):
    transaction = world.start()
    world.wait(hours=1)
    data = [
        {"timestamp": iso(START + minute * MINUTE), "sampledValue": [{"value": str(1000 + 60 * minute)}]}
        for minute in (10, 20, 30)
    ]
    world.stop(transaction, transactionData=data)
    assert world.read_by(transaction) == [1600, 2200, 2800]


def test_the_transaction_data_of_an_orphan_stop_are_kept(world: World):
    world.stop(4711, transactionData=[{"timestamp": iso(START), "sampledValue": [{"value": "1"}]}])
    (reading,) = world.readings.values()
    assert (reading.session_id, reading.register_wh) == (None, 1)


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


# --- a charger without a clock (gateway contract, Keys) ---

CLOCKLESS = "1970-01-01T00:00:00Z"


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


# --- messages that cannot be understood ---


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


# --- what others are told ---


def test_a_session_tells_its_start_and_its_end_once_by_ids(world: World):
    transaction = world.start()
    world.start(at=START)
    world.wait(hours=1)
    world.stop(transaction)
    world.stop(transaction)
    ids = {"session_id": world.session(transaction).id, "station_id": 1, "operator_id": 7}
    assert world.events == [("charging.session_started", ids), ("charging.session_ended", ids)]
