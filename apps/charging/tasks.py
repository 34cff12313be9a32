"""Background work of charging: entry points and subscribers."""

from __future__ import annotations

import datetime as dt

from django.db.models import Q

from apps.cards.events import CONTRACT_ASSIGNED
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


@events.on(SESSION_ENDED)
def await_settlement(payloads: list[Payload]) -> None:
    """An ended session is on its way to a CDR."""
    session_ids = {payload["session_id"] for payload in payloads}
    services.await_settlement(session_ids=session_ids, now=dt.datetime.now(dt.UTC))


@events.on(CONTRACT_ASSIGNED)
def price_held_sessions(payloads: list[Payload]) -> None:
    """Sessions that waited for a contract of their card may have one now."""
    tokens = {pk for payload in payloads for pk in payload["token_ids"]}
    services.look_again(sessions=Q(token__in=tokens), now=dt.datetime.now(dt.UTC))


@every(minutes=1)
def settle_due() -> None:
    """CDRs of the sessions whose time is up."""
    services.settle_due(now=dt.datetime.now(dt.UTC))


@every(hours=1)
def find_unsettled() -> None:
    """Ended sessions that no event told of."""
    services.find_unsettled(now=dt.datetime.now(dt.UTC))


@every(minutes=10)
def open_no_stop_items() -> None:
    """Sessions that have waited for their final data for a day, and those whose charger vanished so long ago."""
    now = dt.datetime.now(dt.UTC)
    services.await_vanished_sessions(now=now)
    services.open_no_stop_items(now=now)
