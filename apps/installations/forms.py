"""Forms of the back office's installation pages."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from apps.accounts.zones import zone_choices
from apps.core.admin import ReasonForm, SelectWidget, TextareaWidget, TextInputWidget
from apps.core.forms import DateTimeField
from apps.installations import hours
from apps.installations.imports import MAX_BYTES
from apps.installations.models import Connector, HardwareUnit, Location
from apps.installations.services import ConnectorSpec


class LocationForm(forms.ModelForm):
    time_zone = forms.ChoiceField(label=_("time zone"), choices=zone_choices, widget=SelectWidget)
    opening_hours = forms.CharField(
        label=_("Opening hours"),
        required=False,
        widget=TextareaWidget(attrs={"rows": 4}),
        help_text=_(
            "A line each, local time: 24/7 · Mon-Fri 08:00-18:00 · Sat 09:00-12:00, 13:00-17:00 · "
            "2026-12-24 08:00-12:00 · 2026-12-25 to 2026-12-26 closed. Empty: not known."
        ),
    )

    class Meta:
        model = Location
        fields = (
            *("name", "street", "postal_code", "city", "country", "latitude", "longitude", "time_zone"),
            *("opening_hours", "publish", "host", "seller", "unknown_cards"),
        )

    def clean_country(self) -> str:
        return str(self.cleaned_data["country"]).upper()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["opening_hours"] = hours.to_text(self.instance.opening_hours, ZoneInfo(self.instance.time_zone))

    def clean_opening_hours(self) -> hours.Hours:
        """In the zone chosen above; a wrong one has its own error."""
        try:
            zone = ZoneInfo(self.cleaned_data.get("time_zone", self.instance.time_zone))
            return hours.from_text(self.cleaned_data["opening_hours"], zone)
        except ValueError as wrong:
            raise ValidationError(str(wrong)) from wrong


class HardwareForm(ReasonForm):
    """Which unit hangs at a charger, and from when."""

    serial = forms.CharField(
        label=_("Serial number"),
        max_length=60,
        help_text=_("Of a unit that is listed under hardware units."),
        widget=TextInputWidget,
    )
    at = DateTimeField(
        label=_("From"),
        required=False,
        help_text=_("UTC, such as 2026-11-21 14:30. Empty: from now on."),
        widget=TextInputWidget,
    )
    unit: HardwareUnit

    def clean_serial(self) -> str:
        serial: str = self.cleaned_data["serial"].strip()
        found = list(HardwareUnit.objects.visible_to(self.request.actor).filter(serial=serial)[:2])
        if not found:
            raise ValidationError(_("There is no hardware unit of this serial number. Add it first."))
        if len(found) > 1:
            raise ValidationError(_("Several makers use this serial number. Give the units distinct numbers first."))
        self.unit = found[0]
        return serial


class ConnectorForm(ReasonForm):
    """A connector that a charger has and the inventory lacks."""

    number = forms.IntegerField(
        label=_("Connector number"),
        min_value=1,
        max_value=1000,
        help_text=_("connectorId of OCPP 1.6, from 1"),
        widget=TextInputWidget(attrs={"inputmode": "numeric"}),
    )
    standard = forms.ChoiceField(label=_("Plug"), choices=Connector.Standard.choices, widget=SelectWidget)
    format = forms.ChoiceField(label=_("Format"), choices=Connector.Format.choices, widget=SelectWidget)
    power_type = forms.ChoiceField(
        label=_("Current"),
        choices=Connector.PowerType.choices,
        initial=Connector.PowerType.AC_3,
        widget=SelectWidget,
    )
    max_power_w = forms.IntegerField(
        label=_("Maximum power (W)"),
        min_value=1000,
        max_value=4_000_000,
        initial=22_000,
        widget=TextInputWidget(attrs={"inputmode": "numeric"}),
    )

    def spec(self) -> ConnectorSpec:
        return ConnectorSpec(**{name: value for name, value in self.cleaned_data.items() if name != "why"})


class ImportForm(forms.Form):
    file = forms.FileField(label=_("CSV file"), help_text=_("At most 5 MB and 20,000 rows, in UTF-8."))

    def clean_file(self) -> Any:
        upload = self.cleaned_data["file"]
        if upload.size > MAX_BYTES:
            raise ValidationError(_("The file is larger than 5 MB. Split it."))
        return upload
