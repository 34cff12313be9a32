"""The reasons of refused connections are those that we have words for, also in the database."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.ocpp.models import REMEDIES, HandshakeRefusal, RefusalReason

pytestmark = pytest.mark.django_db


def test_the_database_takes_no_reason_without_words(ours):
    now = timezone.now()
    place = {"operator": ours.operator, "identity": "CP1", "first_at": now, "last_at": now}
    for reason in RefusalReason:
        HandshakeRefusal.objects.create(**place, address=reason.value, reason=reason)
    with pytest.raises(IntegrityError, match="handshake_refusal_reason"), transaction.atomic():
        HandshakeRefusal.objects.create(**place, address="192.0.2.1", reason="bad_mood")


def test_each_reason_has_its_remedy():
    assert set(REMEDIES) == set(RefusalReason)
