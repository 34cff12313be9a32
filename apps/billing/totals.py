"""What an invoice comes to. VAT is rounded once a rate, on the invoice's sum (never a sum of rounded VATs)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from apps.core import money


@dataclass(frozen=True, slots=True)
class VatRow:
    """One rate in percent, what was sold at it, and the tax on that."""

    percent: Decimal
    net: Decimal
    vat: Decimal


@dataclass(frozen=True, slots=True)
class Totals:
    rates: tuple[VatRow, ...]
    net: Decimal
    vat: Decimal
    gross: Decimal


def totals(amounts: Iterable[tuple[Decimal | None, Decimal]], currency: str) -> Totals:
    """Of (percent, net) pairs, one a line. Lines without a rate count as net only; their draft is stopped."""
    sums: dict[Decimal, Decimal] = defaultdict(lambda: money.rounded(0, currency))
    unrated = money.rounded(0, currency)
    for percent, net in amounts:
        if percent is None:
            unrated += net
        else:
            sums[percent.normalize()] += net
    rates = tuple(
        VatRow(percent, net, money.rounded(Fraction(net) * Fraction(percent) / 100, currency))
        for percent, net in sorted(sums.items(), reverse=True)
    )
    net = money.total((row.net for row in rates), currency) + unrated
    vat = money.total((row.vat for row in rates), currency)
    return Totals(rates, net, vat, net + vat)
