"""Background work of installations: entry points and subscribers."""

from __future__ import annotations

import datetime as dt

from django_q.tasks import async_task

from apps.core import events
from apps.core.events import Payload
from apps.core.schedules import every
from apps.installations import services
from apps.installations.events import STATION_BOOTED


@events.on(STATION_BOOTED)
def begin_baselines(payloads: list[Payload]) -> None:
    """Ask the chargers that booted for the keys of the baseline."""
    now = dt.datetime.now(dt.UTC)
    for station_id in {payload["station_id"] for payload in payloads}:
        services.begin_baseline(station_id=station_id, now=now)


@every(minutes=1)
def close_overdue_commands() -> None:
    """Commands whose deadline passed while no gateway ran."""
    services.close_overdue_commands(now=dt.datetime.now(dt.UTC))


def run_import(import_id: int, permissions: list[str]) -> None:
    """A part of an import; the rest is another task, because tasks have a time limit."""
    if not services.continue_import(import_id=import_id, permissions=permissions, now=dt.datetime.now(dt.UTC)):
        async_task("apps.installations.tasks.run_import", import_id, permissions)
