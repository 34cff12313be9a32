"""Background work of tariffs."""

from __future__ import annotations

from apps.accounts.events import OPERATOR_CREATED
from apps.core import events
from apps.core.events import Payload
from apps.tariffs import services


@events.on(OPERATOR_CREATED)
def add_statutory_rates(payloads: list[Payload]) -> None:
    """A new operator begins with the standard rates of VAT."""
    for payload in payloads:
        services.add_statutory_rates(operator_id=payload["operator_id"])
