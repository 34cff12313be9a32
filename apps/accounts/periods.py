"""Periods that must not overlap, enforced by the database: an exclusion constraint on PostgreSQL, triggers on SQLite,
which has one writer at a time."""

from __future__ import annotations

from typing import Any

from django.db.migrations.operations.base import Operation

_POSTGRES = """
CREATE EXTENSION IF NOT EXISTS btree_gist;
ALTER TABLE {table} ADD CONSTRAINT {name} EXCLUDE USING gist
  ({keys}, daterange(valid_from, valid_to, '[]') WITH &&);
"""
_SQLITE = """
CREATE TRIGGER {name}_{verb} BEFORE {verb} ON {table} FOR EACH ROW WHEN EXISTS (
  SELECT 1 FROM {table} o WHERE {same} {other}
    AND (NEW.valid_to IS NULL OR o.valid_from <= NEW.valid_to)
    AND (o.valid_to IS NULL OR o.valid_to >= NEW.valid_from))
BEGIN SELECT RAISE(ABORT, '{name}: periods overlap'); END
"""
_VERBS = {"INSERT": "", "UPDATE": "AND o.id <> OLD.id"}


class NoOverlap(Operation):
    """Rows of a model with equal `columns` have periods (`valid_from`, `valid_to`, dates, both in) that do not overlap.

    Like `Immutable`, it is followed by itself where a later migration makes SQLite remake the table.
    """

    reversible = True

    def __init__(self, model_name: str, name: str, columns: list[str]) -> None:
        self.model_name = model_name
        self.name = name
        self.columns = columns

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        return type(self).__name__, [], {"model_name": self.model_name, "name": self.name, "columns": self.columns}

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Models do not know of it."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        table = to_state.apps.get_model(app_label, self.model_name)._meta.db_table
        if schema_editor.connection.vendor == "postgresql":
            keys = ", ".join(f"{column} WITH =" for column in self.columns)
            schema_editor.execute(_POSTGRES.format(table=table, name=self.name, keys=keys), None)
            return
        same = " AND ".join(f"o.{column} = NEW.{column}" for column in self.columns)
        for verb, other in _VERBS.items():
            statement = _SQLITE.format(table=table, name=self.name, verb=verb, same=same, other=other)
            schema_editor.execute(statement, None)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        table = from_state.apps.get_model(app_label, self.model_name)._meta.db_table
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {self.name}", None)
            return
        for verb in _VERBS:
            schema_editor.execute(f"DROP TRIGGER {self.name}_{verb}", None)

    def describe(self) -> str:
        return f"Forbid overlapping periods of {self.model_name}"
