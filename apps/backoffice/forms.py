"""Forms of pages that join apps."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from apps.core.admin import SelectWidget, TextareaWidget, TextInputWidget, visible_rows
from apps.core.forms import DateTimeField
from apps.installations.models import Connector, Location, StationModel, identity_validator
from apps.installations.services import ConnectorSpec

CURRENT_A = {"AC_1_PHASE": 230, "AC_3_PHASE": 692, "DC": 400}


class AddStationForm(forms.Form):
    """Where a charger stands, how it names itself, and what it can do. `refused`: its identity is given."""

    location: forms.ModelChoiceField[Location] = forms.ModelChoiceField(
        label=_("Location"), queryset=None, empty_label=_("Choose one"), widget=SelectWidget
    )
    identity = forms.CharField(
        label=_("Identity"),
        max_length=48,
        validators=[identity_validator],
        help_text=_("How the charger names itself in OCPP, often its serial number. It becomes the end of its URL."),
        widget=TextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    name = forms.CharField(
        label=_("Name"),
        max_length=80,
        required=False,
        help_text=_("What people call it. Empty: its identity."),
        widget=TextInputWidget,
    )
    model: forms.ModelChoiceField[StationModel] = forms.ModelChoiceField(
        label=_("Model"), queryset=None, required=False, empty_label=_("not known yet"), widget=SelectWidget
    )
    connectors = forms.TypedChoiceField(
        label=_("Connectors"), coerce=int, choices=[(n, str(n)) for n in range(1, 9)], initial=1, widget=SelectWidget
    )
    standard = forms.ChoiceField(
        label=_("Plug"), choices=Connector.Standard.choices, initial=Connector.Standard.TYPE_2, widget=SelectWidget
    )
    power_type = forms.ChoiceField(
        label=_("Current"),
        choices=Connector.PowerType.choices,
        initial=Connector.PowerType.AC_3,
        widget=SelectWidget,
    )
    max_power_kw = forms.DecimalField(
        label=_("Power of a connector (kW)"),
        min_value=1,
        max_value=4000,
        decimal_places=1,
        initial=22,
        help_text=_("A meter that rises faster than this power allows is put to review."),
        widget=TextInputWidget(attrs={"inputmode": "decimal"}),
    )

    def __init__(self, *args: Any, request: HttpRequest, adopted: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["location"].queryset = visible_rows(Location, request).filter(archived_at=None).order_by("name")
        self.fields["model"].queryset = visible_rows(StationModel, request).order_by("vendor", "name")
        if adopted:
            # What it is, the charger says itself: its connectors are created as it reports them.
            for name in ("identity", "model", "connectors", "standard", "power_type", "max_power_kw"):
                del self.fields[name]

    def specs(self) -> list[ConnectorSpec]:
        """Equal connectors, as many as were asked for."""
        given = self.cleaned_data
        dc = given["power_type"] == Connector.PowerType.DC
        watts = int(given["max_power_kw"] * 1000)
        return [
            ConnectorSpec(
                number,
                standard=given["standard"],
                format=Connector.Format.CABLE if dc else Connector.Format.SOCKET,
                power_type=given["power_type"],
                max_voltage_v=400,
                max_current_a=max(watts // CURRENT_A[given["power_type"]], 1),
                max_power_w=watts,
            )
            for number in range(1, given["connectors"] + 1)
        ]


class NewKeyForm(forms.Form):
    """A new key for a charger, how long its old one still opens, and why."""

    overlap_h = forms.TypedChoiceField(
        label=_("The old key works on"),
        coerce=int,
        choices=[(0, _("not at all")), (1, _("for an hour")), (24, _("for a day")), (168, _("for a week"))],
        widget=SelectWidget,
    )
    why = forms.CharField(
        label=_("Why"),
        help_text=_("Kept with your name, for those who read the history later."),
        max_length=300,
        widget=TextareaWidget(attrs={"rows": 2}),
    )


class FrameFilter(forms.Form):
    """Which messages of a charger are shown. Times are those of the charger's place."""

    action = forms.CharField(label=_("Message"), max_length=50, required=False, widget=TextInputWidget)
    since = DateTimeField(
        label=_("From"), required=False, widget=TextInputWidget(attrs={"placeholder": "2026-11-21 14:30"})
    )
    until = DateTimeField(
        label=_("To"), required=False, widget=TextInputWidget(attrs={"placeholder": "2026-11-21 15:00"})
    )
