"""A tariff's elements as OCPI writes them (2.2.1, 11.4.4 to 11.4.6), read and checked into plain data.

Prices are text in JSON (`"0.49"`), so that nothing turns them into floats. Our one addition is `vat_class` on a price
component: rates belong to countries and dates, not to tariffs.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

DAY_S = 86_400
MAX_ELEMENTS = 50
MAX_PRICE = Decimal(100_000)
PRICE_PLACES = 6
MAX_STEP = 1_000_000
WEEKDAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
_TIME = re.compile(r"([0-1][0-9]|2[0-3]):([0-5][0-9])")


class Dimension(models.TextChoices):
    """What is priced (OCPI TariffDimensionType)."""

    ENERGY = "ENERGY", gettext_lazy("energy")
    TIME = "TIME", gettext_lazy("charging time")
    PARKING_TIME = "PARKING_TIME", gettext_lazy("parking time")
    FLAT = "FLAT", gettext_lazy("fee")


class VatClass(models.TextChoices):
    """Which of a country's rates a price has."""

    STANDARD = "standard", gettext_lazy("standard")
    REDUCED = "reduced", gettext_lazy("reduced")


@dataclass(frozen=True, slots=True)
class Component:
    """A price a kWh, an hour, or a session, net. `step` is Wh or seconds."""

    dimension: Dimension
    price: Decimal
    step: int
    vat_class: str


@dataclass(frozen=True, slots=True)
class Restrictions:
    """When an element holds, on the clock of the place. None is no restriction.

    `start_s` and `end_s` are seconds of the local day; where the end lies before the start, the window goes over
    midnight. `days` are 0 for Monday to 6. `start_date` is in, `end_date` is out. Durations are seconds since the
    session's start: at least `min_duration`, less than `max_duration`.
    """

    start_s: int | None = None
    end_s: int | None = None
    days: frozenset[int] = frozenset()
    start_date: dt.date | None = None
    end_date: dt.date | None = None
    min_duration: int | None = None
    max_duration: int | None = None

    @property
    def any(self) -> bool:
        return self != UNRESTRICTED

    @property
    def by_clock(self) -> bool:
        """Whether it depends on the local clock or calendar."""
        return bool(self.days) or any(
            value is not None for value in (self.start_s, self.end_s, self.start_date, self.end_date)
        )

    def hold_on_clock(self, day: dt.date, second: int) -> bool:
        """Whether they hold at this second of this local day, apart from durations."""
        if self.days and day.weekday() not in self.days:
            return False
        if self.start_date is not None and day < self.start_date:
            return False
        if self.end_date is not None and day >= self.end_date:
            return False
        start, end = self.start_s or 0, DAY_S if self.end_s is None else self.end_s
        return start <= second < end if start < end else second >= start or second < end


UNRESTRICTED = Restrictions()


@dataclass(frozen=True, slots=True)
class Element:
    """Prices that hold under the same restrictions, one a dimension at most."""

    components: tuple[Component, ...]
    restrictions: Restrictions = field(default=UNRESTRICTED)

    def component(self, dimension: Dimension) -> Component | None:
        return next((one for one in self.components if one.dimension == dimension), None)


def read(elements: Any) -> tuple[Element, ...]:
    """The elements of a tariff. Raises ValidationError with one message a fault, each naming its element."""
    if not isinstance(elements, list) or not elements:
        raise ValidationError(_("A tariff needs at least one price."))
    if len(elements) > MAX_ELEMENTS:
        raise ValidationError(_("A tariff has at most %(count)d elements.") % {"count": MAX_ELEMENTS})
    found, faults = [], []
    for number, element in enumerate(elements, 1):
        try:
            found.append(read_element(element))
        except ValidationError as fault:
            faults += [
                ValidationError(_("Element %(number)d: %(fault)s") % {"number": number, "fault": message})
                for message in fault.messages
            ]
    if faults:
        raise ValidationError(faults)
    return tuple(found)


def faults_of_publication(elements: Sequence[Element]) -> list[str]:
    """Why a tariff with these elements must not be published: there is an instant for which it says nothing."""
    if all(one.restrictions.any for one in elements):
        return [_("The tariff needs a price that always holds, as the last one: without it, some instants have none.")]
    return []


def warnings_of(elements: Sequence[Element]) -> list[str]:
    """What its author may not have meant: prices that never apply, and dimensions that are free at times."""
    warnings = []
    for dimension in Dimension:
        closed_by = None
        for number, element in enumerate(elements, 1):
            if element.component(dimension) is None:
                continue
            if closed_by is not None:
                words = {"number": number, "dimension": dimension.label, "other": closed_by}
                warnings.append(
                    _("Element %(number)d: its price of %(dimension)s never applies, element %(other)d always does.")
                    % words
                )
            elif not element.restrictions.any:
                closed_by = number
        priced = any(element.component(dimension) for element in elements)
        if priced and closed_by is None:
            warnings.append(
                _("Outside of the times given, there is no price of %(dimension)s.") % {"dimension": dimension.label}
            )
    return warnings


# --- reading the JSON -------------------------------------------------------------------------------------------------


def read_element(element: Any) -> Element:
    """One element. Raises ValidationError."""
    _refuse_unknown(element, {"price_components", "restrictions"})
    components = element.get("price_components")
    if not isinstance(components, list) or not components:
        raise ValidationError(_("It has no price."))
    found = tuple(_component(one) for one in components)
    if len({one.dimension for one in found}) < len(found):
        raise ValidationError(_("It has two prices of one kind."))
    return Element(found, _restrictions(element.get("restrictions") or {}))


def _component(component: Any) -> Component:
    _refuse_unknown(component, {"type", "price", "step_size", "vat_class"})
    try:
        dimension = Dimension(component.get("type"))
    except ValueError:
        raise ValidationError(_("“%(type)s” is no kind of price.") % {"type": component.get("type")}) from None
    vat_class = component.get("vat_class", VatClass.STANDARD)
    if vat_class not in VatClass.values:
        raise ValidationError(_("“%(vat_class)s” is no VAT class.") % {"vat_class": vat_class})
    step = component.get("step_size", 1)
    if not isinstance(step, int) or isinstance(step, bool) or not 1 <= step <= MAX_STEP:
        raise ValidationError(_("A step is a whole number from 1 to %(most)d.") % {"most": MAX_STEP})
    return Component(dimension, _price(component.get("price")), step, vat_class)


def _price(value: Any) -> Decimal:
    try:
        price = Decimal(value if isinstance(value, str | int) else "")
    except InvalidOperation:
        raise ValidationError(_("“%(price)s” is no price.") % {"price": value}) from None
    if not price.is_finite() or not 0 <= price <= MAX_PRICE:
        raise ValidationError(_("A price is from 0 to %(most)s.") % {"most": MAX_PRICE})
    if price != round(price, PRICE_PLACES):
        raise ValidationError(_("A price has at most %(places)d decimal places.") % {"places": PRICE_PLACES})
    return price


def _restrictions(given: Any) -> Restrictions:
    names = {"start_time", "end_time", "day_of_week", "start_date", "end_date", "min_duration", "max_duration"}
    _refuse_unknown(given, names)
    found = Restrictions(
        start_s=_second(given, "start_time"),
        end_s=_second(given, "end_time"),
        days=_days(given.get("day_of_week", [])),
        start_date=_date(given, "start_date"),
        end_date=_date(given, "end_date"),
        min_duration=_duration(given, "min_duration"),
        max_duration=_duration(given, "max_duration"),
    )
    for message in _contradictions(found):
        raise ValidationError(message)
    return found


def _contradictions(found: Restrictions) -> Iterator[str]:
    if found.start_s is not None and found.start_s == found.end_s:
        yield _("The window ends when it begins. Leave both times out for the whole day.")
    if found.start_date is not None and found.end_date is not None and found.start_date >= found.end_date:
        yield _("Its last day lies before its first.")
    if found.max_duration is not None and found.max_duration <= (found.min_duration or 0):
        yield _("Its longest duration is not above its shortest.")


def _second(given: Mapping[str, Any], name: str) -> int | None:
    """Of the local day; 00:00 as an end is the end of the day (OCPI 2.2.1, 11.4.6)."""
    value = given.get(name)
    if value is None:
        return None
    matched = _TIME.fullmatch(value) if isinstance(value, str) else None
    if matched is None:
        raise ValidationError(_("Write a time as HH:MM, such as 08:30."))
    second = int(matched[1]) * 3600 + int(matched[2]) * 60
    return DAY_S if name == "end_time" and second == 0 else second


def _days(value: Any) -> frozenset[int]:
    if not isinstance(value, list) or not all(day in WEEKDAYS for day in value):
        raise ValidationError(_("Days are MONDAY to SUNDAY."))
    return frozenset(WEEKDAYS.index(day) for day in value)


def _date(given: Mapping[str, Any], name: str) -> dt.date | None:
    value = given.get(name)
    if value is None:
        return None
    try:
        return dt.date.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValidationError(_("Write a date as YYYY-MM-DD.")) from None


def _duration(given: Mapping[str, Any], name: str) -> int | None:
    value = given.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 366 * DAY_S:
        raise ValidationError(_("A duration is a whole number of seconds."))
    return value


def _refuse_unknown(given: Any, known: set[str]) -> None:
    if not isinstance(given, dict):
        raise ValidationError(_("It is no object."))
    for name in given.keys() - known:
        raise ValidationError(_("“%(name)s” is not supported.") % {"name": name})


def price_fraction(component: Component) -> Fraction:
    """The price of one Wh, one second, or one session."""
    units = {Dimension.ENERGY: 1000, Dimension.FLAT: 1}
    return Fraction(component.price) / units.get(component.dimension, 3600)
