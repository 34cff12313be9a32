"""Background work of the gateway: entry points and subscribers."""

from __future__ import annotations

import datetime as dt

from apps.accounts.events import OPERATOR_CREATED
from apps.core import events
from apps.core.events import Payload
from apps.core.schedules import every
from apps.installations.events import STATION_BOOTED
from apps.installations.services import finish_resets
from apps.ocpp import services


@events.on(OPERATOR_CREATED)
def make_operator_keys(payloads: list[Payload]) -> None:
    """A new operator's chargers need a URL."""
    for payload in payloads:
        services.ensure_operator_key(operator_id=payload["operator_id"])


@events.on(STATION_BOOTED)
def learn_from_boots(payloads: list[Payload]) -> None:
    """A boot may be the effect of a reset whose answer was lost, and bring a firmware that knows more."""
    station_ids = {payload["station_id"] for payload in payloads}
    finish_resets(station_ids=station_ids, now=dt.datetime.now(dt.UTC))
    services.forget_status_refused(station_ids=station_ids)


@every(minutes=1)
def sweep_leases() -> None:
    """Stations of gateways that were lost are offline, also where no gateway is left to say so.

    Each gateway sweeps every ten seconds itself; the scheduler knows nothing shorter than a minute.
    """
    services.sweep_leases(now=dt.datetime.now(dt.UTC))


@every(hours=1)
def clean_refusals() -> None:
    """Refused connections are kept for 30 days, and no flood of them fills the table."""
    services.clean_refusals(now=dt.datetime.now(dt.UTC))
