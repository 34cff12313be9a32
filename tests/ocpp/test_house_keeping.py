"""House-keeping after years of operation: open connections are found without all that ever were, and a job that fails
keeps no other from its turn.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import OperationalError, connection

from apps.core import bulk
from apps.installations.models import ConnectionInterval
from apps.ocpp import gateway, handshake, services
from tests.factories.installations import StationFactory
from tests.ocpp import live
from tests.ocpp.sockets import in_process

NOW = dt.datetime(2026, 11, 21, 12, 0, tzinfo=dt.UTC)
CONNECTIONS = 1000


@contextmanager
def plans() -> Iterator[list[str]]:
    """How the database finds the connections that are updated meanwhile."""
    found: list[str] = []
    explain = "EXPLAIN" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"

    def note(execute, sql, params, many, context):
        if sql.startswith(("UPDATE installations_connectioninterval", 'UPDATE "installations_connectioninterval"')):
            with connection.cursor() as cursor:
                cursor.execute(f"{explain} {sql}", params[0] if many else params)
                found.append("\n".join(map(str, cursor.fetchall())))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield found


@pytest.mark.django_db
def test_open_connections_are_found_without_all_that_ever_were(ours):
    stations = [StationFactory(operator=ours.operator, location=ours.location) for _ in range(10)]
    ConnectionInterval.objects.bulk_create(
        ConnectionInterval(
            operator=ours.operator,
            station=station,
            generation=number,
            gateway="old" if number < CONNECTIONS else "new",
            protocol="ocpp1.6",
            started_at=NOW,
            ended_at=NOW if number < CONNECTIONS else None,
        )
        for station in stations
        for number in range(1, CONNECTIONS + 1)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE installations_connectioninterval")
    services.open_lease(name="new", host="here", pid=1, now=NOW)
    with plans() as replaced:
        bulk.update_rows(connection, handshake._REPLACED, [(station.pk, NOW, "replaced") for station in stations])
    with plans() as buried:
        services.close_lease(name="new", now=NOW)
    assert "connection_open_station" in replaced[0]
    assert "connection_open_gateway" in buried[0]


def test_a_job_that_fails_keeps_no_other_from_its_turn(tenant, monkeypatch):
    monkeypatch.setattr(gateway, "SEEN_S", 1.0)
    monkeypatch.setattr(gateway, "SWEEP_S", 1.0)
    swept = threading.Event()

    def fail(**_kwargs):
        raise OperationalError("not now")

    with in_process(), monkeypatch.context() as patch:
        patch.setattr(services, "mark_seen", fail)
        patch.setattr(services, "sweep_leases", lambda **_kwargs: swept.set())
        assert swept.wait(live.PATIENCE_S)
