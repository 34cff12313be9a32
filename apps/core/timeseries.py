"""Tables that grow for ever: partitioned by month on PostgreSQL, plain on SQLite.

Such a table has a composite primary key with the partition column in it and no foreign keys to or from it. A default
partition takes what no month was made for; `ensure_months` moves its rows when it makes the month.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db import connections, models, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations import CreateModel

MONTHS_AHEAD = 3
_LOCK = 0x766F6C74  # one partition maker at a time, over all processes


class TimeSeriesModel(models.Model):
    """Abstract base. `partition_by` names the timestamp column."""

    partition_by: str = "at"

    class Meta:
        abstract = True


class CreateTimeSeries(CreateModel):
    """CreateModel that makes the table partitioned on PostgreSQL, with the current and the next months."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.vendor != "postgresql":
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        model = to_state.apps.get_model(app_label, self.name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        table, column = model._meta.db_table, _partition_column(app_label, self.name)
        sql, params = schema_editor.table_sql(model)
        schema_editor.execute(f"{sql} PARTITION BY RANGE ({column})", params or None)
        schema_editor.deferred_sql.extend(schema_editor._model_indexes_sql(model))
        schema_editor.execute(f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT")
        for first in _months(dt.datetime.now(dt.UTC).date(), MONTHS_AHEAD):
            schema_editor.execute(_create_month(table, first))


def ensure_months(*, today: dt.date, ahead: int = MONTHS_AHEAD, alias: str = "default") -> list[str]:
    """Make the missing partitions of this month and the next `ahead`; rows that wait in the default partition are moved
    in the transaction that makes their month. Returns the names made. Nothing to do on SQLite."""
    connection = connections[alias]
    if connection.vendor != "postgresql":
        return []
    made = []
    for model in time_series_models():
        for first in _months(today, ahead):
            name = _partition_name(model._meta.db_table, first)
            with transaction.atomic(using=alias), connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
                if name not in _partitions(connection, model._meta.db_table):
                    _make_month(connection, model, first)
                    made.append(name)
    return made


def time_series_models() -> list[type[models.Model]]:
    return [
        model
        for model in apps.get_models()
        if issubclass(model, TimeSeriesModel) and router.allow_migrate_model("default", model)
    ]


def _make_month(connection: BaseDatabaseWrapper, model: type[models.Model], first: dt.date) -> None:
    table, column = model._meta.db_table, model.partition_by  # type: ignore[attr-defined]
    bounds = [first, _next_month(first)]
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TEMPORARY TABLE moved_rows ON COMMIT DROP AS SELECT * FROM {table}_default "
            f"WHERE {column} >= %s AND {column} < %s",
            bounds,
        )
        cursor.execute(f"DELETE FROM {table}_default WHERE {column} >= %s AND {column} < %s", bounds)
        cursor.execute(_create_month(table, first))
        cursor.execute(f"INSERT INTO {table} SELECT * FROM moved_rows")
        cursor.execute("DROP TABLE moved_rows")


def _partitions(connection: BaseDatabaseWrapper, table: str) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", [table])
        return {name for (name,) in cursor.fetchall()}


def _partition_column(app_label: str, name: str) -> str:
    return str(apps.get_model(app_label, name).partition_by)


def _create_month(table: str, first: dt.date) -> str:
    return (
        f"CREATE TABLE {_partition_name(table, first)} PARTITION OF {table} "
        f"FOR VALUES FROM ('{first} 00:00+00') TO ('{_next_month(first)} 00:00+00')"
    )


def _partition_name(table: str, first: dt.date) -> str:
    return f"{table}_{first:%Y%m}"


def _months(today: dt.date, ahead: int) -> Iterator[dt.date]:
    first = today.replace(day=1)
    for _ in range(ahead + 1):
        yield first
        first = _next_month(first)


def _next_month(first: dt.date) -> dt.date:
    return (first + dt.timedelta(days=32)).replace(day=1)
