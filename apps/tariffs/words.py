"""A tariff in words that a customer understands, in the language of the page."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from babel.numbers import format_currency
from django.utils.dates import WEEKDAYS_ABBR
from django.utils.formats import date_format, number_format
from django.utils.translation import get_language, to_locale
from django.utils.translation import gettext as _

from apps.tariffs.elements import DAY_S, Component, Dimension, Element, Restrictions, VatClass
from apps.tariffs.rating import Terms


@dataclass(frozen=True, slots=True)
class Case:
    """A price and when it holds. `when` is empty where it always does."""

    when: str
    price: str


@dataclass(frozen=True, slots=True)
class Line:
    """All prices of one dimension, the first that fits holds."""

    dimension: Dimension
    title: str
    cases: tuple[Case, ...]


def lines_of(terms: Terms) -> list[Line]:
    """What is priced, dimension by dimension. What is not in it costs nothing."""
    return [
        Line(dimension, title_of(dimension), tuple(_cases(terms.elements, dimension, terms.currency)))
        for dimension in Dimension
        if any(element.component(dimension) for element in terms.elements)
    ]


def notes_of(terms: Terms) -> list[str]:
    """What holds beside the prices."""
    notes = [_("Prices are net; VAT is added.")]
    if not any(element.component(Dimension.ENERGY) for element in terms.elements):
        notes.append(_("Energy itself costs nothing."))
    if terms.fee_after_s and any(element.component(Dimension.FLAT) for element in terms.elements):
        shortest = {"time": duration_words(terms.fee_after_s)}
        notes.append(_("No fee for a session without energy that is shorter than %(time)s.") % shortest)
    return notes


def title_of(dimension: Dimension) -> str:
    titles = {
        Dimension.ENERGY: _("Energy"),
        Dimension.TIME: _("Charging time"),
        Dimension.PARKING_TIME: _("Parking after charging"),
        Dimension.FLAT: _("Fee"),
    }
    return titles[dimension]


def price_words(price: Decimal, dimension: Dimension, currency: str) -> str:
    """`€0.49 per kWh`, with all places that the price has."""
    if not price:
        return _("free")
    words = {"price": bare_price(price, currency)}
    if dimension is Dimension.ENERGY:
        return _("%(price)s per kWh") % words
    if dimension is Dimension.FLAT:
        return _("%(price)s per session") % words
    return _("%(price)s per hour") % words


def bare_price(price: Decimal, currency: str) -> str:
    """A unit price as it is used: rounded for the eye, nobody could recompute what it costs."""
    locale = to_locale(get_language() or "en")
    return str(format_currency(price, currency, locale=locale, currency_digits=False, decimal_quantization=False))


def duration_words(seconds: int) -> str:
    """`4 h`, `1 h 30 min`, `45 s`."""
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [(hours, _("h")), (minutes, _("min")), (rest, _("s"))]
    return " ".join(f"{value} {unit}" for value, unit in parts if value) or f"0 {_('min')}"


def when_words(restrictions: Restrictions) -> str:
    """When an element holds; empty where it always does."""
    return ", ".join(_conditions(restrictions))


def days_words(days: Iterable[int]) -> str:
    """`Mon–Fri`, `Sat, Sun`."""
    return ", ".join(
        str(WEEKDAYS_ABBR[first])
        if first == last
        else f"{WEEKDAYS_ABBR[first]}{_joint(first, last)}{WEEKDAYS_ABBR[last]}"
        for first, last in _runs(sorted(days))
    )


def clock_words(second: int) -> str:
    """`08:30`; the end of the day is 24:00."""
    return f"{second // 3600:02}:{second % 3600 // 60:02}"


def _cases(elements: Sequence[Element], dimension: Dimension, currency: str) -> Iterator[Case]:
    told = 0
    for element in elements:
        component = element.component(dimension)
        if component is None:
            continue
        price = price_words(component.price, dimension, currency) + _remarks(component)
        if not element.restrictions.any:
            yield Case(_("otherwise") if told else "", price)
            return
        yield Case(when_words(element.restrictions), price)
        told += 1
    yield Case(_("otherwise"), _("free"))


def _remarks(component: Component) -> str:
    remarks = []
    if component.dimension is Dimension.ENERGY and component.step > 1:
        step = number_format((Decimal(component.step) / 1000).normalize())
        remarks.append(_("each %(step)s kWh begun counts whole") % {"step": step})
    elif component.dimension in (Dimension.TIME, Dimension.PARKING_TIME) and component.step > 1:
        remarks.append(_("each %(step)s begun count whole") % {"step": duration_words(component.step)})
    if component.vat_class != VatClass.STANDARD:
        remarks.append(_("VAT: %(class)s") % {"class": VatClass(component.vat_class).label})
    return f" ({', '.join(remarks)})" if remarks else ""


def _conditions(restrictions: Restrictions) -> Iterator[str]:
    clock = " ".join(filter(None, (days_words(restrictions.days), _window(restrictions))))
    if clock:
        yield clock
    if dates := _dates(restrictions):
        yield dates
    if duration := _duration(restrictions):
        yield duration


def _window(restrictions: Restrictions) -> str:
    start, end = restrictions.start_s, restrictions.end_s
    if start is None and end is None:
        return ""
    return f"{clock_words(start or 0)}–{clock_words(DAY_S if end is None else end)}"


def _dates(restrictions: Restrictions) -> str:
    first = restrictions.start_date
    last = restrictions.end_date - dt.timedelta(days=1) if restrictions.end_date is not None else None
    if first is not None and last is not None:
        return _("%(first)s to %(last)s") % {"first": date_format(first), "last": date_format(last)}
    if first is not None:
        return _("from %(first)s") % {"first": date_format(first)}
    return _("until %(last)s") % {"last": date_format(last)} if last is not None else ""


def _duration(restrictions: Restrictions) -> str:
    shortest, longest = restrictions.min_duration or 0, restrictions.max_duration
    if shortest and longest is not None:
        words = {"from": duration_words(shortest), "to": duration_words(longest)}
        return _("from %(from)s to %(to)s of the session") % words
    if shortest:
        return _("after %(time)s") % {"time": duration_words(shortest)}
    return _("in the first %(time)s") % {"time": duration_words(longest)} if longest is not None else ""


def _runs(days: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of neighbouring days."""
    first: int | None = None
    for number, day in enumerate(days):
        if first is None:
            first = day
        if number + 1 == len(days) or days[number + 1] != day + 1:
            yield first, day
            first = None


def _joint(first: int, last: int) -> str:
    return "–" if last - first > 1 else ", "
