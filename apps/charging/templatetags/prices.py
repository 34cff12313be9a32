"""Prices and quantities as the lines of a price show them."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from zoneinfo import ZoneInfo

from babel.numbers import format_currency
from django import template
from django.utils.formats import number_format
from django.utils.translation import get_language, to_locale
from django.utils.translation import gettext as _

from apps.core.money import half_up
from apps.tariffs.elements import Dimension

register = template.Library()


@register.filter
def quantity(value: Decimal, dimension: str) -> str:
    """Wh → "18.345 kWh", seconds → "1:05:30 h"; a fee has none."""
    if dimension == Dimension.ENERGY:
        return f"{number_format(half_up(value / 1000, 3), decimal_pos=3, force_grouping=True)} kWh"
    if dimension == Dimension.FLAT:
        return ""
    minutes, seconds = divmod(int(half_up(value, 0)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02} h"


@register.filter
def unit_price(price: Decimal, currency: str) -> str:
    """A price with all its places, at least those of the currency."""
    locale = to_locale(get_language() or "en")
    return str(format_currency(price, currency, locale=locale, decimal_quantization=False))


@register.filter
def per_unit(dimension: str) -> str:
    """What one price is for."""
    if dimension == Dimension.FLAT:
        return _("per session")
    return _("per kWh") if dimension == Dimension.ENERGY else _("per hour")


@register.filter
def percent(value: Decimal) -> str:
    """19.00 → "19 %"."""
    return f"{number_format(f'{value.normalize():f}')} %"


@register.filter
def clock_at_place(at: dt.datetime, zone: str) -> str:
    """The time of day there."""
    return f"{at.astimezone(ZoneInfo(zone)):%H:%M}"
