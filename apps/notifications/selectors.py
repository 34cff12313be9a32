"""Reads of the outbox."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection

from django.db.models import Q

from apps.core.actor import Actor
from apps.notifications.models import Mail, MailState


def failed_mails(actor: Actor, *, since: dt.datetime, other_than: Collection[str] = ()) -> int:
    """How many e-mails, of other kinds than these, failed since then, that is after the last try."""
    failed = Mail.objects.visible_to(actor).filter(state=MailState.FAILED)
    recent = failed.filter(Q(claimed_at__gte=since) | Q(claimed_at=None, created_at__gte=since))
    return recent.exclude(kind__in=other_than).count()
