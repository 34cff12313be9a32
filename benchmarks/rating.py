"""How fast sessions are priced, on one core and without a database.

python -m benchmarks.rating [SESSIONS]
"""

from __future__ import annotations

import datetime as dt
import random
import sys
import time
from decimal import Decimal

READINGS = 100
LIMIT_S = 10.0
START = dt.datetime(2026, 10, 24, tzinfo=dt.UTC)  # the week of the night that has an hour more


def _price(dimension: str, price: str, step: int = 1) -> dict[str, object]:
    return {"type": dimension, "price": price, "step_size": step, "vat_class": "standard"}


TARIFF = [
    {
        "price_components": [_price("ENERGY", "0.55"), _price("PARKING_TIME", "3.00", 60)],
        "restrictions": {"start_time": "07:00", "end_time": "20:00", "day_of_week": ["MONDAY", "TUESDAY"]},
    },
    {"price_components": [_price("ENERGY", "0.39")], "restrictions": {"start_time": "22:00", "end_time": "06:00"}},
    {"price_components": [_price("ENERGY", "0.49"), _price("TIME", "0.60"), _price("FLAT", "0.35")]},
]


def main(count: int = 10_000) -> int:
    from apps.tariffs import elements
    from apps.tariffs.rating import Terms, Usage, rate

    terms, vat = Terms("EUR", elements.read(TARIFF)), {"standard": Decimal(19)}
    numbers = random.Random(7)
    sessions = [_session(Usage, numbers) for _ in range(count)]
    began = time.process_time()
    periods = sum(len(rate(session, terms, vat).periods) for session in sessions)
    seconds = time.process_time() - began
    met = seconds * 10_000 / count <= LIMIT_S
    each = seconds * 10_000 / count
    print(
        f"  {count:,} sessions of {READINGS} readings, {periods / count:.1f} periods each: {seconds:.2f} s on one core"
    )
    print(f"  10,000 in {each:.2f} s, bar: at most {LIMIT_S:g} s   {'met' if met else 'NOT MET'}")
    return 0 if met else 1


def _session(usage: type, numbers: random.Random) -> object:
    start = START + dt.timedelta(seconds=numbers.randrange(14 * 86_400))
    step = dt.timedelta(seconds=numbers.randrange(60, 600))
    readings, wh = [], 0
    for number in range(READINGS):
        wh += numbers.randrange(0, 900) if number < READINGS * 2 // 3 else 0
        readings.append((start + step * (number + 1), wh))
    full = start + step * (READINGS * 2 // 3)
    return usage(
        started_at=start,
        ended_at=start + step * (READINGS + 1),
        meter_start=0,
        meter_stop=wh,
        zone="Europe/Berlin",
        readings=readings,
        statuses=[(start, "Charging"), (full, "SuspendedEV")],
    )


if __name__ == "__main__":
    import os

    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    sys.exit(main(*map(int, sys.argv[1:])))
