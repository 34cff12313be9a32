"""Reads of the outbox."""

from __future__ import annotations

import datetime as dt

from apps.core.actor import Actor
from apps.notifications.models import Mail, MailState


def failed_mails(actor: Actor, *, since: dt.datetime) -> int:
    """How many e-mails made since then could not be sent."""
    return Mail.objects.visible_to(actor).filter(state=MailState.FAILED, created_at__gte=since).count()
