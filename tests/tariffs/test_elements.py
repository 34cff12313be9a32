"""Bad tariffs get a clear answer."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from apps.tariffs import elements
from tests.tariffs.worlds import element, price


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ([], "at least one price"),
        ({}, "at least one price"),
        ([{}] * 51, "at most 50"),
        (["x"], "Element 1: It is no object."),
        ([{"price_components": []}], "Element 1: It has no price."),
        ([element(price("ENERGY", "0.5")), element(price("GAS", "0.5"))], "Element 2: “GAS” is no kind of price."),
        ([element(price("ENERGY", "0.5"), price("ENERGY", "0.6"))], "two prices of one kind"),
        ([element(price("ENERGY", "-0.01"))], "A price is from 0"),
        ([element(price("ENERGY", "NaN"))], "A price is from 0"),
        ([element(price("ENERGY", "1e9"))], "A price is from 0"),
        ([element(price("ENERGY", "0.1234567"))], "at most 6 decimal places"),
        ([element({"type": "ENERGY", "price": 0.1})], "is no price"),
        ([element(price("ENERGY", "1", step=0))], "A step is a whole number"),
        ([element(price("ENERGY", "1", step=True))], "A step is a whole number"),
        ([element(price("ENERGY", "1", vat_class="zero"))], "is no VAT class"),
        ([element(price("ENERGY", "1"), max_power=11)], "“max_power” is not supported."),
        ([element(price("ENERGY", "1"), start_time="24:00")], "HH:MM"),
        ([element(price("ENERGY", "1"), start_time="８:00")], "HH:MM"),
        ([element(price("ENERGY", "1"), start_time="08:00", end_time="08:00")], "ends when it begins"),
        ([element(price("ENERGY", "1"), day_of_week=["HOLIDAY"])], "MONDAY to SUNDAY"),
        ([element(price("ENERGY", "1"), day_of_week="MONDAY")], "MONDAY to SUNDAY"),
        ([element(price("ENERGY", "1"), start_date="2026-13-01")], "YYYY-MM-DD"),
        ([element(price("ENERGY", "1"), start_date="2026-02-01", end_date="2026-02-01")], "before its first"),
        ([element(price("ENERGY", "1"), min_duration=600, max_duration=600)], "longest duration"),
        ([element(price("ENERGY", "1"), min_duration=-1)], "whole number of seconds"),
    ],
)
def test_a_bad_tariff_is_refused_with_what_is_wrong(found, says):
    with pytest.raises(ValidationError) as error:
        elements.read(found)
    assert says in " ".join(error.value.messages)


def test_every_fault_is_named():
    with pytest.raises(ValidationError) as error:
        elements.read([element(price("ENERGY", "x")), element(price("TIME", "1")), element()])
    assert [message[:10] for message in error.value.messages] == ["Element 1:", "Element 3:"]


def test_without_a_price_that_always_holds_it_is_not_published():
    sometimes = elements.read([element(price("ENERGY", "1"), end_time="12:00")])
    assert elements.faults_of_publication(sometimes)
    assert not elements.faults_of_publication([*sometimes, *elements.read([element(price("TIME", "1"))])])


def test_its_author_is_warned_of_prices_that_never_apply_and_of_gaps():
    found = elements.read(
        [
            element(price("TIME", "1"), end_time="12:00"),
            element(price("ENERGY", "1")),
            element(price("ENERGY", "2"), end_time="12:00"),
        ]
    )
    assert elements.warnings_of(found) == [
        "Element 3: its price of energy never applies, element 2 always does.",
        "Outside of the times given, there is no price of charging time.",
    ]
