"""Sessions and tariffs in few words."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from zoneinfo import ZoneInfo

from apps.tariffs import elements
from apps.tariffs.rating import Rating, Terms, Usage, rate

BERLIN = "Europe/Berlin"
VAT = {"standard": Decimal(19), "reduced": Decimal(7)}


def price(dimension: str, value: str, step: int = 1, vat_class: str = "standard") -> dict:
    return {"type": dimension, "price": value, "step_size": step, "vat_class": vat_class}


def element(*prices: dict, **restrictions) -> dict:
    return {"price_components": list(prices), "restrictions": restrictions}


def terms(*found: dict, currency: str = "EUR", fee_after_s: int = 0) -> Terms:
    return Terms(currency, elements.read(list(found)), fee_after_s)


def local(text: str, zone: str = BERLIN) -> dt.datetime:
    """An instant by the clock of the place; `fold=1` is written as a trailing *."""
    naive = dt.datetime.fromisoformat(text.rstrip("*"))
    return naive.replace(tzinfo=ZoneInfo(zone), fold=int(text.endswith("*"))).astimezone(dt.UTC)


def usage(start: str, end: str, wh=0, *, readings=(), statuses=(), zone: str = BERLIN) -> Usage:
    """A session from a meter at 0. Readings and statuses are (local time, value)."""
    return Usage(
        started_at=local(start, zone),
        ended_at=local(end, zone),
        meter_start=0,
        meter_stop=wh,
        zone=zone,
        readings=[(local(at, zone), value) for at, value in readings],
        statuses=[(local(at, zone), status) for at, status in statuses],
    )


def rated(used: Usage, *found: dict, **given) -> Rating:
    return rate(used, terms(*found, **given), VAT)
