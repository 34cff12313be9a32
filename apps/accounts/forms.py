"""What people type about themselves."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.password_validation import password_validators_help_texts
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import LANGUAGES

FOLLOW_BROWSER = ("", _("as the browser asks"))


class ProfileForm(forms.Form):
    """A person's own name and language."""

    name = forms.CharField(
        label=_("Your name"), max_length=120, required=False, widget=forms.TextInput({"autocomplete": "name"})
    )
    language = forms.ChoiceField(label=_("Language"), choices=[FOLLOW_BROWSER, *LANGUAGES], required=False)


class NewPersonForm(ProfileForm):
    """A person who follows an invitation and has no account yet."""

    password = forms.CharField(
        label=_("Password"), strip=False, widget=forms.PasswordInput({"autocomplete": "new-password"})
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password"].help_text = " ".join(password_validators_help_texts())
