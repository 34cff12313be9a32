"""At least one row of a tenant in every table that belongs to tenants, and its name in every text column.

New models are covered as they come: rows are made from the fields themselves, parents first. Rows that are final from
the start hold the text from the start; those that become final are published, finalised … once they hold it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from django.apps import apps
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import models
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from apps.accounts.models import AuditEntry, Operator, User
from apps.core.immutable import Immutable
from apps.core.models import TenantModel
from apps.core.timeseries import TimeSeriesModel
from tests.factories.cast import Tenant
from tests.factories.contracts import ENERGY, LONG_AGO

TENANT_MODELS = [model for model in apps.get_models() if issubclass(model, TenantModel)]
# Rows of a tenant too, without the base: time series have no foreign keys.
LOOSE_MODELS = [AuditEntry, *(model for model in apps.get_models() if issubclass(model, TimeSeriesModel))]
MODELS = [*TENANT_MODELS, *LOOSE_MODELS]


# Model → the column since which its rows are final; "" where all of them are.
FINAL = {
    f"{label}.{step.model_name}": step.since
    for (label, _name), migration in MigrationLoader(None).disk_migrations.items()
    for step in migration.operations
    if isinstance(step, Immutable)
}

# Columns whose values code takes for its own words, and what conditions of the table ask for.
WORDS: dict[str, Any] = {
    "charging.Settlement.reason": "no_contract",
    "charging.Settlement.state": "held",
    "installations.DataImport.kind": "cards",
    "ocpp.HandshakeRefusal.reason": "unknown_station",
    "tariffs.TariffVersion.elements": ENERGY,
    "tariffs.TariffVersion.sha256": "0" * 64,
    "tariffs.TariffVersion.valid_from": LONG_AGO,
}


# JSON in which code reads more than words: what it holds beside the text.
SHAPES: dict[str, Callable[[str], Any]] = {
    "billing.Invoice.snapshot": lambda text: {
        party: dict.fromkeys(("number", "name", "vat_id"), text) for party in ("buyer", "seller")
    },
    "charging.Cdr.explanation": lambda text: [{"code": "card", "of": "", "found": text}],
    "charging.RatedItem.periods": lambda _text: [],
    "installations.Location.opening_hours": lambda _text: {"twentyfourseven": True},
}


def rows_of(tenant: Tenant, model: type[models.Model]) -> models.QuerySet[Any]:
    return model.everything.filter(operator_id=tenant.operator.pk)


def a_row(tenant: Tenant, model: type[models.Model], text: str = "") -> Any:
    """A row of the model; made where there is none, with `text` in it if it is final at once."""
    if model is Operator:
        return tenant.operator
    if model is User:
        return tenant.driver
    return rows_of(tenant, model).order_by(model._meta.pk_fields[0].name).first() or _make(tenant, model, text)


def fill(tenant: Tenant, text: str) -> None:
    """A row in every table, and `text` in every text column of the tenant that can hold it."""
    for model in MODELS:
        a_row(tenant, model, text)
    for model in MODELS:
        for row in rows_of(tenant, model):
            if not _is_final(row):
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
        and field.name not in ("host", "time_zone", "event", "kind", "sha256")
        and not _is_word(field)
    ]


def _is_word(field: models.Field) -> bool:
    return f"{field.model._meta.label}.{field.name}" in WORDS


def _is_final(row: models.Model) -> bool:
    since = FINAL.get(row._meta.label_lower)
    return since == "" or (since is not None and getattr(row, since) is not None)


def _write_text(row: models.Model, text: str) -> None:
    """Write `text` into the row, which is final afterwards if rows of its kind become so."""
    values = _texts(row, text)
    if since := FINAL.get(row._meta.label_lower):
        values[since] = timezone.now()
    if values:
        type(row).everything.filter(pk=row.pk).update(**values)


def _texts(row: models.Model, text: str) -> dict[str, Any]:
    """What the columns of the row hold that do not hold `text` yet and could."""
    values: dict[str, Any] = {}
    for field in text_columns(type(row)):
        held = str(getattr(row, field.attname))
        if text.casefold() not in held.casefold():
            values[field.attname] = f"{text} {row.pk}"[: field.max_length] if field.unique else text
    for field in row._meta.concrete_fields:
        if isinstance(field, models.JSONField) and not _is_word(field):
            values[field.attname] = SHAPES.get(f"{row._meta.label}.{field.name}", lambda said: {said: said})(text)
        elif isinstance(field, models.BinaryField) and not field.max_length:
            values[field.attname] = text.encode()
    return values


def _make(tenant: Tenant, model: type[models.Model], text: str) -> Any:
    fields = [field for field in model._meta.concrete_fields if _needs(field)]
    row = model(**{field.attname: _value(tenant, model, field, text) for field in fields})
    if _is_final(row):
        for name, value in _texts(row, text).items():
            setattr(row, name, value)
    row.save(force_insert=True)
    return row


def _needs(field: models.Field) -> bool:
    if isinstance(field, models.ForeignKey):
        return not (field.null and field.related_model is field.model)
    plain = not field.has_default() and not field.null and not isinstance(field, models.AutoField)
    return plain or _is_word(field)


def _value(tenant: Tenant, model: type[models.Model], field: models.Field, text: str) -> Any:
    if isinstance(field, models.ForeignKey):
        return a_row(tenant, field.related_model, text).pk
    if field.name == "operator_id":
        return tenant.operator.pk
    if isinstance(field, models.BigIntegerField) and field.name in ("station_id", "session_id"):
        names = {"station_id": "installations.ChargingStation", "session_id": "charging.Session"}
        return a_row(tenant, apps.get_model(names[field.name]), text).pk
    if _is_word(field):
        return WORDS[f"{model._meta.label}.{field.name}"]
    if field.choices:
        return next(value for value, _label in field.flatchoices if value)
    for kind, value in _PLAIN:
        if isinstance(field, kind):
            return value(tenant, field) if callable(value) else value
    raise TypeError(f"no value for {model._meta.label}.{field.name}: teach tests.factories.everything")


def _file(tenant: Tenant, field: models.FileField) -> str:
    """A stored file with the tenant's name in it."""
    slug = tenant.operator.slug
    return default_storage.save(f"{slug}-{field.name}", ContentFile(slug.encode()))


_PLAIN: list[tuple[type[models.Field], Any]] = [
    (models.FileField, _file),
    (models.EmailField, lambda tenant, _field: f"someone@{tenant.operator.slug}.example"),
    (models.CharField, lambda tenant, field: f"{tenant.operator.slug}-{field.name}"[: field.max_length]),
    (models.TextField, lambda tenant, field: f"{tenant.operator.slug} {field.name}"),
    (models.DateTimeField, lambda _tenant, _field: timezone.now() + dt.timedelta(days=1)),
    (models.DateField, lambda _tenant, _field: timezone.now().date()),
    (models.BooleanField, False),
    (models.IntegerField, 1),
    (models.FloatField, 1.0),
    (models.DecimalField, 1),
    (models.JSONField, lambda _tenant, _field: {}),
    (models.BinaryField, b"0123456789abcdef"),
]
