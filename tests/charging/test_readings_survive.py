"""What meters say during a session, and what is left of it: each line of the contract's "sessions survive"."""

from __future__ import annotations

import datetime as dt

import pytest

from tests.charging.world import START, World, energy_wh, iso

HOUR = dt.timedelta(hours=1)
MINUTE = dt.timedelta(minutes=1)


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
