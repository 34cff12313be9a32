"""A database that is away, in whatever way it is (contract G13): nobody's attempts are used up on it, and its return is
noticed by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.backends.signals import connection_created

from apps.charging.models import Session
from apps.installations.models import ConnectionInterval
from apps.ocpp import batches, gateway, inbox
from apps.ocpp.models import QuarantinedFrame
from config import settings
from tests.factories.cards import TokenFactory
from tests.ocpp import live
from tests.ocpp.lanes import meter_payload, say, start_payload
from tests.ocpp.sockets import Closed, InProcess, Socket, in_process


@pytest.fixture
def process(tenant, monkeypatch) -> Iterator[InProcess]:
    monkeypatch.setattr(inbox, "AWAY_AFTER_S", 1.0)
    monkeypatch.setattr(inbox, "STUCK_AFTER_S", 2.0)
    monkeypatch.setattr(gateway, "BEAT_S", 600.0)
    with in_process() as one:
        yield one


@contextmanager
def read_only() -> Iterator[None]:
    """Meanwhile new connections can only read, as those to a standby; the lanes' old ones were ended."""
    statement = (
        "SET default_transaction_read_only = on" if connection.vendor == "postgresql" else "PRAGMA query_only = 1"
    )

    def limit(connection: Any, **kwargs: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)

    connection_created.connect(limit)
    try:
        yield
    finally:
        connection_created.disconnect(limit)


def closed_with(charger: Socket) -> int:
    with pytest.raises(Closed) as closed:
        charger.receive()
    return closed.value.code


def test_g13_a_database_that_vanished_without_a_word_is_gone_after_seconds(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgres://somebody@database.example.org/voltdesk")
    options = settings._database()["OPTIONS"]
    assert options["keepalives"] == 1
    assert options["keepalives_idle"] + options["keepalives_count"] * options["keepalives_interval"] <= 15
    assert options["tcp_user_timeout"] <= 15_000


def test_g13_a_database_that_can_only_be_read_is_away_and_refuses_no_data(process, tenant):
    station = live.add_station(tenant)
    charger = process.connect(station.identity)
    payload = start_payload(TokenFactory(operator=tenant.operator).uid)
    quarantined = QuarantinedFrame.objects.unscoped("a test").count()
    with read_only():
        charger.send(2, "s", "StartTransaction", payload)
        assert closed_with(charger) == 1013
        assert not gateway.is_ready()
        time.sleep(2)
        assert not gateway.is_ready()
    live.wait_for(gateway.is_ready)
    again = process.connect(station.identity).call("s", "StartTransaction", payload)
    assert again[2]["idTagInfo"]["status"] == "Accepted"
    assert Session.objects.unscoped("a test").filter(station=station).count() == 1
    assert QuarantinedFrame.objects.unscoped("a test").count() == quarantined
    reasons = ConnectionInterval.objects.unscoped("a test").filter(station=station).values_list("reason", flat=True)
    live.wait_for(lambda: "database" in reasons.all())


def test_g13_a_house_that_can_only_be_read_is_not_back(process, tenant, monkeypatch):
    """Also where no lane has anything to write, since all chargers were sent away."""
    charger = process.connect(live.add_station(tenant).identity)
    with monkeypatch.context() as patch:
        patch.setattr(gateway, "AWAY_AFTER_S", 1.0)
        with read_only():
            patch.setattr(gateway, "_ping", fails(OperationalError("server closed the connection unexpectedly")))
            assert closed_with(charger) == 1013
            patch.undo()
            patch.setattr(gateway, "AWAY_AFTER_S", 1.0)
            time.sleep(2.5)
            assert not gateway.is_ready()
        live.wait_for(gateway.is_ready)


def fails(error: Exception) -> Callable[..., Any]:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise error

    return fail


def test_g13_a_lane_that_is_done_with_its_batch_does_not_keep_the_gateway_closed(process, tenant, monkeypatch):
    station = live.add_station(tenant)
    charger = process.connect(station.identity)
    attempt, away = batches.Batch.attempt, threading.Event()

    def failing(self, *args, **kwargs):
        if not self.calls:
            return attempt(self, *args, **kwargs)
        if away.is_set():
            raise RuntimeError("unforeseen")
        raise batches.Transient(OperationalError("gone"), database_away=True)

    with monkeypatch.context() as patch:
        patch.setattr(batches.Batch, "attempt", failing)
        charger.send(2, "m", "MeterValues", meter_payload(1000))
        assert closed_with(charger) == 1013
        away.set()
        live.wait_for(gateway.is_ready)
    assert process.connect(station.identity).call("m", "MeterValues", meter_payload(1000)) == [3, "m", {}]


@pytest.mark.parametrize("busy", [False, True], ids=["a commit that hangs", "locks without end"])
def test_g13_a_lane_that_gets_nowhere_counts_as_away_whatever_holds_it_up(process, tenant, monkeypatch, busy):
    station = live.add_station(tenant)
    charger = process.connect(station.identity)
    write, held = batches.Batch._write, threading.Event()

    def holding(self, *args, **kwargs):
        if busy and self.calls and not held.is_set():
            say("55P03", "database is locked")
        write(self, *args, **kwargs)
        if self.calls:
            held.wait(20)

    monkeypatch.setattr(batches.Batch, "_write", holding)
    charger.send(2, "m", "MeterValues", meter_payload(1000))
    began = time.monotonic()
    assert closed_with(charger) == 1013
    assert time.monotonic() - began > 1.5
    assert not gateway.is_ready()
    held.set()
    live.wait_for(gateway.is_ready)
    assert process.connect(station.identity).call("m", "MeterValues", meter_payload(1000)) == [3, "m", {}]
