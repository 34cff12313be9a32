"""What `charging` tells the apps above it."""

from apps.core import events

SESSION_STARTED = events.declare("charging.session_started", "A session began; session: its id.")
SESSION_ENDED = events.declare("charging.session_ended", "A session has its end; session: its id.")
