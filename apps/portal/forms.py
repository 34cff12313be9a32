"""What a fleet manager fills in about the organisation's people."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import Membership, Organisation
from apps.accounts.permissions import Role
from apps.accounts.selectors import grantable_roles, managed_organisations
from apps.core.actor import Actor

# What each role of an organisation may do, for whoever gives it.
MEANING = {
    Role.MANAGER: _("sees everything of the organisation and invites people"),
    Role.ORG_FINANCE: _("sees locations, chargers, cards and sessions"),
    Role.ORG_VIEWER: _("sees locations, chargers and sessions"),
    Role.DRIVER: _("sees the sessions of own cards"),
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


class WhyForm(forms.Form):
    """The reason for something that others read about later."""

    why = forms.CharField(
        label=_("Why"), help_text=_("One sentence for those who read the history later."), max_length=300
    )
