"""Figures from samples: units, phases, places, what is never counted; and the digest that keys a reading."""

from __future__ import annotations

import datetime as dt
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.charging import meter
from apps.charging.facts import Element, Kind, Moment

AT = Moment("2026-11-21T12:00:00Z", dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC))


def element(*samples: tuple[str, dict[str, str]], at: Moment = AT) -> Element:
    return Element(at, tuple(Kind(**kind) for _value, kind in samples), tuple(value for value, _kind in samples))


def figures(*samples: tuple[str, dict[str, str]]) -> meter.Figures:
    return meter.read(element(*samples))


POWER = "Power.Active.Import"


@pytest.mark.parametrize(
    ("value", "unit", "wh", "notes"),
    [
        ("1234", "Wh", 1234, ""),
        ("1234.5", "Wh", 1235, ""),
        ("1234.4", "Wh", 1234, ""),
        ("1.2345", "kWh", 1235, "kilo"),
        ("12", "kWh", 12_000, "kilo"),
        ("1e3", "Wh", 1000, ""),
        ("7", "", 7, "no_unit"),
        ("7", "W", 7, "odd_unit"),
        ("-3", "Wh", -3, "negative"),
        ("9e30", "Wh", None, "out_of_range"),
        ("99999999999999999999999", "kWh", None, "kilo out_of_range"),
    ],
)
def test_a_register_is_read_in_whole_watt_hours(value: str, unit: str, wh: int | None, notes: str):
    read = figures((value, {"unit": unit}))
    assert (read.register_wh, read.notes) == (wh, notes)


def test_all_figures_of_one_element_are_read():
    read = figures(
        ("5000", {"unit": "Wh"}),
        ("11.04", {"measurand": POWER, "unit": "kW"}),
        ("15.96", {"measurand": "Current.Import", "unit": "A"}),
        ("230.04", {"measurand": "Voltage", "unit": "V"}),
        ("55.6", {"measurand": "SoC", "unit": "Percent"}),
    )
    assert read == (5000, 11_040, 16.0, 230.0, 56, "Sample.Periodic", "kilo")


def test_phases_are_summed_only_where_there_is_no_total():
    phases = [("100", {"unit": "Wh", "phase": phase}) for phase in ("L1", "L2", "L3")]
    assert figures(*phases)[0] == 300
    assert figures(*phases).notes == "phases"
    assert figures(*phases, ("280", {"unit": "Wh"})).register_wh == 280
    assert figures(*phases, ("280", {"unit": "Wh"})).notes == ""


def test_the_neutral_is_no_phase():
    assert figures(("5", {"unit": "A", "measurand": "Current.Import", "phase": "N"})).current_a is None


def test_phases_of_power_are_summed_and_of_voltage_averaged():
    values = (("230", "L1-N"), ("232", "L2-N"), ("234", "L3-N"))
    voltages = [(value, {"measurand": "Voltage", "unit": "V", "phase": phase}) for value, phase in values]
    powers = [(value, {"measurand": POWER, "unit": "W", "phase": phase}) for value, phase in values]
    assert figures(*voltages).voltage_v == 232.0
    assert figures(*powers).power_w == 696


def test_voltages_to_neutral_win_over_those_between_phases():
    read = figures(
        ("400", {"measurand": "Voltage", "unit": "V", "phase": "L1-L2"}),
        ("230", {"measurand": "Voltage", "unit": "V", "phase": "L1-N"}),
    )
    assert read.voltage_v == 230.0


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("other", ["Inlet", "Cable", "Body", "EV"])
def test_the_outlet_counts_over_any_other_place(order: int, other: str):
    samples = [("100", {"unit": "Wh"}), ("90", {"unit": "Wh", "location": other})]
    read = figures(*samples[::order])
    assert (read.register_wh, read.notes) == (100, "outlet")


def test_another_place_counts_where_the_outlet_is_missing_and_it_is_noted():
    read = figures(("90", {"unit": "Wh", "location": "Inlet"}))
    assert (read.register_wh, read.notes) == (90, "not_outlet")


@pytest.mark.parametrize(
    ("measurand", "notes"),
    [
        ("Energy.Active.Export.Register", "export"),
        ("Energy.Active.Import.Interval", "interval"),
        ("Energy.Reactive.Import.Register", ""),
    ],
)
def test_exported_reactive_and_interval_energy_is_never_the_import_register(measurand: str, notes: str):
    read = figures(("100", {"unit": "Wh", "measurand": measurand}))
    assert (read.register_wh, read.notes) == (None, notes)


def test_exported_power_is_not_charging_power():
    assert figures(("7000", {"measurand": "Power.Active.Export", "unit": "W"})).power_w is None


def test_signed_data_is_kept_and_not_read():
    read = figures(("OCMF|{}", {"format": "SignedData"}), ("5", {"unit": "Wh"}))
    assert (read.register_wh, read.notes) == (5, "signed")


@pytest.mark.parametrize("value", ["-1", "101", "1e9"])
def test_a_state_of_charge_outside_0_to_100_is_not_read(value: str):
    read = figures((value, {"measurand": "SoC"}))
    assert (read.soc_percent, read.notes) == (None, "out_of_range")


def test_a_power_that_no_column_holds_is_not_read():
    assert figures(("1e99", {"measurand": POWER, "unit": "W"})).power_w is None


def test_every_note_has_a_text_for_the_reader():
    assert all(str(text) for text in meter.NOTES.values())
    assert len(" ".join(meter.NOTES)) <= meter.MAX_NOTES


# --- digest ---


def test_keys_the_digest_tells_values_kinds_and_order_apart():
    one, two = ("1", {"unit": "Wh"}), ("2", {"unit": "Wh", "phase": "L1"})
    digests = {meter.digest(element(*samples)) for samples in ([one], [two], [one, two], [two, one], [one, one])}
    assert len(digests) == 5


def test_keys_the_digest_is_of_the_samples_and_takes_the_time_only_where_that_is_no_key():
    other = Moment("nonsense", None)
    samples = ("1", {"unit": "Wh"})
    assert meter.digest(element(samples)) == meter.digest(element(samples, at=other))
    assert meter.digest(element(samples), dated=False) != meter.digest(element(samples, at=other), dated=False)


NUMBERS = st.decimals(min_value=-(10**12), max_value=10**12, places=3, allow_nan=False, allow_infinity=False)
KINDS = st.builds(
    Kind,
    measurand=st.sampled_from(
        ["Energy.Active.Import.Register", POWER, "Voltage", "SoC", "Energy.Active.Export.Register"]
    ),
    unit=st.sampled_from(["Wh", "kWh", "W", "kW", "V", "Percent", ""]),
    phase=st.sampled_from(["", "L1", "L2", "L3", "L1-N", "N"]),
    context=st.sampled_from(["Sample.Periodic", "Transaction.Begin", "x" * 64]),
    location=st.sampled_from(["Outlet", "Inlet", "Somewhere"]),
    format=st.sampled_from(["Raw", "SignedData"]),
)
SAMPLES = st.lists(st.tuples(NUMBERS.map(str), KINDS), min_size=1, max_size=12)


@given(SAMPLES)
def test_every_figure_and_digest_fits_its_column(samples: list[tuple[str, Kind]]):
    one = Element(AT, tuple(kind for _value, kind in samples), tuple(value for value, _kind in samples))
    read = meter.read(one)
    assert read.register_wh is None or abs(read.register_wh) < 2**63
    assert read.power_w is None or abs(read.power_w) < 2**31
    assert read.soc_percent is None or 0 <= read.soc_percent <= 100
    assert len(read.notes) <= 120
    assert len(read.context) <= 20
    assert -(2**63) <= meter.digest(one) < 2**63


@given(NUMBERS)
def test_kilowatt_hours_and_watt_hours_of_the_same_energy_read_the_same(value: Decimal):
    in_kwh = figures((str(value), {"unit": "kWh"})).register_wh
    in_wh = figures((str(value * 1000), {"unit": "Wh"})).register_wh
    assert in_kwh == in_wh == int((value * 1000).to_integral_value(ROUND_HALF_UP))


@given(st.lists(NUMBERS, min_size=3, max_size=3))
def test_a_total_beats_its_phases_whatever_they_say(values: list[Decimal]):
    phases = [(str(value), {"unit": "Wh", "phase": f"L{number}"}) for number, value in enumerate(values, 1)]
    assert figures(*phases, ("42", {"unit": "Wh"})).register_wh == 42


# --- steps of a register ---


@pytest.mark.parametrize(
    ("before", "after", "hours", "code"),
    [
        (1000, 1000, 0, None),
        (1000, 1500, 0, None),
        (1000, 1501, 0, "meter_jump"),
        (0, 26_900, 1, None),
        (0, 26_901, 1, "meter_jump"),
        (1000, 990, 1, None),
        (1000, 989, 1, "meter_backwards"),
        (900_000, 300, 1, "meter_changed"),
        (900_000, 800_000, 1, "meter_backwards"),
        (900_000, -5, 1, "meter_backwards"),
    ],
)
def test_a_step_is_plausible_or_has_a_code(before: int, after: int, hours: int, code: str | None):
    assert meter.doubt(before, after, max_power_w=22_000, elapsed=dt.timedelta(hours=hours)) == code


def test_a_clock_that_runs_backwards_allows_no_less_than_an_instant():
    assert meter.allowed_wh(22_000, dt.timedelta(hours=-5)) == 500
