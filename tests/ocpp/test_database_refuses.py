"""What the database refuses or leaves undone: what passes by itself never puts a sound message into quarantine."""

from __future__ import annotations

import pytest
from django.db import OperationalError, connection

from apps.charging.models import Session
from apps.core import bulk
from apps.ocpp import batches
from apps.ocpp.models import Frame, QuarantinedFrame
from tests.factories.cast import make_tenant
from tests.ocpp.lanes import running_lanes, start_payload

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
