"""The database is lost under load (PostgreSQL alone: SQLite has no server): it throws every gateway connection out, or
it is stopped and comes back. Its server is the test's own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import connection

from apps.installations.models import StationState
from tests.factories.cast import Tenant, make_tenant
from tests.kill.load import Load, at_work, lost
from tests.kill.offline import OfflineLoad, differences
from tests.ocpp import live
from tests.services import PostgresServer

AWAY_S = float(os.environ.get("AWAY_S", "8"))  # more than the 5 s of contract G13
CLOSED_WITHIN_S = 8.0  # 5 s, and what a statement that waits for a connection takes
STATIONS = 40
PACE_S = 0.8  # between two messages of a charger: it is answered faster
TIMES = 5


@pytest.fixture(scope="module")
def postgres(django_test_environment, django_db_blocker) -> Iterator[PostgresServer]:
    """A server with our tables."""
    assert connection.vendor == "postgresql", "run this with DATABASE_URL naming a PostgreSQL"
    with tempfile.TemporaryDirectory(prefix="voltdesk-") as folder:
        server = PostgresServer(Path(folder), Path(folder) / "log")
        server.start()
        try:
            place = {"HOST": "127.0.0.1", "PORT": server.port, "USER": "postgres", "PASSWORD": ""}
            with django_db_blocker.unblock(), live.working_on("postgres", **place):
                migrate = [sys.executable, "manage.py", "migrate", "-v0"]
                subprocess.run(migrate, cwd=live.ROOT, env=live.environment("postgres"), check=True)
                yield server
        finally:
            server.stop(signal.SIGQUIT)


@pytest.fixture(scope="module")
def away_tenant(postgres) -> Tenant:
    tenant = make_tenant("Amber")
    live.add_url_key(tenant)
    return tenant


def test_all_come_back_by_themselves_after_a_stopped_database_and_no_start_is_lost(postgres, away_tenant, say):
    stations = [live.add_station(away_tenant, identity=f"AWAY-{index}") for index in range(STATIONS)]
    with live.running("uvicorn", "postgres") as server:
        load = OfflineLoad(stations, away_tenant.token.uid, port=server.port, pace_s=PACE_S)
        with at_work(load):
            live.wait_for(lambda: load.acknowledged > 3 * STATIONS, 30)
            for how in (signal.SIGINT, signal.SIGQUIT):
                stop_and_start(postgres, how, server, load, say)
        assert server.stop() == 0
    assert differences(load) == []


def stop_and_start(
    postgres: PostgresServer, how: signal.Signals, server: live.Server, load: OfflineLoad, say: Callable[[str], None]
) -> None:
    """The database is away for AWAY_S under load, and everything is as before soon after."""
    load.closed.clear()
    load.refused.clear()
    connection.close()
    stopped_at = time.monotonic()
    postgres.stop(how)
    live.wait_for(lambda: load.closed.total() == STATIONS, CLOSED_WITHIN_S)
    closed_after = time.monotonic() - stopped_at
    assert closed_after > 4, "a short absence is waited for"
    assert load.closed == {1013: STATIONS}
    assert server.get("/readyz")[0] == 503
    time.sleep(max(AWAY_S - closed_after, 0))
    live.wait_for(lambda: load.refused[503], 5)
    before, queued, away_s = load.acknowledged, load.queued, time.monotonic() - stopped_at
    assert queued > STATIONS, "they charged meanwhile"
    postgres.start()
    started_at = time.monotonic()
    live.wait_for(lambda: load.connected == STATIONS, 30)
    live.wait_for(lambda: load.acknowledged > before + queued, 30 + AWAY_S)
    back_s = time.monotonic() - started_at
    assert server.get("/readyz")[0] == 200
    assert load.refused.keys() == {503}
    assert StationState.objects.unscoped("a test").filter(online=True).count() == STATIONS
    say(
        f"{how.name}: away for {away_s:.0f} s, all closed after {closed_after:.1f} s, {queued} messages queued,"
        f" all back and delivered in {back_s:.1f} s"
    )


def test_everything_acknowledged_survives_terminated_backends(postgres, away_tenant):
    stations = [live.add_station(away_tenant, identity=f"TERM-{index}") for index in range(STATIONS)]
    load = Load(stations, away_tenant.token.uid)
    with live.running("uvicorn", "postgres") as server:
        load.port = server.port
        with at_work(load):
            live.wait_for(lambda: load.acknowledged > 200, 30)
            for _ in range(TIMES):
                assert terminate_others() > 0
                time.sleep(0.3)
            before = load.acknowledged
            live.wait_for(lambda: load.acknowledged > before + 400, 40)
        assert server.stop() == 0
    assert lost(load) == []


def terminate_others() -> int:
    """How many connections to the database were ended; ours stays."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return cursor.fetchone()[0]
