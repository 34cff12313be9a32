"""Units of the meter. Energy is integer Wh, power W, current A with one decimal (design, Money)."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

KILO = Decimal(1000)


def to_wh(value: Decimal, unit: str) -> int:
    """`value` in `unit` (Wh or kWh, case ignored; anything else is Wh) as whole Wh, half up."""
    scaled = value * KILO if unit.lower() in ("kwh", "kvarh") else value
    return int(scaled.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def format_kwh(wh: int | None) -> str:
    """Wh as the two-decimal kWh figure of pages and documents; an en dash when unknown."""
    if wh is None:
        return "–"
    return f"{(Decimal(wh) / KILO).quantize(Decimal('0.01'), rounding=ROUND_HALF_UP)}"
