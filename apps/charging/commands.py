"""What only charging can judge of a command to a charger (`installations.commands` calls it)."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from apps.charging.models import Session
from apps.installations.commands import judges
from apps.installations.models import ChargingStation


@judges("RemoteStopTransaction")
def require_own_transaction(station: ChargingStation, payload: dict[str, Any]) -> None:
    """A stop names a session of that charger, running or not: a charger may still run what we hold for ended."""
    own = Session.objects.unscoped("sessions of a charger that the actor may command").filter(
        operator_id=station.operator_id, station=station, transaction_id=payload["transactionId"]
    )
    if not own.exists():
        raise ValidationError({"payload": _("No session of this charger has this transaction id.")})
