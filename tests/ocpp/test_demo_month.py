"""What the demo's chargers have to tell: on any day of a month, enough of the month before for its invoices."""

from __future__ import annotations

import datetime as dt
from collections import Counter

import pytest

from apps.ocpp.demo.cast import REGISTERED_DAYS_AGO, TENANTS
from apps.ocpp.demo.month import lived

KEYS = {tenant.slug: "key" for tenant in TENANTS}


@pytest.mark.parametrize("today", ["2026-03-01", "2026-03-31", "2026-08-31", "2026-11-15", "2026-12-31", "2027-01-01"])
def test_last_month_has_sessions_for_every_customer_on_any_day(today):
    now = dt.datetime.fromisoformat(f"{today}T12:00:00+00:00")
    last_month = f"{now.replace(day=1) - dt.timedelta(days=1):%Y-%m}"
    stories = lived("ws://127.0.0.1", KEYS, "secret", now)
    begun = Counter()
    for story in stories:
        assert story.since > now - dt.timedelta(days=REGISTERED_DAYS_AGO)
        for message in story.charger.queue:
            if message.action == "StartTransaction":
                began_in = message.payload["timestamp"][:7]
                begun[story.tenant.slug, began_in == last_month] += 1
    assert begun["harbour", True] > 200
    assert begun["ridge", True] > 30
    # As many messages on each day: the first load takes as long.
    assert 1_400 < sum(len(story.charger.queue) for story in stories) < 2_300
