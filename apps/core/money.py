"""Money is computed exactly and rounded once, half up, to the currency's minor unit (design, Money)."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction

from babel.core import get_global
from babel.numbers import get_currency_precision, get_territory_currencies
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

MAX_DIGITS = 2  # EN 16931 knows no third place
EXACT_DIGITS = 6  # of what is kept for display beside a rounded amount


def minor_digits(currency: str) -> int:
    """Decimal places of an ISO 4217 currency, at most two."""
    return min(get_currency_precision(currency), MAX_DIGITS)


def rounded(exact: Fraction | Decimal | int, currency: str) -> Decimal:
    """`exact` in the currency's minor unit, half up: away from zero, as ROUND_HALF_UP does."""
    return half_up(exact, minor_digits(currency))


def half_up(exact: Fraction | Decimal | int, digits: int) -> Decimal:
    """`exact` with so many decimal places, half up."""
    scaled = abs(Fraction(exact)) * 10**digits
    whole = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    return Decimal(whole if exact >= 0 else -whole).scaleb(-digits)


def total(amounts: Iterable[Decimal], currency: str) -> Decimal:
    """The sum of rounded amounts; with the currency's places also where there are none."""
    return sum(amounts, rounded(0, currency))


def validate_currency(code: str) -> None:
    """Raises ValidationError where `code` is legal tender nowhere today (ISO 4217; DEM and XTS are not)."""
    if not any(code in get_territory_currencies(territory) for territory in get_global("territory_currencies")):
        raise ValidationError(
            _("Write a currency that is in use today as three capital letters (ISO 4217), such as EUR.")
        )
