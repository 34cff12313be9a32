"""Forms of the review queue."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django import forms
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from apps.charging.energy import KILO
from apps.charging.models import ReviewItem, Session
from apps.charging.services import Repair
from apps.core.admin import ReasonForm, SelectWidget, TextInputWidget


class RepairForm(ReasonForm):
    """Why a repair is made, and the one value that it may need: the meter at the start in kWh, or a session."""

    def __init__(self, *args: Any, request: HttpRequest, obj: ReviewItem, repair: Repair, **kwargs: Any) -> None:
        super().__init__(*args, request=request, obj=obj, **kwargs)
        if repair.needs == "meter_wh":
            self.fields["meter_kwh"] = forms.DecimalField(
                label=_("Meter at the start (kWh)"),
                min_value=0,
                max_value=Decimal(10**9),
                decimal_places=3,
                max_digits=13,
                widget=TextInputWidget(attrs={"inputmode": "decimal"}),
            )
        if repair.needs == "session":
            self.fields["session"] = SessionChoice(
                label=_("Session that it ends"),
                queryset=Session.objects.visible_to(request.actor)
                .filter(station=obj.station_id, ended_at=None)
                .exclude(state="void")
                .order_by("-started_at"),
                widget=SelectWidget,
                help_text=_("Sessions of the same charger that have no end."),
            )
        self.order_fields([*(name for name in self.fields if name != "why"), "why"])

    def values(self) -> dict[str, Any]:
        """What the repair takes besides the reason; the meter in Wh."""
        found = {name: value for name, value in self.cleaned_data.items() if name != "why"}
        if (meter := found.pop("meter_kwh", None)) is not None:
            found["meter_wh"] = int((meter * KILO).quantize(Decimal(1), rounding=ROUND_HALF_UP))
        return found


class SessionChoice(forms.ModelChoiceField):
    def label_from_instance(self, obj: Session) -> str:
        return (
            f"#{obj.connector_number} · {obj.started_at:%Y-%m-%d %H:%M} · {obj.uid or '–'} · {obj.get_state_display()}"
        )
