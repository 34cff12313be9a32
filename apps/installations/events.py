"""What installations publish. Payloads are ids."""

from __future__ import annotations

from apps.core import events

STATION_BOOTED = events.declare(
    "installations.station_booted", "A charger's BootNotification was accepted: station_id, operator_id."
)
