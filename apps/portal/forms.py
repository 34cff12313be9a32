"""What a fleet manager fills in: who is invited, which cards are ordered, what a report is about, and why."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

from django import forms
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import Membership, Organisation
from apps.accounts.permissions import Role
from apps.accounts.selectors import grantable_roles, managed_organisations
from apps.core.actor import Actor
from apps.portal.selectors import ordering_organisations, possible_holders
from apps.reports.selectors import GROUPINGS

# What each role of an organisation may do, for whoever gives it.
MEANING = {
    Role.MANAGER: _("sees everything of the organisation, orders and blocks cards, and invites people"),
    Role.ORG_FINANCE: _("sees locations, chargers, cards, sessions and what they cost, the report and invoices"),
    Role.ORG_VIEWER: _("sees locations, chargers and sessions"),
    Role.DRIVER: _("sees the sessions of own cards, each with its receipt"),
}


class InviteForm(forms.Form):
    """Who is invited, as what; and where, if the actor looks after several organisations."""

    email = forms.EmailField(label=_("E-mail"), max_length=254, widget=forms.EmailInput({"autocomplete": "off"}))
    organisation = forms.ModelChoiceField(
        label=_("Organisation"), queryset=Organisation.objects.none(), to_field_name="public_id", empty_label=None
    )
    role = forms.ChoiceField(label=_("Role"), widget=forms.RadioSelect)

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.actor = actor
        self.organisations = managed_organisations(actor)
        own = list(self.organisations)
        if len(own) == 1:
            del self.fields["organisation"]
        else:
            self.fields["organisation"].queryset = self.organisations
        offered = [
            role for role in MEANING if any(role in grantable_roles(actor, organisation_id=one.pk) for one in own)
        ]
        self.fields["role"].choices = [(role.value, f"{role.label} – {MEANING[role]}") for role in offered]

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"]
        return email.strip().lower()

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        organisation = cleaned.setdefault("organisation", self.organisations.first())
        held = Membership.objects.visible_to(self.actor).current()
        if held.filter(user__email=cleaned.get("email"), role=cleaned.get("role"), organisation=organisation).exists():
            self.add_error("email", _("This person has the role already."))
        return cleaned


class CardOrderForm(forms.Form):
    """How many cards, where to, and for each a name and a driver. There are as many rows as were shown (`rows`); where
    `count` says another number, the form is shown again with so many, and keeps what is written."""

    MOST = 50

    organisation = forms.ModelChoiceField(
        label=_("Organisation"), queryset=Organisation.objects.none(), to_field_name="public_id", empty_label=None
    )
    count = forms.IntegerField(label=_("How many cards?"), min_value=1, max_value=MOST, initial=1)
    rows = forms.IntegerField(widget=forms.HiddenInput, min_value=1, max_value=MOST, initial=1)
    address = forms.CharField(
        label=_("Delivery address"),
        max_length=500,
        widget=forms.Textarea({"rows": 4, "autocomplete": "street-address"}),
        help_text=_("Name, street, postal code, town, country."),
    )
    note = forms.CharField(
        label=_("Note to the operator"), max_length=300, required=False, help_text=_("You may leave it empty.")
    )

    def __init__(self, data: Any = None, *, actor: Actor, rows: int | None = None) -> None:
        super().__init__(data)
        self.actor = actor
        self.organisations = ordering_organisations(actor)
        self.people = {str(one.public_id): one for one in possible_holders(actor)}
        self.row_count = rows or self._number("rows")
        if len(self.organisations) == 1:
            del self.fields["organisation"]
        else:
            self.fields["organisation"].queryset = self.organisations
        choices = [("", _("nobody yet")), *((key, one.get_full_name()) for key, one in self.people.items())]
        for number in range(1, self.row_count + 1):
            self.fields[f"label_{number}"] = forms.CharField(
                label=_("Name of card %(number)d") % {"number": number}, max_length=80, required=False
            )
            self.fields[f"holder_{number}"] = forms.ChoiceField(
                label=_("Driver of card %(number)d") % {"number": number}, choices=choices, required=False
            )

    @property
    def is_resized(self) -> bool:
        """Whether other rows are asked for than there are, which is no order yet."""
        return self.is_bound and ("resize" in self.data or self._number("count") != self.row_count)

    def shown(self) -> CardOrderForm:
        """The form as the page shows it: with a row for each card that is asked for."""
        if not self.is_resized:
            return self
        wanted = self._number("count")
        written = {name: value for name, value in self.data.items() if name in self.fields}
        again = CardOrderForm(actor=self.actor, rows=wanted)
        again.initial = {**written, "rows": wanted, "count": wanted}
        return again

    @property
    def card_rows(self) -> list[tuple[forms.BoundField, forms.BoundField]]:
        """Name and driver of each card."""
        return [(self[f"label_{number}"], self[f"holder_{number}"]) for number in range(1, self.row_count + 1)]

    def order(self) -> dict[str, Any]:
        """What `cards.services.order_tokens` takes."""
        told = self.cleaned_data
        return {
            "organisation": told.get("organisation") or self.organisations[0],
            "cards": [
                {"label": told[f"label_{number}"], "holder": self.people.get(told[f"holder_{number}"])}
                for number in range(1, self.row_count + 1)
            ],
            "address": told["address"],
            "why": told["note"],
        }

    def _number(self, name: str) -> int:
        """How many a field asks for, between 1 and the most, whatever was sent."""
        try:
            told = int(self.data.get(name, "1"))
        except ValueError:
            return 1
        return min(max(told, 1), self.MOST)


class ReportForm(forms.Form):
    """Which month, grouped by what. Months are written as 2026-11 in the URL; any is answered, the last two years are
    offered."""

    OFFERED = 24

    month = forms.ChoiceField(label=_("Month"), required=False)
    by = forms.ChoiceField(
        label=_("Grouped by"),
        choices=[("card", _("card")), ("driver", _("driver")), ("charger", _("charger"))],
        required=False,
    )

    def __init__(self, data: Any, *, today: dt.date) -> None:
        asked = data.get("month", "")
        self.month_shown = _first_day(asked) or today.replace(day=1)
        self.grouping = data.get("by", "") if data.get("by") in GROUPINGS else GROUPINGS[0]
        super().__init__({"month": f"{self.month_shown:%Y-%m}", "by": self.grouping})
        offered = [self.month_shown] if self.month_shown > today else []
        month = today.replace(day=1)
        for _number in range(self.OFFERED):
            offered.append(month)
            month = (month - dt.timedelta(days=1)).replace(day=1)
        if self.month_shown not in offered:
            offered.append(self.month_shown)
        # Translators: Django's date format characters.
        pattern = gettext("F Y")
        self.fields["month"].choices = [(f"{one:%Y-%m}", date_format(one, pattern)) for one in offered]


class WhyForm(forms.Form):
    """The reason for something that others read about later."""

    why = forms.CharField(
        label=_("Why"), help_text=_("One sentence for those who read the history later."), max_length=300
    )


_MONTH = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])", re.ASCII)


def _first_day(month: str) -> dt.date | None:
    """2026-11 → 1 November 2026; None for anything else."""
    found = _MONTH.fullmatch(month)
    return dt.date(int(found[1]), int(found[2]), 1) if found else None
