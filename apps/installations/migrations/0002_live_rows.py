"""Live rows are updated all day: room in their pages keeps the updates off the indexes (PostgreSQL)."""

from typing import Any

from django.db import migrations

TABLES = ("installations_connectorstate", "installations_stationstate")


def leave_room(apps: Any, schema_editor: Any) -> None:
    _set_fillfactor(schema_editor, 50)


def fill(apps: Any, schema_editor: Any) -> None:
    _set_fillfactor(schema_editor, 100)


def _set_fillfactor(schema_editor: Any, percent: int) -> None:
    if schema_editor.connection.vendor == "postgresql":
        for table in TABLES:
            schema_editor.execute(f"ALTER TABLE {table} SET (fillfactor = {percent})")


class Migration(migrations.Migration):
    dependencies = [("installations", "0001_initial")]
    operations = [migrations.RunPython(leave_room, fill)]
