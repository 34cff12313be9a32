"""What must hold before a gateway starts (contract G1): an answer leaves after a COMMIT that survives a power cut."""

from __future__ import annotations

from typing import Any

from django.core import checks
from django.db import DatabaseError, connection

TAG = "gateway"
FULL = 2


@checks.register(TAG, checks.Tags.database)  # it asks the database: not part of a plain `check`
def check_commits_are_durable(**kwargs: Any) -> list[checks.CheckMessage]:
    """`ocpp.E001` where the database acknowledges commits that it may lose; `ocpp.W001` where it cannot be asked."""
    try:
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("SHOW synchronous_commit")
                return [] if cursor.fetchone()[0] != "off" else [_error("synchronous_commit is off")]
            cursor.execute("PRAGMA synchronous")
            return [] if cursor.fetchone()[0] >= FULL else [_error("PRAGMA synchronous is below FULL")]
    except DatabaseError as error:
        return [checks.Warning(f"The database cannot be asked how durable its commits are: {error}", id="ocpp.W001")]


def _error(what: str) -> checks.Error:
    return checks.Error(
        f"{what}: messages that chargers were told are stored could be lost.",
        hint="PostgreSQL: synchronous_commit = on. SQLite: PRAGMA synchronous = FULL (2).",
        id="ocpp.E001",
    )
