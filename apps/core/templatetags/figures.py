"""Figures with their units, and ages, as pages show them."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from django import template
from django.utils import formats, timezone
from django.utils.timesince import timesince

from apps.core.energy import KILO

register = template.Library()
NOT_KNOWN = "–"


@register.filter
def kw(watts: int | None) -> str:
    """W as `11.04 kW`, by the reader's locale."""
    return NOT_KNOWN if watts is None else f"{_kilo(watts, 2)}\N{NO-BREAK SPACE}kW"


@register.filter
def kwh(watt_hours: int | None) -> str:
    """Wh as `18.3 kWh`, by the reader's locale."""
    return NOT_KNOWN if watt_hours is None else f"{_kilo(watt_hours, 1)}\N{NO-BREAK SPACE}kWh"


@register.filter
def age(since: dt.datetime | None) -> str:
    """How long ago, in its largest unit alone: `4 minutes`."""
    return NOT_KNOWN if since is None else timesince(since, timezone.now(), depth=1)


@register.filter
def between(start: dt.datetime | None, end: dt.datetime | None) -> str:
    """How long from `start` to `end` (now, where it has not ended), in its two largest units."""
    return NOT_KNOWN if start is None else timesince(start, end or timezone.now(), depth=2)


def _kilo(value: int, places: int) -> str:
    return formats.number_format(Decimal(value) / KILO, decimal_pos=places, use_l10n=True, force_grouping=True)
