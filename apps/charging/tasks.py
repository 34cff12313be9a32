"""Background work of charging: entry points and subscribers."""

from __future__ import annotations

import datetime as dt

from apps.charging import services
from apps.charging.events import SESSION_ENDED
from apps.core import events
from apps.core.events import Payload
from apps.core.schedules import every


@events.on(SESSION_ENDED)
def settle_waiting_items(payloads: list[Payload]) -> None:
    """An end that came late settles the doubts whether it would come."""
    services.settle_waiting_items(
        session_ids={payload["session_id"] for payload in payloads}, now=dt.datetime.now(dt.UTC)
    )


@every(minutes=10)
def open_no_stop_items() -> None:
    """Sessions that have waited for their final data for a day, and those whose charger vanished so long ago."""
    now = dt.datetime.now(dt.UTC)
    services.await_vanished_sessions(now=now)
    services.open_no_stop_items(now=now)
