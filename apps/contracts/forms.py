"""Forms of the back office's contract pages."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from apps.contracts.models import Contract
from apps.core.admin import ReasonForm, SelectWidget, TextInputWidget, visible_rows
from apps.core.forms import DateField
from apps.tariffs.models import Tariff


def fee_field() -> forms.DecimalField:
    return forms.DecimalField(
        label=_("Base fee a month, net"),
        min_value=0,
        max_digits=12,
        decimal_places=2,
        initial=0,
        localize=True,
        widget=TextInputWidget({"inputmode": "decimal"}),
    )


class ContractForm(forms.ModelForm):
    """A new contract with its first terms."""

    tariff: forms.ModelChoiceField[Tariff] = forms.ModelChoiceField(
        label=_("Tariff"), queryset=Tariff.objects.none(), widget=SelectWidget
    )
    base_fee = fee_field()

    class Meta:
        model = Contract
        fields = ("account", "number", "name", "currency", "starts_on", "ends_on")


class TermsForm(ReasonForm):
    """Other terms from a day on."""

    valid_from = DateField(
        label=_("Valid from"),
        help_text=_("Today or later: what was charged before keeps its terms."),
        widget=TextInputWidget({"type": "date"}),
    )
    tariff: forms.ModelChoiceField[Tariff] = forms.ModelChoiceField(
        label=_("Tariff"), queryset=None, widget=SelectWidget
    )
    base_fee = fee_field()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        tariffs = visible_rows(Tariff, self.request).filter(archived_at=None, currency=self.obj.currency)
        self.fields["tariff"].queryset = tariffs.order_by("name")


class EndForm(ReasonForm):
    """The last day of a contract."""

    last_day = DateField(
        label=_("Last day"),
        required=False,
        help_text=_("Empty: it goes on without an end."),
        widget=TextInputWidget({"type": "date"}),
    )
