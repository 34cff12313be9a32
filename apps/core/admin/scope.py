"""Reads through the actor: querysets, forms and filters that know no other tenant."""

from __future__ import annotations

import re
from typing import Any, ClassVar, cast

from django import forms
from django.contrib.admin.exceptions import NotRegistered
from django.contrib.admin.views.main import SEARCH_VAR
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext, gettext_lazy
from unfold.contrib.filters.admin import DropdownFilter, RelatedDropdownFilter

from apps.core.models import FIRST_YEAR, LAST_YEAR, ArchivableModel, TenantModel

MAX_DIGITS = 18  # of a bigint
_YEAR = re.compile(r"\d{1,5}", re.ASCII)
_PARTS_OF_YEAR = ("__month", "__day")


def visible_rows(model: type[models.Model], request: HttpRequest) -> models.QuerySet[Any]:
    """The rows of `model` that the request's actor sees; of models without a tenant, all for platform staff alone."""
    rows = model.objects
    if hasattr(rows, "visible_to"):
        return cast("models.QuerySet[Any]", rows.visible_to(request.actor))
    return cast("models.QuerySet[Any]", rows.all() if request.actor.platform else rows.none())


class Owned:
    """Mixed into every model form: a new row belongs to the actor's operator before anything is checked, and one that
    is there keeps what it refers to, also where that has left the choices."""

    for_request: ClassVar[HttpRequest]
    refusal: ClassVar[ValidationError | None] = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        instance = self.instance
        if not isinstance(instance, TenantModel):
            return
        if instance._state.adding:
            instance.operator_id = self.for_request.actor.operator_id
        else:
            self._offer_what_is_chosen(instance)

    def _offer_what_is_chosen(self, instance: TenantModel) -> None:
        """Else what was archived since, or a person without a role by now, shows as empty and is saved as none."""
        for field in instance._meta.concrete_fields:
            choice = self.fields.get(field.name)
            chosen = getattr(instance, field.attname)
            if isinstance(choice, forms.ModelChoiceField) and choice.queryset is not None and chosen is not None:
                choice.queryset = choice.queryset | _chosen(choice.queryset.model, chosen, self.for_request)

    def _get_validation_exclusions(self) -> set[str]:
        # Django checks no constraint that names a field outside the form; ours name the operator and rows in use.
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded - {"operator", "archived_at"}

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if self.refusal is not None:
            add_refusal(self, self.refusal)


def _chosen(model: type[models.Model], key: Any, request: HttpRequest) -> models.QuerySet[Any]:
    """One row. A person is no tenant's: there the row that names them was scoped."""
    rows = visible_rows(model, request) if issubclass(model, TenantModel) else model._default_manager.all()
    return rows.filter(pk=key)


def owned(form: type[forms.BaseModelForm[Any]], request: HttpRequest) -> type[forms.BaseModelForm[Any]]:
    attributes = {"for_request": request, "refusal": getattr(request, "refusal", None)}
    return type(form.__name__, (Owned, form), attributes)


def add_refusal(form: Any, refusal: ValidationError) -> None:
    """A service's refusal beside the field it names, if the form has it; else above all."""
    for name, errors in refusal.update_error_dict({}).items():
        form.add_error(name if name in form.fields else None, errors)


def is_answerable(name: str, value: str, date_hierarchy: str | None) -> bool:
    """Whether the database can be asked a list's parameter: ids that fit a column, dates that stay inside the calendar
    when they are moved to UTC."""
    if name == SEARCH_VAR:
        return True
    is_date = name.startswith(f"{date_hierarchy}__") and not name.endswith(_PARTS_OF_YEAR)
    if is_date and (year := _YEAR.match(value)) and not FIRST_YEAR <= int(year[0]) <= LAST_YEAR:
        return False
    return not any(part.isdecimal() and len(part) > MAX_DIGITS for part in value.split(","))


class Scoped:
    """What ModelAdmin and inlines have in common: reads through the actor, no deletion unless `deletable`."""

    deletable: ClassVar[bool] = False
    view_on_site = False

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        rows = visible_rows(self.model, request)
        ordering = self.get_ordering(request)
        return rows.order_by(*ordering) if ordering else rows

    def get_field_queryset(self, db: str | None, db_field: Any, request: HttpRequest) -> models.QuerySet[Any]:
        related = db_field.remote_field.model
        rows = visible_rows(related, request)
        if issubclass(related, ArchivableModel):
            rows = rows.filter(archived_at=None)
        try:
            ordering = self.admin_site.get_model_admin(related).get_ordering(request)
        except NotRegistered:
            return rows
        return rows.order_by(*ordering) if ordering else rows

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.deletable and bool(super().has_delete_permission(request, obj))  # type: ignore[misc]


class RelatedFilter(RelatedDropdownFilter):
    """Filter by a related row, with the actor's rows only among the choices."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        rows = visible_rows(field.related_model, request)
        ordering = self.field_admin_ordering(field, request, model_admin)
        return [(row.pk, str(row)) for row in (rows.order_by(*ordering) if ordering else rows)]


class ColumnFilter(DropdownFilter):
    """Filter by one value of a column; `lookups` gives the values and their words."""

    column = ""

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        return queryset.filter(**{self.column: self.value()}) if self.value() else queryset


class ArchivedFilter(DropdownFilter):
    """Archived rows are out of sight until they are asked for."""

    title = gettext_lazy("archive")
    parameter_name = "archived"
    all_option: ClassVar[list[Any]] = ["", gettext_lazy("In use")]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", gettext("Archived")), ("all", gettext("Both"))]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        if self.value() == "all":
            return queryset
        return queryset.filter(archived_at__isnull=self.value() != "yes")
