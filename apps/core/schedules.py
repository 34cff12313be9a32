"""Work that runs again and again: `@every(minutes=10)` on a function of an app's `tasks.py`.

The rows of the task cluster's scheduler follow the declarations at each `migrate`: new ones are made, changed ones
updated, those of functions that are gone removed. Rows that people made by hand are left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connection

Task = Callable[[], None]

PREFIX = "voltdesk."
_minutes: dict[str, int] = {}


def every(*, minutes: int = 0, hours: int = 0) -> Callable[[Task], Task]:
    """Run a module-level function without arguments; it must be idempotent. The scheduler looks every 30 s."""

    def register(function: Task) -> Task:
        _minutes[f"{function.__module__}.{function.__qualname__}"] = minutes + 60 * hours
        return function

    return register


def write_schedules(**_signal: Any) -> None:
    """Make the scheduler's rows those that are declared (after `migrate`)."""
    from django_q.models import Schedule

    if Schedule._meta.db_table not in connection.introspection.table_names():
        return  # only some apps were migrated
    own = Schedule.objects.filter(name__startswith=PREFIX)
    own.exclude(func__in=_minutes).delete()
    for path, minutes in _minutes.items():
        Schedule.objects.update_or_create(
            name=PREFIX + path.removeprefix("apps."),
            defaults={"func": path, "schedule_type": Schedule.MINUTES, "minutes": minutes, "repeats": -1},
        )
