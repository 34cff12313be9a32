"""At least one row of a tenant in every table that belongs to tenants, and its name in every text column.

New models are covered as they come: rows are made from the fields themselves, parents first.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.apps import apps
from django.db import models
from django.utils import timezone

from apps.accounts.models import AuditEntry, Operator, User
from apps.core.models import TenantModel
from apps.core.timeseries import TimeSeriesModel
from tests.factories.cast import Tenant

TENANT_MODELS = [model for model in apps.get_models() if issubclass(model, TenantModel)]
# Rows of a tenant too, without the base: time series have no foreign keys.
LOOSE_MODELS = [AuditEntry, *(model for model in apps.get_models() if issubclass(model, TimeSeriesModel))]
MODELS = [*TENANT_MODELS, *LOOSE_MODELS]


# Text columns whose values code takes for its own words.
WORDS = {"ocpp.HandshakeRefusal.reason": "unknown_station", "installations.DataImport.kind": "cards"}


def rows_of(tenant: Tenant, model: type[models.Model]) -> models.QuerySet[Any]:
    return model.everything.filter(operator_id=tenant.operator.pk)


def a_row(tenant: Tenant, model: type[models.Model]) -> Any:
    """A row of the model; made where there is none."""
    if model is Operator:
        return tenant.operator
    if model is User:
        return tenant.driver
    return rows_of(tenant, model).order_by(*model._meta.pk_fields[0].name.split()).first() or _make(tenant, model)


def fill(tenant: Tenant, text: str) -> None:
    """A row in every table, and `text` in every text column of the tenant that can hold it."""
    for model in MODELS:
        a_row(tenant, model)
    for model in MODELS:
        for row in rows_of(tenant, model):
            _write_text(row, text)


def text_columns(model: type[models.Model]) -> list[models.Field]:
    """Columns that hold free text of at least 16 characters."""
    return [
        field
        for field in model._meta.concrete_fields
        if isinstance(field, models.CharField | models.TextField)
        and not field.choices
        and not field.primary_key
        and (field.max_length or 1000) >= 16
        and field.name not in ("host", "time_zone", "event", "kind")
        and f"{model._meta.label}.{field.name}" not in WORDS
    ]


def _write_text(row: models.Model, text: str) -> None:
    values = {}
    for field in text_columns(type(row)):
        held = str(getattr(row, field.attname))
        if text.casefold() not in held.casefold():
            values[field.attname] = f"{text} {row.pk}"[: field.max_length] if field.unique else text
    for field in row._meta.concrete_fields:
        if isinstance(field, models.JSONField):
            values[field.attname] = {text: text}
        elif isinstance(field, models.BinaryField) and not field.max_length:
            values[field.attname] = text.encode()
    if values:
        type(row).everything.filter(pk=row.pk).update(**values)


def _make(tenant: Tenant, model: type[models.Model]) -> Any:
    values = {field.attname: _value(tenant, model, field) for field in model._meta.concrete_fields if _needs(field)}
    return model.everything.create(**values)


def _needs(field: models.Field) -> bool:
    if isinstance(field, models.ForeignKey):
        return not (field.null and field.related_model is field.model)
    return not field.has_default() and not field.null and not isinstance(field, models.AutoField)


def _value(tenant: Tenant, model: type[models.Model], field: models.Field) -> Any:
    if isinstance(field, models.ForeignKey):
        return a_row(tenant, field.related_model).pk
    if field.name == "operator_id":
        return tenant.operator.pk
    if isinstance(field, models.BigIntegerField) and field.name in ("station_id", "session_id"):
        names = {"station_id": "installations.ChargingStation", "session_id": "charging.Session"}
        return a_row(tenant, apps.get_model(names[field.name])).pk
    if (word := WORDS.get(f"{model._meta.label}.{field.name}")) is not None:
        return word
    if field.choices:
        return next(value for value, _label in field.flatchoices if value)
    for kind, value in _PLAIN:
        if isinstance(field, kind):
            return value(tenant, field) if callable(value) else value
    raise TypeError(f"no value for {model._meta.label}.{field.name}: teach tests.factories.everything")


_PLAIN: list[tuple[type[models.Field], Any]] = [
    (models.EmailField, lambda tenant, _field: f"someone@{tenant.operator.slug}.example"),
    (models.CharField, lambda tenant, field: f"{tenant.operator.slug}-{field.name}"[: field.max_length]),
    (models.TextField, lambda tenant, field: f"{tenant.operator.slug} {field.name}"),
    (models.DateTimeField, lambda _tenant, _field: timezone.now() + dt.timedelta(days=1)),
    (models.DateField, lambda _tenant, _field: timezone.now().date()),
    (models.BooleanField, False),
    (models.IntegerField, 1),
    (models.FloatField, 1.0),
    (models.DecimalField, 1),
    (models.JSONField, dict),
    (models.BinaryField, b"0123456789abcdef"),
]
