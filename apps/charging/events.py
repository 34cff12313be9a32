"""What `charging` tells the apps above it."""

from apps.core import events

SESSION_STARTED = events.declare("charging.session_started", "Sessions began; session_id, station_id, operator_id.")
SESSION_ENDED = events.declare(
    "charging.session_ended", "Sessions have their end; session_id, station_id, operator_id."
)
