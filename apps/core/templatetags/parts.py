"""Figures, times and states as pages show them (look: words, parts)."""

from __future__ import annotations

import datetime as dt
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from babel.numbers import format_currency
from django import template
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.timesince import timesince
from django.utils.translation import get_language, to_locale
from django.utils.translation import gettext as _

register = template.Library()
UNKNOWN = "–"
_KILO = Decimal(1000)

# OCPP status, or what a page made of several of them → tone (portal.css) and icon.
_LOOKS = {
    "Available": ("available", "check-circle"),
    "Preparing": ("busy", "clock"),
    "Charging": ("charging", "bolt"),
    "SuspendedEV": ("busy", "pause-circle"),
    "SuspendedEVSE": ("busy", "pause-circle"),
    "Finishing": ("busy", "clock"),
    "Reserved": ("reserved", "bookmark"),
    "Unavailable": ("offline", "no-symbol"),
    "Faulted": ("faulted", "exclamation-triangle"),
    "Unknown": ("unknown", "question-mark-circle"),
    "Occupied": ("busy", "clock"),
    "Offline": ("offline", "signal-slash"),
    "active": ("charging", "bolt"),
    "awaiting": ("busy", "clock"),
    "ended": ("offline", "check-circle"),
    "void": ("offline", "no-symbol"),
    "waiting": ("busy", "clock"),
    "held": ("busy", "pause-circle"),
    "priced": ("available", "check-circle"),
    "free": ("offline", "check-circle"),
}


@register.filter
def kwh(wh: int | None) -> str:
    """Wh → "18.30 kWh" in the page's language."""
    return UNKNOWN if wh is None else f"{_kilo(wh)} kWh"


@register.filter
def kw(watts: int | None) -> str:
    """W → "11.04 kW" in the page's language."""
    return UNKNOWN if watts is None else f"{_kilo(watts)} kW"


@register.filter
def money(amount: Decimal | None, currency: str) -> str:
    """An amount → "12,34 €" in the page's language, with the currency's own places."""
    if amount is None:
        return UNKNOWN
    return str(format_currency(amount, currency, locale=to_locale(get_language() or "en")))


@register.filter
def at_place(at: dt.datetime | None, zone: str) -> str:
    """A time as clocks at the place show it, with the zone's short name."""
    if at is None:
        return UNKNOWN
    local = _local(at, zone)
    # Translators: Django's date format characters.
    pattern = _("j M Y, H:i")
    return f"{date_format(local, pattern)} {local.tzname()}"


@register.filter
def day(date: dt.date | None) -> str:
    """A date as lists show it."""
    if date is None:
        return UNKNOWN
    # Translators: Django's date format characters.
    return str(date_format(date, _("j M Y")))


@register.filter
def exact_at_place(at: dt.datetime | None, zone: str) -> str:
    """The same to the second, as evidence is read: `2026-11-21 14:30:05 CET`."""
    if at is None:
        return UNKNOWN
    local = _local(at, zone)
    return f"{local:%Y-%m-%d %H:%M:%S} {local.tzname()}"


@register.filter
def lasted(seconds: int | None) -> str:
    """Seconds → "1:05 h"."""
    if seconds is None:
        return UNKNOWN
    hours, rest = divmod(max(seconds, 0), 3600)
    return f"{hours}:{rest // 60:02} h"


@register.filter
def since_words(at: dt.datetime | None) -> str:
    """How long ago, in its largest unit: "4 minutes"."""
    return timesince(at, depth=1) if at else ""


@register.inclusion_tag("parts/status_chip.html")
def status_chip(
    status: str, word: Any, since: dt.datetime | None = None, zone: str = "UTC", prefix: str = ""
) -> dict[str, Any]:
    """A state as icon, word and how long it lasts already."""
    tone, icon = _LOOKS.get(status, _LOOKS["Unknown"])
    return {
        "tone": tone,
        "icon": icon,
        "word": word,
        "prefix": prefix,
        "since": since if since and since <= timezone.now() else None,
        "since_shown": at_place(since, zone),
        "since_words": since_words(since),
    }


def _kilo(value: int) -> str:
    shown = (Decimal(value) / _KILO).quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)
    return str(number_format(shown, decimal_pos=2, use_l10n=True, force_grouping=True))


def _local(at: dt.datetime, zone: str) -> dt.datetime:
    # What a charger says may be at the edge of what a clock can show.
    try:
        return at.astimezone(_zone(zone))
    except OverflowError:
        return at


@cache
def _zone(name: str) -> ZoneInfo:
    # A zone that no longer exists must not take the page with it.
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return ZoneInfo("UTC")
