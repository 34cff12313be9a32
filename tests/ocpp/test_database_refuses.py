"""What the database refuses or leaves undone: what passes by itself never puts a sound message into quarantine."""

from __future__ import annotations

import time

import pytest
from django.db import OperationalError, connection

from apps.charging.models import Session
from apps.core import bulk
from apps.ocpp import batches, inbox
from apps.ocpp.models import Frame, QuarantinedFrame
from tests.factories.cast import make_tenant
from tests.factories.installations import StationFactory
from tests.ocpp.lanes import confirmed, meter_payload, running_lanes, say, start_payload

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant(transactional_db):
    return make_tenant("Amber")


def rows(model):
    return model.objects.unscoped("a test").all()


def end_connection() -> None:
    """Let the server end this thread's connection, as it does before a restart."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    other.close()


def test_g07_a_connection_that_is_lost_while_the_log_is_written_is_no_bad_data(tenant, monkeypatch):
    copy, insert, losses = batches._copy_frames, bulk.insert_rows, [True]

    def copy_frames(frames):
        if losses:
            losses.pop()
            end_connection()
        copy(frames)

    def insert_rows(connection, table, rows):
        if losses and table.name == "ocpp_frame":
            losses.pop()
            raise OperationalError("disk I/O error")
        insert(connection, table, rows)

    if connection.vendor == "postgresql":
        monkeypatch.setattr(batches, "_copy_frames", copy_frames)
    else:
        monkeypatch.setattr(bulk, "insert_rows", insert_rows)
    with running_lanes() as lanes:
        started = lanes.ask(tenant.station, "StartTransaction", start_payload(tenant.token.uid))
    assert not losses
    assert started["idTagInfo"]["status"] == "Accepted"
    assert not rows(QuarantinedFrame)
    assert rows(Session).get().meter_start_wh == 1000
    assert rows(Frame).filter(action="StartTransaction").count() == 1


PASSING = {
    "25006": "attempt to write a readonly database",  # a standby after a failover
    "25P03": "database is locked",  # an idle transaction that was ended
    "40P01": "database is locked",  # a deadlock
    "53100": "database or disk is full",
    "53300": "unable to open database file",  # too many connections
    "55P03": "database is locked",  # a lock time-out
    "57014": "database is locked",  # a statement time-out
    "58030": "disk I/O error",
}


@pytest.mark.parametrize("sqlstate", PASSING)
def test_g07_what_passes_by_itself_puts_no_message_into_quarantine(tenant, monkeypatch, sqlstate):
    monkeypatch.setattr(inbox, "MAX_BACKOFF_S", 0.05)
    write = batches.Batch._write
    failures = [True] * (2 * inbox.MAX_TIME_OUTS)

    def failing(self, *args, **kwargs):
        write(self, *args, **kwargs)
        if failures:
            failures.pop()
            say(sqlstate, PASSING[sqlstate])

    monkeypatch.setattr(batches.Batch, "_write", failing)
    with running_lanes() as lanes:
        started = lanes.ask(tenant.station, "StartTransaction", start_payload(tenant.token.uid))
    assert not failures
    assert started["idTagInfo"]["status"] == "Accepted"
    assert not rows(QuarantinedFrame)
    assert rows(Session).count() == 1


def test_g07_a_batch_that_is_too_heavy_is_halved_and_a_message_that_is_so_for_long_is_given_up(tenant, monkeypatch):
    monkeypatch.setattr(inbox, "MAX_BACKOFF_S", 0.05)
    attempt = batches.Batch.attempt

    def heavy(self, ids, *, first, refusal=None):
        if refusal is None and any("BAD" in call.raw for call in self.calls):
            raise batches.Transient(OperationalError("time-out"), database_away=False, timed_out=True)
        return attempt(self, ids, first=first, refusal=refusal)

    monkeypatch.setattr(batches.Batch, "attempt", heavy)
    stations = [tenant.station, *(StationFactory(operator=tenant.operator, location=tenant.location) for _ in range(4))]
    with running_lanes(start=False) as lanes:
        good = [lanes.send(one, "MeterValues", meter_payload(1000)) for one in stations[1:]]
        bad = lanes.send(tenant.station, "MeterValues", meter_payload(1000), message_id="BAD")
        time.sleep(0.1)
        lanes.inbox.start()
        lanes.inbox.start = lambda: None
        assert [confirmed(one.result(timeout=10)) for one in good] == [{}] * 4
        time.sleep(0.5)
        assert not bad.done()
        monkeypatch.setattr(inbox, "PATIENCE_S", 0.5)
        assert confirmed(bad.result(timeout=10)) == {}
    assert rows(QuarantinedFrame).get().station_id == tenant.station.pk


@pytest.mark.parametrize("sqlstate", ["23505", "0A000"], ids=["somebody wrote the same", "a table was altered"])
def test_g07_what_is_refused_only_once_is_no_bad_data(tenant, monkeypatch, sqlstate):
    write, refusals, connections = batches.Batch._write, [True], set()

    def refusing(self, *args, **kwargs):
        write(self, *args, **kwargs)
        connections.add(connection.connection)
        if refusals:
            refusals.pop()
            say(sqlstate, "UNIQUE constraint failed")

    monkeypatch.setattr(batches.Batch, "_write", refusing)
    with running_lanes() as lanes:
        started = lanes.ask(tenant.station, "StartTransaction", start_payload(tenant.token.uid))
    assert not refusals
    assert started["idTagInfo"]["status"] == "Accepted"
    assert not rows(QuarantinedFrame)
    assert rows(Session).count() == 1
    assert len(connections) == 2
