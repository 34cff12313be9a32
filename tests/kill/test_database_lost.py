"""The database throws every gateway connection out under load (PostgreSQL alone: SQLite has no server)."""

from __future__ import annotations

import asyncio
import threading
import time

from django.db import connection

from tests.kill.load import Load, lost
from tests.ocpp import live

STATIONS = 40
TIMES = 5


def test_everything_acknowledged_survives_terminated_backends(tenant, database):
    assert connection.vendor == "postgresql", "run this with DATABASE_URL naming a PostgreSQL"
    stations = [live.add_station(tenant, identity=f"TERM-{index}") for index in range(STATIONS)]
    load = Load(stations, tenant.token.uid)
    worker = threading.Thread(target=lambda: asyncio.run(load.run()))
    with live.running("uvicorn", database) as server:
        load.port = server.port
        worker.start()
        live.wait_for(lambda: load.acknowledged > 200, 30)
        for _ in range(TIMES):
            assert terminate_others(database) > 0
            time.sleep(0.3)
        before = load.acknowledged
        live.wait_for(lambda: load.acknowledged > before + 400, 40)
        load.finishing = True
        worker.join(timeout=40)
        assert not worker.is_alive()
        assert server.stop() == 0
    assert lost(load) == []


def terminate_others(database: str) -> int:
    """How many connections to `database` were ended; ours stays."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = %s AND pid <> pg_backend_pid()",
            [database],
        )
        return cursor.fetchone()[0]
