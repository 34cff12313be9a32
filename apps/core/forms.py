"""Fields of dates and instants that people mean: all forms take these, so that no door lets an impossible year in."""

from __future__ import annotations

from typing import Any

from django import forms

from apps.core.models import in_calendar


class DateField(forms.DateField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.validators.append(in_calendar)


class DateTimeField(forms.DateTimeField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.validators.append(in_calendar)
