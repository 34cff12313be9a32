"""What notifications tells itself, through the task queue."""

from apps.core import events

MAIL_QUEUED = events.declare("notifications.mail_queued", "A mail waits to be sent: mail_id.")
