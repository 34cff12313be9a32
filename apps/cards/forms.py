"""Forms of the back office's card pages."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from apps.accounts.selectors import operator_today
from apps.cards.models import TokenContract
from apps.cards.services import Binding
from apps.contracts.models import Contract
from apps.core.admin import ReasonForm, SelectWidget, TextInputWidget, visible_rows
from apps.core.forms import DateField
from apps.installations.models import Location


def date_input() -> Any:
    """The browser's own calendar."""
    return TextInputWidget({"type": "date"})


class ShipForm(ReasonForm):
    """What is known of a card once it is made."""

    uid = forms.CharField(
        label=_("UID"),
        max_length=36,
        help_text=_("As the reader shows it; separators and case do not matter."),
        widget=TextInputWidget({"autocomplete": "off", "spellcheck": "false"}),
    )
    visual_number = forms.CharField(label=_("Printed number"), max_length=64, required=False, widget=TextInputWidget)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["why"].required = False
        self.fields["why"].label = _("Note")


class BindForm(ReasonForm):
    """A contract, from one day to another."""

    contract: forms.ModelChoiceField[Contract] = forms.ModelChoiceField(
        label=_("Contract"), queryset=None, empty_label=_("Choose one"), widget=SelectWidget
    )
    valid_from = DateField(
        label=_("First day"),
        help_text=_("It may be past: sessions that wait for a contract are priced then."),
        widget=date_input(),
    )
    valid_to = DateField(
        label=_("Last day"), required=False, help_text=_("Empty: without an end."), widget=date_input()
    )
    replacing = forms.BooleanField(
        label=_("What a card is bound to until then ends the day before"), required=False, initial=True
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        today = operator_today(self.request.actor.operator_id)
        contracts = visible_rows(Contract, self.request).select_related("account").order_by("number")
        self.fields["contract"].queryset = contracts
        self.fields["contract"].label_from_instance = lambda one: f"{one} · {one.account}"
        self.fields["valid_from"].initial = today

    def binding(self) -> Binding:
        return Binding(**{name: value for name, value in self.cleaned_data.items() if name != "why"})

    def digest(self) -> str:
        """What was looked at in a preview."""
        binding = self.binding()
        return f"{binding.contract.pk} {binding.valid_from} {binding.valid_to} {binding.replacing}"


class UnbindForm(ReasonForm):
    """The last day of a period on a contract."""

    assignment: forms.ModelChoiceField[TokenContract] = forms.ModelChoiceField(
        label=_("Contract"), queryset=None, empty_label=None, widget=SelectWidget
    )
    last_day = DateField(
        label=_("Last day"),
        help_text=_("A day before its first one takes back a period that has not begun."),
        widget=date_input(),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rows = visible_rows(TokenContract, self.request).filter(token=self.obj).select_related("contract")
        self.fields["assignment"].queryset = rows.order_by("-valid_from")
        self.fields["assignment"].label_from_instance = lambda one: f"{one.contract} ({one.valid_from:%Y-%m-%d} –)"
        self.fields["last_day"].initial = operator_today(self.request.actor.operator_id)


class PriceForm(forms.Form):
    """Where and when a card would charge."""

    place: forms.ModelChoiceField[Location] = forms.ModelChoiceField(
        label=_("At"), queryset=None, empty_label=None, widget=SelectWidget
    )
    on = DateField(label=_("On"), widget=date_input())

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["place"].queryset = visible_rows(Location, request).filter(archived_at=None).order_by("name")

    def noon(self) -> dt.datetime:
        """Noon of the day at the place."""
        zone = ZoneInfo(self.cleaned_data["place"].time_zone)
        return dt.datetime.combine(self.cleaned_data["on"], dt.time(12), zone)
