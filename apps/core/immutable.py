"""Documents that nothing changes any more: triggers refuse UPDATE and DELETE, and TRUNCATE on PostgreSQL.

No switch turns them off. An emptied table holds no document, so PostgreSQL may truncate one in which no row is final.
"""

from __future__ import annotations

from typing import Any

from django.db.migrations.operations.base import Operation

_POSTGRES = """
CREATE FUNCTION {table}_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '{table}: a final document is never changed' USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER {table}_final BEFORE UPDATE OR DELETE ON {table}
  FOR EACH ROW WHEN ({old}) EXECUTE FUNCTION {table}_final();
CREATE FUNCTION {table}_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT 1 FROM {table} WHERE {row}) THEN
    RAISE EXCEPTION '{table}: a final document is never deleted' USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER {table}_kept BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {table}_kept();
"""
_POSTGRES_BACK = """
DROP TRIGGER {table}_final ON {table};
DROP TRIGGER {table}_kept ON {table};
DROP FUNCTION {table}_final();
DROP FUNCTION {table}_kept();
"""
_SQLITE = """
CREATE TRIGGER IF NOT EXISTS {table}_final_{verb} BEFORE {verb} ON {table} FOR EACH ROW WHEN {old}
BEGIN SELECT RAISE(ABORT, '{table}: a final document is never changed'); END
"""
_VERBS = ("UPDATE", "DELETE")


class Immutable(Operation):
    """The migration that makes the rows of a model final: all of them, or those in which column `since` is filled.

    SQLite loses a table's triggers when Django remakes the table: a later AlterField, or the like, stands between two
    `StillImmutable`.
    """

    reversible = True

    def __init__(self, model_name: str, since: str = "") -> None:
        self.model_name = model_name
        self.since = since

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        return type(self).__name__, [], {"model_name": self.model_name, "since": self.since}

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Models do not know of triggers."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        table = to_state.apps.get_model(app_label, self.model_name)._meta.db_table
        if schema_editor.connection.vendor == "postgresql":
            old, row = (f"{name}{self.since} IS NOT NULL" if self.since else "true" for name in ("OLD.", ""))
            schema_editor.execute(_POSTGRES.format(table=table, old=old, row=row), None)
            return
        self._make_triggers(schema_editor, table)

    def _make_triggers(self, schema_editor: Any, table: str) -> None:
        """On SQLite, those that are not there."""
        old = f"OLD.{self.since} IS NOT NULL" if self.since else "true"
        for verb in _VERBS:
            schema_editor.execute(_SQLITE.format(table=table, verb=verb, old=old), None)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        table = from_state.apps.get_model(app_label, self.model_name)._meta.db_table
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(_POSTGRES_BACK.format(table=table), None)
            return
        for verb in _VERBS:
            schema_editor.execute(f"DROP TRIGGER {table}_final_{verb}", None)

    def describe(self) -> str:
        return f"Make rows of {self.model_name} final"


class StillImmutable(Immutable):
    """Stands before and after the operations that make SQLite remake the table of final rows.

    Whichever way the migration runs, the last of the two makes the triggers again. PostgreSQL keeps them.
    """

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.vendor == "sqlite":
            table = to_state.apps.get_model(app_label, self.model_name)._meta.db_table
            self._make_triggers(schema_editor, table)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        self.database_forwards(app_label, schema_editor, from_state, to_state)

    def describe(self) -> str:
        return f"Keep rows of {self.model_name} final"
