"""Abstract bases of tenant-owned rows."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from apps.core.querysets import TenantQuerySet


def known(field: str, choices: type[models.TextChoices], *, blank: bool = False) -> models.Q:
    """The CHECK condition of a text choice."""
    return models.Q(**{f"{field}__in": [*choices.values, *([""] if blank else [])]})


FIRST_YEAR, LAST_YEAR = 1900, 3000


def is_in_calendar(moment: dt.date) -> bool:
    """Whether a date or an instant is of a year that somebody can mean. One at the edge of what Python and the database
    hold leaves it as soon as a day is added or a zone is changed."""
    return FIRST_YEAR <= moment.year <= LAST_YEAR


def in_calendar(moment: dt.date) -> None:
    """The same as a validator of fields."""
    if not is_in_calendar(moment):
        told = {"first": str(FIRST_YEAR), "last": str(LAST_YEAR)}
        raise ValidationError(_("Write a date of the years %(first)s to %(last)s."), params=told)


class PublicIdModel(models.Model):
    """A row whose id leaves the admin: URL, PDF, API, roaming."""

    public_id = models.UUIDField(_("public id"), default=uuid.uuid4, unique=True, editable=False)

    class Meta:
        abstract = True


class TenantModel(models.Model):
    """A row that belongs to one operator, its parents' operator.

    `objects` refuses unscoped reads. `everything` is Django's own way in (unique checks, related managers)
    and is not named anywhere else.
    """

    operator = models.ForeignKey(
        "accounts.Operator", on_delete=models.PROTECT, related_name="+", editable=False, verbose_name=_("operator")
    )

    objects = TenantQuerySet.as_manager()
    everything = models.Manager()

    class Meta:
        abstract = True
        default_manager_name = "everything"

    def clean(self) -> None:
        super().clean()
        for field in self.foreign_parents():
            raise ValidationError({field.name: _("This belongs to another operator.")})
        for name, moment in self._moments():
            try:
                in_calendar(moment)
            except ValidationError as error:
                raise ValidationError({name: error}) from None

    def _moments(self) -> Iterator[tuple[str, dt.date]]:
        for field in self._meta.concrete_fields:
            if isinstance(field, models.DateField) and isinstance(value := getattr(self, field.attname), dt.date):
                yield field.name, value

    def foreign_parents(self) -> Iterator[models.ForeignKey[Any, Any]]:
        """Foreign keys of this row that lead to another operator's row. Must be empty."""
        for field in self._meta.concrete_fields:
            if not isinstance(field, models.ForeignKey) or getattr(self, field.attname) is None:
                continue
            if issubclass(field.related_model, TenantModel):
                parent = getattr(self, field.name)
                if parent.operator_id != self.operator_id:
                    yield field


class ArchivableModel(models.Model):
    """Nothing with history is deleted: it is archived, and its name becomes free again."""

    archived_at = models.DateTimeField(_("archived at"), null=True, blank=True, editable=False)

    class Meta:
        abstract = True
