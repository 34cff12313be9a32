"""What holds for every session and every tariff."""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from apps.core import money
from apps.tariffs import elements
from apps.tariffs.elements import Dimension
from apps.tariffs.rating import Terms, Usage, rate
from tests.tariffs.worlds import VAT, price

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC")
YEAR = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
ONE = st.just(1)
STATUSES = ("Charging", "SuspendedEV", "SuspendedEVSE")

clock = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from((0, 15, 30, 45)))
prices = st.decimals(0, 9, places=4).map(str)


@st.composite
def restrictions(draw) -> dict:
    found = {}
    if draw(st.booleans()):
        found |= {"start_time": draw(clock), "end_time": draw(clock)}
        if found["start_time"] == found["end_time"]:
            found = {}
    if draw(st.booleans()):
        found["day_of_week"] = draw(st.lists(st.sampled_from(elements.WEEKDAYS), min_size=1, unique=True))
    return found


@st.composite
def tariffs(draw, *, steps=ONE, dimensions=tuple(Dimension.values)) -> Terms:
    def one(restricted: dict) -> dict:
        kinds = draw(st.lists(st.sampled_from(dimensions), min_size=1, unique=True))
        classes = st.sampled_from(tuple(VAT))
        return {
            "price_components": [price(kind, draw(prices), draw(steps), draw(classes)) for kind in kinds],
            "restrictions": restricted,
        }

    found = [one(draw(restrictions())) for _ in range(draw(st.integers(0, 4)))]
    return Terms("EUR", elements.read([*found, one({})]))


@st.composite
def usages(draw) -> Usage:
    """Up to three days with readings and statuses at whole seconds."""
    start = YEAR + dt.timedelta(seconds=draw(st.integers(0, 365 * 86_400)))
    lasts = draw(st.integers(0, 3 * 86_400))
    steps = draw(st.lists(st.tuples(st.integers(0, lasts), st.integers(0, 3000)), max_size=12))
    wh, readings = draw(st.integers(0, 10**8)), []
    first = wh
    for second, more in sorted(steps):
        wh += more
        readings.append((start + dt.timedelta(seconds=second), wh))
    told = draw(st.lists(st.tuples(st.integers(-600, lasts), st.sampled_from(STATUSES)), max_size=6))
    return Usage(
        started_at=start,
        ended_at=start + dt.timedelta(seconds=lasts),
        meter_start=first,
        meter_stop=wh + draw(st.integers(0, 3000)),
        zone=draw(st.sampled_from(ZONES)),
        readings=readings,
        statuses=[(start + dt.timedelta(seconds=second), status) for second, status in told],
    )


@given(usages(), tariffs(steps=st.integers(1, 4000)))
def test_parts_sum_to_the_whole_and_nothing_is_negative(used, terms):
    rating = rate(used, terms, VAT)
    assert rating.total == sum((one.amount for one in rating.items), Decimal(0))
    assert all(one.exact >= 0 and one.billed >= one.quantity >= 0 for one in rating.periods)
    for item in rating.items:
        parts = [one for one in rating.periods if (one.dimension, one.vat_class) == (item.dimension, item.vat_class)]
        assert item.exact == sum((one.exact for one in parts), Fraction(0))
        assert item.quantity == sum((one.quantity for one in parts), Fraction(0))
        assert item.amount == money.rounded(item.exact, "EUR") >= 0


@given(usages(), tariffs(steps=st.integers(1, 4000)))
def test_energy_and_time_are_never_priced_twice(used, terms):
    rating = rate(used, terms, VAT)
    energy = sum((one.quantity for one in rating.periods if one.dimension == Dimension.ENERGY), Fraction(0))
    times = (Dimension.TIME, Dimension.PARKING_TIME)
    seconds = sum((one.quantity for one in rating.periods if one.dimension in times), Fraction(0))
    assert energy <= used.meter_stop - used.meter_start
    assert seconds <= (used.ended_at - used.started_at).total_seconds()


@given(usages(), tariffs(steps=st.integers(1, 4000)), st.randoms())
def test_the_order_of_readings_and_statuses_does_not_matter(used, terms, shuffle: random.Random):
    mixed = [list(used.readings), list(used.statuses)]
    for values in mixed:
        shuffle.shuffle(values)
    again = Usage(
        used.started_at,
        used.ended_at,
        used.meter_start,
        used.meter_stop,
        used.zone,
        readings=mixed[0],
        statuses=used.statuses,
    )
    assert rate(again, terms, VAT) == rate(used, terms, VAT)


def _parts(used: Usage, second: int) -> tuple[Usage, Usage]:
    """The session in two, with the register that interpolation gives at the cut, and what was told before it."""
    at = used.started_at + dt.timedelta(seconds=second)
    inside = [(when, wh) for when, wh in used.readings if used.started_at < when < used.ended_at]
    points = [(used.started_at, used.meter_start), *inside, (used.ended_at, used.meter_stop)]
    before = max((one for one in enumerate(points) if one[1][0] <= at), key=lambda one: one[0])[0]
    (earlier, less), (later, more) = points[before], points[min(before + 1, len(points) - 1)]
    share = Fraction(int((at - earlier).total_seconds()), int((later - earlier).total_seconds()) or 1)
    wh = less + (more - less) * share
    first = Usage(used.started_at, at, used.meter_start, wh, used.zone, used.readings, used.statuses)
    return first, Usage(at, used.ended_at, wh, used.meter_stop, used.zone, used.readings, used.statuses)


@given(usages(), tariffs(dimensions=("TIME", "ENERGY")), st.floats(0, 1))
def test_cutting_a_session_in_two_does_not_change_its_exact_amount(used, terms, share):
    # A step of 1 Wh rounds a cut inside of one: the quantities that were used are compared by their prices.
    def exact(one: Usage) -> Fraction:
        return sum((p.exact * p.quantity / p.billed for p in rate(one, terms, VAT).periods if p.billed), Fraction(0))

    lasts = int((used.ended_at - used.started_at).total_seconds())
    calm = Usage(used.started_at, used.ended_at, used.meter_start, used.meter_stop, used.zone, used.readings, [])
    awake = [(used.started_at, "Charging")]
    calm = Usage(calm.started_at, calm.ended_at, calm.meter_start, calm.meter_stop, calm.zone, calm.readings, awake)
    first, second = _parts(calm, round(lasts * share))
    assert exact(first) + exact(second) == exact(calm)


@given(usages(), st.data())
def test_local_windows_are_those_of_the_clock(used, data):
    """Second by second at random: the price that holds is the one that the local clock shows."""
    window = elements.Restrictions(start_s=2 * 3600, end_s=5 * 3600, days=frozenset({0, 2, 6}))
    found = [
        {
            "price_components": [price("TIME", "1")],
            "restrictions": {
                "start_time": "02:00",
                "end_time": "05:00",
                "day_of_week": ["MONDAY", "WEDNESDAY", "SUNDAY"],
            },
        },
        {"price_components": [price("TIME", "0")]},
    ]
    told = [(used.started_at, "Charging")]
    plain = Usage(used.started_at, used.ended_at, used.meter_start, used.meter_stop, used.zone, (), told)
    rating = rate(plain, Terms("EUR", elements.read(found)), VAT)
    lasts = int((used.ended_at - used.started_at).total_seconds())
    if lasts:
        at = used.started_at + dt.timedelta(seconds=data.draw(st.integers(0, lasts - 1)))
        local = at.astimezone(ZoneInfo(used.zone))
        second = local.hour * 3600 + local.minute * 60 + local.second
        holds = 1 if window.hold_on_clock(local.date(), second) else 2
        assert [one.element for one in rating.periods if one.since <= at < one.until] == [holds]


@given(st.fractions(min_value=-1000, max_value=1000), st.sampled_from(("EUR", "JPY", "KWD")))
def test_rounding_is_half_up_and_within_half_a_unit(exact, currency):
    amount = money.rounded(exact, currency)
    unit = Fraction(1, 10 ** money.minor_digits(currency))
    assert abs(Fraction(amount) - exact) <= unit / 2
    assert money.rounded(-exact, currency) == -amount
