"""A lane outlives whatever happens to a batch, and nothing that waits for it grows without bound."""

from __future__ import annotations

import datetime as dt
import time

import pytest

from apps.ocpp import batches, inbox
from apps.ocpp.models import Frame
from tests.factories.cast import make_tenant
from tests.ocpp.lanes import confirmed, refused, running_lanes

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant(transactional_db):
    return make_tenant("Amber")


def test_g02_a_fault_of_ours_ends_no_lane_and_each_call_is_settled_once(tenant, monkeypatch):
    real_attempt = batches.Batch.attempt
    faults = [RuntimeError("unforeseen")]

    def attempt(self, *args, **kwargs):
        if self.calls and faults:
            raise faults.pop()
        return real_attempt(self, *args, **kwargs)

    monkeypatch.setattr(batches.Batch, "attempt", attempt)
    with running_lanes() as lanes:
        first = lanes.send(tenant.station, "Authorize", {"idTag": tenant.token.uid})
        assert refused(first.result(timeout=10)) == "InternalError"
        second = lanes.send(tenant.station, "Authorize", {"idTag": tenant.token.uid})
        assert confirmed(second.result(timeout=10))["idTagInfo"]["status"] == "Accepted"
        assert all(worker.is_alive() for worker in lanes.inbox.workers)


def log_row(station, number: int, request: str) -> batches.FrameRow:
    now = dt.datetime.now(dt.UTC)
    return (now, station.pk, 1, number, station.operator_id, "in", "Unknown", f"m{number}", request, "", "", None)


def test_g04_rows_of_the_log_are_batched_by_their_size_too(tenant):
    with running_lanes(start=False) as lanes:
        for number in range(10):
            lanes.inbox.log(log_row(tenant.station, number, "x" * 1024 * 1024))
        sizes = [len(lanes.inbox._take_log()) for _ in range(4)]
    assert sizes == [4, 4, 2, 0]


def test_the_log_that_waits_for_the_database_is_bounded_in_bytes_and_loses_the_oldest(tenant, monkeypatch):
    monkeypatch.setattr(inbox, "MAX_LOG_BYTES", 5000)
    with running_lanes(start=False) as lanes:
        for number in range(10):
            lanes.inbox.log(log_row(tenant.station, number, "x" * 1000))
        rows = lanes.inbox._take_log()
    assert [row[3] for row in rows] == [5, 6, 7, 8, 9]


def test_g17_at_the_end_all_of_the_log_is_written(tenant):
    with running_lanes(start=False) as lanes:
        for number in range(3 * inbox.MAX_MESSAGES):
            lanes.inbox.log(log_row(tenant.station, number, "[]"))
    assert Frame.objects.unscoped("of this test").count() == 3 * inbox.MAX_MESSAGES


def test_g04_a_crowd_of_log_rows_is_written_batch_after_batch(tenant):
    rows = 5 * inbox.MAX_MESSAGES
    with running_lanes() as lanes:
        began = time.monotonic()
        for number in range(rows):
            lanes.inbox.log(log_row(tenant.station, number, "[]"))
        while Frame.objects.unscoped("test").count() < rows:
            assert time.monotonic() - began < 4, "one batch a second"
            time.sleep(0.02)
