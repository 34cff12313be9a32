"""Forms of the tariff pages: the editor's rows, the example session, publishing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django import forms
from django.forms.formsets import BaseFormSet, formset_factory
from django.http import HttpRequest
from django.utils.dates import WEEKDAYS_ABBR
from django.utils.translation import gettext_lazy as _

from apps.core.admin import ReasonForm, SelectWidget, TextInputWidget, visible_rows
from apps.core.forms import DateField
from apps.installations.models import Location
from apps.tariffs.elements import (
    DAY_S,
    MAX_ELEMENTS,
    MAX_PRICE,
    PRICE_PLACES,
    WEEKDAYS,
    Dimension,
    Element,
    VatClass,
    read_element,
)

HOUR_S = 3600
# Steps and durations are typed in minutes and kWh; with four places, whole seconds and Wh survive the way and back.
STEP_PLACES = 4
EXAMPLE_YEARS = range(2000, 2100)  # far enough from the calendar's ends for every zone and length


def number_input(**attrs: str) -> Any:
    return TextInputWidget({"inputmode": "decimal", "autocomplete": "off", **attrs})


def price_field(label: Any) -> forms.DecimalField:
    return forms.DecimalField(
        label=label,
        required=False,
        min_value=0,
        max_value=MAX_PRICE,
        decimal_places=PRICE_PLACES,
        localize=True,
        widget=number_input(),
    )


def step_field(label: Any) -> forms.DecimalField:
    return forms.DecimalField(
        label=label,
        required=False,
        min_value=0,
        max_value=100_000,
        decimal_places=STEP_PLACES,
        localize=True,
        widget=number_input(),
    )


def vat_field() -> forms.ChoiceField:
    return forms.ChoiceField(label=_("VAT"), choices=VatClass.choices, initial=VatClass.STANDARD, widget=SelectWidget)


class ElementForm(forms.Form):
    """One row of the editor: when it holds, and its prices. An empty price is none; 0 is free of charge."""

    days = forms.MultipleChoiceField(
        label=_("Days"),
        required=False,
        choices=[(name, WEEKDAYS_ABBR[number]) for number, name in enumerate(WEEKDAYS)],
        widget=forms.CheckboxSelectMultiple,
    )
    start_time = forms.TimeField(label=_("From"), required=False, widget=TextInputWidget({"type": "time"}))
    end_time = forms.TimeField(label=_("To"), required=False, widget=TextInputWidget({"type": "time"}))
    first_day = DateField(label=_("First day"), required=False, widget=TextInputWidget({"type": "date"}))
    last_day = DateField(label=_("Last day"), required=False, widget=TextInputWidget({"type": "date"}))
    after = step_field(_("After (min)"))
    until = step_field(_("Until (min)"))
    energy_price = price_field(_("Energy, per kWh"))
    energy_step = step_field(_("Step (kWh)"))
    energy_vat = vat_field()
    time_price = price_field(_("Charging time, per hour"))
    time_step = step_field(_("Step (min)"))
    time_vat = vat_field()
    parking_price = price_field(_("Parking after charging, per hour"))
    parking_step = step_field(_("Step (min)"))
    parking_vat = vat_field()
    fee_price = price_field(_("Fee, per session"))
    fee_vat = vat_field()

    # Prefix of its fields → dimension and what one unit of its step is in the tariff.
    KINDS: ClassVar[dict[str, tuple[Dimension, int]]] = {
        "energy": (Dimension.ENERGY, 1000),
        "time": (Dimension.TIME, 60),
        "parking": (Dimension.PARKING_TIME, 60),
        "fee": (Dimension.FLAT, 0),
    }

    WHEN: ClassVar[tuple[str, ...]] = ("start_time", "end_time", "first_day", "last_day", "after", "until")

    def when_fields(self) -> list[Any]:
        """The fields that say when it holds, after the days."""
        return [self[name] for name in self.WHEN]

    def prices(self) -> list[list[Any]]:
        """Price, step and VAT of each kind; a fee has no step."""
        return [
            [self[f"{name}_{part}"] for part in ("price", "step", "vat") if f"{name}_{part}" in self.fields]
            for name in self.KINDS
        ]

    def clean(self) -> dict[str, Any]:
        """The same checks that a published tariff passes, told at this row."""
        super().clean()
        if not self.errors and not self.cleaned_data.get("DELETE"):
            read_element(self.element())
        return self.cleaned_data

    def element(self) -> dict[str, Any]:
        """The row as OCPI writes it."""
        given = self.cleaned_data
        restrictions: dict[str, Any] = {}
        if given["days"]:
            restrictions["day_of_week"] = given["days"]
        for name in ("start_time", "end_time"):
            if given[name] is not None:
                restrictions[name] = f"{given[name]:%H:%M}"
        if given["first_day"] is not None:
            restrictions["start_date"] = given["first_day"].isoformat()
        if given["last_day"] is not None:
            restrictions["end_date"] = (given["last_day"] + dt.timedelta(days=1)).isoformat()
        for name, told in (("after", "min_duration"), ("until", "max_duration")):
            if given[name]:
                restrictions[told] = round(given[name] * 60)
        prices = [self._component(name) for name in self.KINDS if given[f"{name}_price"] is not None]
        element: dict[str, Any] = {"price_components": prices}
        return {**element, "restrictions": restrictions} if restrictions else element

    def _component(self, name: str) -> dict[str, Any]:
        dimension, unit = self.KINDS[name]
        step = self.cleaned_data.get(f"{name}_step")
        return {
            "type": dimension.value,
            "price": f"{self.cleaned_data[f'{name}_price'].normalize():f}",
            "step_size": round(step * unit) if step else 1,
            "vat_class": self.cleaned_data[f"{name}_vat"],
        }


def initial_of(element: Element) -> dict[str, Any]:
    """What the editor's row shows of an element."""
    one = element.restrictions
    found: dict[str, Any] = {
        "days": [WEEKDAYS[day] for day in sorted(one.days)],
        "start_time": _clock(one.start_s),
        "end_time": _clock(one.end_s),
        "first_day": one.start_date and one.start_date.isoformat(),
        "last_day": one.end_date and (one.end_date - dt.timedelta(days=1)).isoformat(),
        "after": _units(one.min_duration, 60),
        "until": _units(one.max_duration, 60),
    }
    for name, (dimension, unit) in ElementForm.KINDS.items():
        component = element.component(dimension)
        if component is not None:
            found |= {f"{name}_price": _price(component.price), f"{name}_vat": component.vat_class}
            found[f"{name}_step"] = _units(component.step, unit) if component.step > 1 and unit else None
    return found


def _clock(second: int | None) -> str | None:
    return None if second is None else f"{second % DAY_S // 3600:02}:{second % HOUR_S // 60:02}"


def _units(value: int | None, unit: int) -> Decimal | None:
    return _plain(round(Decimal(value) / unit, STEP_PLACES)) if value else None


def _price(value: Decimal) -> Decimal:
    """With two places at least."""
    cents = value.quantize(Decimal("0.01"))
    return cents if cents == value else _plain(value)


def _plain(value: Decimal) -> Decimal:
    """Without trailing zeros and without an exponent."""
    return Decimal(f"{value.normalize():f}")


class ElementFormSet(BaseFormSet):
    """The editor's rows in their order."""

    def elements(self) -> list[dict[str, Any]]:
        return [form.element() for form in self.ordered_forms]


ElementRows = formset_factory(
    ElementForm,
    formset=ElementFormSet,
    extra=0,
    can_order=True,
    can_delete=True,
    max_num=MAX_ELEMENTS,
    validate_max=True,
    absolute_max=MAX_ELEMENTS + 10,
)


class DraftForm(forms.Form):
    """What holds for the whole version."""

    fee_after_minutes = forms.IntegerField(
        label=_("No fee below (minutes)"),
        min_value=0,
        max_value=1440,
        initial=0,
        help_text=_("A session without energy that is shorter pays no fee."),
        widget=TextInputWidget({"inputmode": "numeric"}),
    )


class ExampleForm(forms.Form):
    """A session to price. `place` decides zone and VAT."""

    place: forms.ModelChoiceField[Location] = forms.ModelChoiceField(
        label=_("At"), queryset=None, required=False, empty_label=None, widget=SelectWidget
    )
    start = forms.DateTimeField(
        label=_("Start"),
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"],
        widget=TextInputWidget({"type": "datetime-local"}),
    )
    energy_kwh = forms.DecimalField(
        label=_("Energy (kWh)"),
        min_value=0,
        max_value=10_000,
        decimal_places=3,
        initial=30,
        localize=True,
        widget=number_input(),
    )
    charging_min = forms.IntegerField(
        label=_("Charging (min)"), min_value=0, max_value=10_080, initial=90, widget=TextInputWidget
    )
    parking_min = forms.IntegerField(
        label=_("Parking after it (min)"), min_value=0, max_value=10_080, initial=60, widget=TextInputWidget
    )

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        places = visible_rows(Location, request).filter(archived_at=None).order_by("name")
        self.fields["place"].queryset = places

    def clean_start(self) -> dt.datetime:
        """By the clock of the place, which is known only below."""
        start: dt.datetime = self.cleaned_data["start"]
        if start.year not in EXAMPLE_YEARS:
            raise forms.ValidationError(
                _("Choose a day between %(first)d and %(last)d."),
                params={"first": EXAMPLE_YEARS[0], "last": EXAMPLE_YEARS[-1]},
            )
        return start.replace(tzinfo=None)

    def start_at(self, zone: str) -> dt.datetime:
        start: dt.datetime = self.cleaned_data["start"].replace(tzinfo=ZoneInfo(zone))
        return start.astimezone(dt.UTC)


class PublishForm(ReasonForm):
    """From when a draft holds, and why."""

    valid_from = DateField(
        label=_("Valid from"),
        help_text=_("A local date: sessions that start on it or later have these prices."),
        widget=TextInputWidget({"type": "date"}),
    )


class RenameForm(ReasonForm):
    """Another name."""

    name = forms.CharField(label=_("Name"), max_length=120, widget=TextInputWidget)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].initial = self.obj.name


def rows_from(elements: Sequence[Element]) -> list[dict[str, Any]]:
    """Where the editor begins: the rows that there are, or one that prices energy."""
    return [initial_of(one) for one in elements] or [{"energy_price": None}]
