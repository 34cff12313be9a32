"""Units of the meter. Energy is integer Wh, power W, current A with one decimal (design, Money)."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

KILO = Decimal(1000)


def to_wh(value: Decimal, unit: str) -> int:
    """`value` in `unit` (Wh or kWh, case ignored; anything else is Wh) as whole Wh, half up."""
    scaled = value * KILO if unit.lower() in ("kwh", "kvarh") else value
    return int(scaled.quantize(Decimal(1), rounding=ROUND_HALF_UP))
