"""What people enter about billing."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from apps.billing.selectors import months_to_bill
from apps.core.admin import SelectWidget


class StartForm(forms.Form):
    """Which month is billed: the last ones, the one that ended last first."""

    period = forms.TypedChoiceField(
        label=_("Month"),
        coerce=dt.date.fromisoformat,
        widget=SelectWidget,
        help_text=_("Late sessions of earlier months come with it. Base fees are billed once the month is over."),
    )

    def __init__(self, *args: Any, today: dt.date, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["period"].choices = months_to_bill(today)
