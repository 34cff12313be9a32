"""The example of docs/billing.md, computed."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

from apps.billing.totals import totals
from apps.tariffs import elements, rating

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "billing.md"
TARIFF = [
    {
        "price_components": [{"type": "ENERGY", "price": "0.39", "step_size": 1}],
        "restrictions": {"start_time": "18:00", "end_time": "00:00"},
    },
    {
        "price_components": [
            {"type": "ENERGY", "price": "0.49", "step_size": 1},
            {"type": "PARKING_TIME", "price": "3.00", "step_size": 1},
        ]
    },
]


def at(hour: int, minute: int) -> dt.datetime:
    return dt.datetime(2026, 10, 12, hour - 2, minute, tzinfo=dt.UTC)


def test_the_worked_example_is_what_the_engine_and_the_invoice_say():
    usage = rating.Usage(
        started_at=at(17, 0),
        ended_at=at(19, 10),
        meter_start=1_000_000,
        meter_stop=1_015_600,
        zone="Europe/Berlin",
        readings=[(at(18, 0), 1_009_180), (at(18, 50), 1_015_600)],
        statuses=[(at(17, 0), "Charging"), (at(18, 50), "SuspendedEV")],
    )
    found = rating.rate(usage, rating.Terms("EUR", elements.read(TARIFF)), {"standard": Decimal(19)})
    assert {item.dimension: str(item.amount) for item in found.items} == {"ENERGY": "7.00", "PARKING_TIME": "1.00"}
    percent = Decimal(19)
    sums = totals([(percent, found.total), (percent, Decimal("5.43")), (percent, Decimal("9.90"))], "EUR")
    assert (str(sums.net), str(sums.vat), str(sums.gross)) == ("23.33", "4.43", "27.76")
    text = DOCUMENT.read_text()
    for figure in ("**7.00**", "**1.00**", "| net | 23.33 |", "4.43 |", "**27.76**"):
        assert figure in text
