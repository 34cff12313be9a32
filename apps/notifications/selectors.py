"""Reads of the outbox."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection

from apps.core.actor import Actor
from apps.notifications.models import Mail, MailState


def failed_mails(actor: Actor, *, since: dt.datetime, other_than: Collection[str] = ()) -> int:
    """How many e-mails made since then, of other kinds than these, could not be sent."""
    failed = Mail.objects.visible_to(actor).filter(state=MailState.FAILED, created_at__gte=since)
    return failed.exclude(kind__in=other_than).count()
