"""What the engine does where a tariff leaves a choice."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from apps.tariffs.elements import Dimension
from apps.tariffs.rating import RatingError, Usage, rate
from tests.tariffs.worlds import BERLIN, VAT, element, local, price, rated, terms, usage

NOON, LATER = "2026-11-02T12:00", "2026-11-02T14:00"


def seconds(rating, dimension):
    return sum(one.quantity for one in rating.periods if one.dimension == dimension)


def test_the_first_element_that_has_a_dimension_wins_also_at_no_price():
    rating = rated(usage(NOON, LATER, 2000), element(price("ENERGY", "0")), element(price("ENERGY", "0.50")))
    assert rating.total == Decimal("0.00")
    assert [one.element for one in rating.periods] == [1]


def test_each_dimension_looks_for_its_own_element():
    rating = rated(
        usage(NOON, LATER, 2000),
        element(price("TIME", "1.00"), start_time="13:00", end_time="14:00"),
        element(price("ENERGY", "0.50")),
    )
    assert {one.dimension: one.element for one in rating.periods} == {Dimension.TIME: 1, Dimension.ENERGY: 2}
    assert rating.total == Decimal("2.00")


def test_a_window_over_midnight_and_weekdays_by_the_date_of_each_instant():
    friday_night = usage("2026-11-06T21:00", "2026-11-07T07:00", 1000)
    window = element(price("TIME", "1.00"), start_time="22:00", end_time="06:00", day_of_week=["FRIDAY"])
    rating = rated(friday_night, window, element(price("TIME", "0")))
    assert [(one.element, one.quantity) for one in rating.periods] == [(2, 3600), (1, 7200), (2, 7 * 3600)]


def test_midnight_as_an_end_is_the_end_of_the_day():
    rating = rated(
        usage("2026-11-02T22:00", "2026-11-03T01:00"),
        element(price("TIME", "1.00"), start_time="23:00", end_time="00:00"),
    )
    assert seconds(rating, Dimension.TIME) == 3600


def test_dates_are_in_from_and_out_to():
    rating = rated(
        usage("2026-11-02T23:00", "2026-11-05T01:00"),
        element(price("TIME", "1.00"), start_date="2026-11-03", end_date="2026-11-05"),
    )
    assert seconds(rating, Dimension.TIME) == 48 * 3600


def test_a_half_hour_that_comes_twice_counts_twice():
    rating = rated(
        usage("2026-10-25T01:00", "2026-10-25T05:00"),
        element(price("TIME", "1.00"), start_time="02:00", end_time="02:30"),
    )
    assert [one.quantity for one in rating.periods] == [1800, 1800]


@pytest.mark.parametrize("zone", ["Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca", "Asia/Kathmandu"])
def test_every_second_of_a_year_has_one_price(zone):
    start, end = "2026-01-01T00:00", "2027-01-01T00:00"
    used = usage(start, end, zone=zone)
    rating = rated(
        used,
        element(price("TIME", "1"), start_time="02:15", end_time="17:45", day_of_week=["MONDAY", "SUNDAY"]),
        element(price("TIME", "2"), start_time="23:00", end_time="01:00"),
        element(price("TIME", "3")),
    )
    assert seconds(rating, Dimension.TIME) == (used.ended_at - used.started_at).total_seconds()


def test_a_fee_is_due_once_at_the_first_instant_that_has_one():
    rating = rated(
        usage(NOON, LATER, 100),
        element(price("FLAT", "1.00"), start_time="13:00", end_time="13:30"),
        element(price("FLAT", "2.00"), start_time="13:30", end_time="15:00"),
    )
    assert [(one.element, one.since) for one in rating.periods] == [(1, local("2026-11-02T13:00"))]
    assert rating.total == Decimal("1.00")


def test_a_short_session_without_energy_pays_no_fee():
    fee = element(price("FLAT", "1.00"))
    short = usage(NOON, "2026-11-02T12:04")
    assert rated(short, fee, fee_after_s=300).total == 0
    assert rated(short, fee).total == Decimal("1.00")
    assert rated(usage(NOON, "2026-11-02T12:04", 10), fee, fee_after_s=300).total == Decimal("1.00")
    assert rated(usage(NOON, "2026-11-02T12:05"), fee, fee_after_s=300).total == Decimal("1.00")


def test_a_hole_over_a_change_of_price_is_interpolated_and_flagged():
    used = usage("2026-11-02T16:00", "2026-11-02T18:00", 3000)
    rating = rated(used, element(price("ENERGY", "0.20"), end_time="17:30"), element(price("ENERGY", "0.40")))
    assert [one.quantity for one in rating.periods] == [2250, 750]
    assert [one.registers for one in rating.periods] == [(0, 2250), (2250, 3000)]
    assert all(one.interpolated for one in rating.periods)


def test_where_the_meter_stood_still_nothing_needs_interpolation():
    readings = [("2026-11-02T17:00", 3000)]
    used = usage("2026-11-02T16:00", "2026-11-02T18:00", 3000, readings=readings)
    rating = rated(used, element(price("ENERGY", "0.20"), end_time="17:30"), element(price("ENERGY", "0.40")))
    assert [(one.element, one.interpolated) for one in rating.periods] == [(1, False)]


def test_vat_classes_are_rounded_apart_and_a_missing_rate_is_an_error():
    used = usage(NOON, LATER, 1005)
    found = (element(price("ENERGY", "0.10", vat_class="reduced"), price("FLAT", "1.00")),)
    assert {(one.vat_class, one.vat_rate, one.amount) for one in rated(used, *found).items} == {
        ("reduced", Decimal(7), Decimal("0.10")),
        ("standard", Decimal(19), Decimal("1.00")),
    }
    with pytest.raises(RatingError) as error:
        rate(used, terms(*found), {"standard": Decimal(19)})
    assert error.value.code == "vat"


@pytest.mark.parametrize(("currency", "total"), [("JPY", "12"), ("EUR", "12.35"), ("KWD", "12.35"), ("HUF", "12.35")])
def test_amounts_have_their_currency_s_places_at_most_two(currency, total):
    rating = rated(usage(NOON, LATER, 1000), element(price("ENERGY", "12.345")), currency=currency)
    assert str(rating.total) == total


def test_a_session_of_one_instant_has_energy_and_fee_and_no_time():
    used = Usage(local(NOON), local(NOON), 0, 500, BERLIN)
    rating = rate(used, terms(element(price("ENERGY", "1"), price("TIME", "1"), price("FLAT", "2"))), VAT)
    assert rating.total == Decimal("2.50")


@pytest.mark.parametrize(
    ("start", "end", "meter", "code"),
    [(LATER, NOON, (0, 1), "time"), (NOON, LATER, (2, 1), "meter")],
)
def test_what_cannot_be_is_refused(start, end, meter, code):
    with pytest.raises(RatingError) as error:
        rate(Usage(local(start), local(end), *meter, BERLIN), terms(element(price("ENERGY", "1"))), VAT)
    assert error.value.code == code


def test_parts_of_seconds_are_cut_off():
    used = usage(NOON, LATER)
    odd = Usage(used.started_at + dt.timedelta(milliseconds=999), used.ended_at, 0, 0, BERLIN)
    assert seconds(rate(odd, terms(element(price("TIME", "1"))), VAT), Dimension.TIME) == 7200


# --- parking ----------------------------------------------------------------------------------------------------------

BOTH = element(price("TIME", "1.00"), price("PARKING_TIME", "10.00"))


def at(minute: int) -> str:
    return f"2026-11-02T{12 + minute // 60}:{minute % 60:02}"


def parked(minutes: int, **given) -> int:
    rating = rated(usage(at(0), at(minutes), given.pop("wh", 5000), **given), BOTH)
    assert seconds(rating, Dimension.TIME) + seconds(rating, Dimension.PARKING_TIME) == minutes * 60
    return int(seconds(rating, Dimension.PARKING_TIME)) // 60


def test_parking_runs_from_suspended_ev_to_the_stop():
    statuses = [(at(0), "Charging"), (at(40), "SuspendedEV")]
    assert parked(60, statuses=statuses, readings=[(at(40), 5000)]) == 20


def test_parking_ends_with_the_next_charging_status():
    statuses = [(at(0), "Charging"), (at(20), "SuspendedEV"), (at(30), "Charging")]
    assert parked(60, statuses=statuses, readings=[(at(20), 2000), (at(30), 2000)]) == 10


def test_parking_ends_where_the_meter_rises_again():
    statuses = [(at(0), "Charging"), (at(20), "SuspendedEV")]
    assert (
        parked(60, statuses=statuses, readings=[(at(19), 1900), (at(25), 2000), (at(45), 2000), (at(50), 2500)]) == 25
    )


def test_what_the_charger_holds_back_is_charging_time():
    statuses = [(at(0), "Charging"), (at(20), "SuspendedEVSE")]
    assert parked(60, statuses=statuses, readings=[(at(20), 5000)]) == 0


def test_a_status_from_before_the_start_holds():
    statuses = [("2026-11-02T11:59", "SuspendedEV"), (at(15), "Charging")]
    assert parked(60, statuses=statuses, readings=[(at(15), 0)]) == 15


def test_without_status_five_quiet_minutes_are_parking():
    readings = [(at(30), 5000), (at(35), 5000), (at(40), 5000)]
    assert parked(60, readings=readings) == 25


def test_without_status_a_short_quiet_time_is_charging():
    readings = [(at(10), 1000), (at(12), 1000), (at(16), 1000), (at(20), 2000)]
    assert parked(60, readings=readings) == 0


def test_a_register_between_others_that_does_not_fit_moves_nothing():
    readings = [(at(10), 1000), (at(20), 90_000), (at(30), 500)]
    rating = rated(usage(at(0), at(60), 5000, readings=readings), element(price("ENERGY", "1.00")))
    assert rating.total == Decimal("5.00")
