"""The gateway's first promise at real servers (G1): an answer leaves after COMMIT returned. The database itself holds
the COMMIT up, or refuses it."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections.abc import Iterator

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection

from apps.charging.models import Session
from apps.installations.models import ChargingStation
from apps.ocpp.models import Frame
from tests.ocpp import live

HELD_UP_S = 0.8


def start(tenant) -> dict:
    now = dt.datetime.now(dt.UTC).isoformat()
    return {"connectorId": 1, "idTag": tenant.token.uid, "meterStart": 5, "timestamp": now}


def sessions_of(station: ChargingStation):
    return Session.objects.unscoped("test").filter(station=station)


@contextlib.contextmanager
def at_commit(station: ChargingStation, *, postgres: str, sqlite: str = "") -> Iterator[None]:
    """What the database does at the COMMIT of a session of this charger, and of no other."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            body = f"BEGIN {postgres}; RETURN NULL; END"
            cursor.execute(f"CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $${body}$$")
            cursor.execute(
                "CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON charging_session DEFERRABLE INITIALLY DEFERRED"
                f" FOR EACH ROW WHEN (NEW.station_id = {station.pk}) EXECUTE FUNCTION at_commit()"
            )
        else:
            cursor.execute(
                "CREATE TRIGGER at_commit AFTER INSERT ON charging_session"
                f" WHEN NEW.station_id = {station.pk} BEGIN {sqlite}; END"
            )
        try:
            yield
        finally:
            on = " ON charging_session" if connection.vendor == "postgresql" else ""
            cursor.execute(f"DROP TRIGGER at_commit{on}")
            if on:
                cursor.execute("DROP FUNCTION at_commit()")


def test_g01_a_gateway_refuses_a_database_that_may_lose_commits(tenant):
    call_command("check", tags=["gateway"])
    weak = "SET synchronous_commit = off" if connection.vendor == "postgresql" else "PRAGMA synchronous = NORMAL"
    with connection.cursor() as cursor:
        cursor.execute(weak)
    try:
        for command in ("serve", "gateway"):
            with pytest.raises(SystemCheckError, match=r"ocpp\.E001"):
                call_command(command, skip_checks=False)
    finally:
        connection.close()


def test_g01_another_connection_sees_what_was_answered_at_the_moment_of_the_answer(server, tenant):
    station = live.add_station(tenant)
    # SQLite does nothing at COMMIT that could be held up: it is tests.ocpp.test_g_inbox that holds it.
    with (
        at_commit(station, postgres=f"PERFORM pg_sleep({HELD_UP_S})", sqlite="SELECT 1"),
        live.connected(server, station.identity) as charger,
    ):
        began = time.monotonic()
        answer = charger.call("StartTransaction", start(tenant))
        assert sessions_of(station).get().transaction_id == answer[2]["transactionId"]
        assert Frame.objects.unscoped("test").filter(station_id=station.pk, message_id=answer[1]).count() == 1
        assert connection.vendor == "sqlite" or time.monotonic() - began >= HELD_UP_S


def test_g01_where_commit_is_refused_nothing_is_confirmed(server, tenant):
    station = live.add_station(tenant)
    with (
        at_commit(
            station,
            postgres="RAISE EXCEPTION 'not this one'",
            sqlite="UPDATE charging_session SET location_id = 0 WHERE id = NEW.id",  # deferred: checked at COMMIT
        ),
        live.connected(server, station.identity) as charger,
    ):
        answer = charger.call("StartTransaction", start(tenant))
        assert (answer[0], answer[2]) == (4, "InternalError")
        assert not sessions_of(station).exists()
    with live.connected(server, station.identity) as charger:
        answer = charger.call("StartTransaction", start(tenant))
        assert sessions_of(station).get().transaction_id == answer[2]["transactionId"]
