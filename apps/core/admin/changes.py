"""What a form changed, and who is told: the site, which stands above the accounts and keeps the history."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from django import forms
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext


@dataclass(frozen=True)
class Changes:
    """What a form changed: field → value before, field → value after, as plain text and numbers."""

    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.before or self.after)


class History(Protocol):
    """The site's part in this: it stands above `accounts` and keeps the audit trail."""

    def record(
        self, request: HttpRequest, *, action: str, target: models.Model, changes: Changes, why: str = ""
    ) -> None: ...

    def history_of(self, request: HttpRequest, target: models.Model) -> Sequence[Any]: ...


def changes_of(form: Any, formsets: Iterable[Any]) -> Changes:
    """The changes of a saved admin form and its inlines. Children are named by model and key: `contact 7.phone`."""
    before, after = dict[str, Any](), dict[str, Any]()
    for prefix, one in [("", form), *_changed_children(formsets)]:
        for name in one.changed_data:
            if one.initial:
                before[f"{prefix}{name}"] = _told(one.fields[name], one.initial.get(name))
            after[f"{prefix}{name}"] = _told(one.fields[name], one.cleaned_data.get(name))
    for formset in formsets:
        for child in formset.deleted_objects:
            before[f"{child._meta.model_name} {child}"] = gettext("removed")
    return Changes(before, after)


def _changed_children(formsets: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    for formset in formsets:
        for form in formset.forms:
            if form.has_changed() and form not in formset.deleted_forms:
                yield f"{form.instance._meta.model_name} {form.instance.pk}.", form


def _told(form_field: forms.Field, value: Any) -> Any:
    if getattr(form_field.widget, "input_type", "") == "password":
        return gettext("(secret)") if value else ""
    if isinstance(form_field, forms.ModelChoiceField) and not isinstance(value, models.Model | None):
        found = form_field.queryset.filter(pk=value).first() if form_field.queryset is not None else None
        return plain(found if found is not None else value)
    return plain(value)


def plain(value: Any) -> Any:
    """`value` as the audit trail keeps it: JSON's own types as they are, a row by name and key, all else as text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, models.Model):
        return f"{value} ({value.pk})"
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset | models.QuerySet):
        return [plain(one) for one in value]
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    return str(value)
