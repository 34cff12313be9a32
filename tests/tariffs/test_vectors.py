"""Sessions worked out by hand, net, in EUR and at a place in Berlin's zone."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from apps.core import money
from apps.tariffs.elements import Dimension
from tests.tariffs.worlds import element, price, rated, usage


@pytest.mark.parametrize(
    ("step", "billed", "exact", "amount"),
    [(1, 116, "0.029", "0.03"), (25, 125, "0.03125", "0.03"), (500, 500, "0.125", "0.13")],
)
def test_t1_step_size_of_energy(step, billed, exact, amount):
    used = usage("2026-11-02T10:00", "2026-11-02T10:30", Decimal("115.2"))
    rating = rated(used, element(price("ENERGY", "0.25", step)))
    (item,) = rating.items
    assert (item.billed, item.exact, item.amount) == (billed, Fraction(exact), Decimal(amount))


def test_t2_energy_across_a_boundary():
    used = usage("2026-11-02T16:00", "2026-11-02T18:00", 5400, readings=[("2026-11-02T17:00", 4300)])
    rating = rated(
        used,
        element(price("ENERGY", "0.20", 500), end_time="17:00"),
        element(price("ENERGY", "0.27", 500)),
    )
    assert [(one.quantity, one.billed) for one in rating.periods] == [(4300, 4300), (1100, 1200)]
    assert not rating.interpolated
    assert rating.items[0].exact == Fraction("1.184")
    assert rating.total == Decimal("1.18")


def test_t3_time_across_a_boundary():
    used = usage("2026-11-02T16:35", "2026-11-02T17:10", 1000)
    rating = rated(
        used,
        element(price("TIME", "1.20", 1800), end_time="17:00"),
        element(price("TIME", "2.40", 900)),
    )
    assert [(one.quantity, one.billed) for one in rating.periods] == [(1500, 1500), (600, 1200)]
    assert rating.total == Decimal("1.30")


def test_t4_time_then_parking_then_free():
    used = usage(
        "2026-11-02T19:40",
        "2026-11-02T20:12",
        3000,
        statuses=[("2026-11-02T19:40", "Charging"), ("2026-11-02T19:52", "SuspendedEV")],
    )
    rating = rated(
        used,
        element(price("TIME", "2.40", 1), price("PARKING_TIME", "1.00", 900), start_time="06:00", end_time="20:00"),
        element(price("TIME", "2.40", 1)),
    )
    charged, parked = rating.periods
    assert (charged.dimension, charged.quantity, charged.billed) == (Dimension.TIME, 720, 720)
    assert (parked.dimension, parked.quantity, parked.billed) == (Dimension.PARKING_TIME, 480, 900)
    assert rating.total == Decimal("0.73")


def test_t6_the_night_in_autumn_has_an_hour_more():
    used = usage("2026-10-25T01:30", "2026-10-25T04:30", 1000)
    assert rated(used, element(price("TIME", "0.50"))).total == Decimal("2.00")
    window = element(price("TIME", "1.00"), start_time="02:00", end_time="03:00")
    rating = rated(used, window, element(price("TIME", "0.50")))
    assert [one.quantity for one in rating.periods] == [1800, 7200, 5400]
    assert rating.total == Decimal("3.00")


def test_t7_the_night_in_spring_has_an_hour_less():
    used = usage("2026-03-29T01:30", "2026-03-29T04:30", 1000)
    window = element(price("TIME", "1.00"), start_time="02:30", end_time="05:00")
    rating = rated(used, window, element(price("TIME", "0.50")))
    assert [one.quantity for one in rating.periods] == [1800, 5400]
    assert rating.total == Decimal("1.75")


def test_t8_a_free_half_hour_then_energy():
    used = usage(
        "2026-11-02T10:00",
        "2026-11-02T10:40",
        6200,
        readings=[("2026-11-02T10:28", 4600), ("2026-11-02T10:33", 5600)],
    )
    rating = rated(used, element(price("ENERGY", "0"), max_duration=1800), element(price("ENERGY", "0.25")))
    assert [one.quantity for one in rating.periods] == [5000, 1200]
    assert rating.interpolated
    assert rating.total == Decimal("0.30")


def test_t12_vat_is_worked_out_on_the_sum():
    sessions = [rated(usage("2026-11-02T10:00", "2026-11-02T11:00"), element(price("FLAT", "5.43"))) for _ in range(3)]
    net = money.total((one.total for one in sessions), "EUR")
    vat = money.rounded(Fraction(net) * 19 / 100, "EUR")
    assert (net, vat, net + vat) == (Decimal("16.29"), Decimal("3.10"), Decimal("19.39"))


def test_t17_parts_are_rounded_once():
    used = usage(
        "2026-11-02T10:00",
        "2026-11-02T13:00",
        999,
        readings=[("2026-11-02T11:00", 333), ("2026-11-02T12:00", 666)],
    )
    rating = rated(
        used,
        element(price("ENERGY", "0.59"), end_time="11:00"),
        element(price("ENERGY", "0.59"), end_time="12:00"),
        element(price("ENERGY", "0.59")),
    )
    assert [one.exact for one in rating.periods] == [Fraction("0.19647")] * 3
    assert rating.total == Decimal("0.59")


def test_t5_a_saturday_with_all_four_kinds_of_price():
    used = usage(
        "2026-11-07T13:30",
        "2026-11-07T16:35",
        9000,
        statuses=[("2026-11-07T13:30", "Charging"), ("2026-11-07T15:24", "SuspendedEV")],
    )
    rating = rated(
        used,
        element(price("FLAT", "2.50")),
        element(price("TIME", "1.25", 900), price("PARKING_TIME", "6.00", 300), day_of_week=["SATURDAY"]),
        element(price("TIME", "1.00", 900), price("PARKING_TIME", "5.00", 300)),
    )
    assert {one.dimension: one.amount for one in rating.items} == {
        Dimension.FLAT: Decimal("2.50"),
        Dimension.TIME: Decimal("2.38"),
        Dimension.PARKING_TIME: Decimal("7.50"),
    }
    assert rating.total == Decimal("12.38")
