"""kill -9 of the gateway under load: nothing that was acknowledged is missing, nothing is there twice."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time

import pytest
from django.db import connection

from apps.ocpp.models import Frame
from tests.kill.load import Load, lost, pending_ids
from tests.ocpp import live

KILLS = int(os.environ.get("KILLS", "1"))
STATIONS = 40
WARM_UP = 400  # acknowledged messages


@pytest.mark.parametrize("number", range(KILLS))
@pytest.mark.parametrize("moment", ["at any time", "when a commit is seen"])
def test_everything_acknowledged_survives_a_kill(tenant, database, say, number, moment):
    stations = [live.add_station(tenant, identity=f"KILL-{index}") for index in range(STATIONS)]
    load = Load(stations, tenant.token.uid, seed=number)
    worker = threading.Thread(target=lambda: asyncio.run(load.run()))
    with live.running("uvicorn", database) as first:
        load.port = first.port
        worker.start()
        live.wait_for(lambda: load.acknowledged > WARM_UP, 30)
        if moment == "when a commit is seen":
            wait_for_commit()
        else:
            time.sleep(random.Random(f"{os.getpid()}:{number}").uniform(0.2, 1.5))
        first.process.send_signal(signal.SIGKILL)
        first.process.wait(timeout=10)
    unanswered = stored(pending_ids(load))
    before = load.acknowledged
    with live.running("uvicorn", database) as second:
        load.port = second.port
        live.wait_for(lambda: load.acknowledged > before + WARM_UP, 40)
        load.finishing = True
        worker.join(timeout=40)
        assert not worker.is_alive()
        assert second.stop() == 0
    say(f"{before} acknowledged before the kill, {unanswered} stored without answer, {load.acknowledged} in the end")
    assert lost(load) == []


def wait_for_commit() -> None:
    """Until another connection's commit can be seen: its answers are about to leave."""
    table = Frame._meta.db_table
    with connection.cursor() as cursor:
        counts = set()
        while len(counts) < 3:
            cursor.execute(f"SELECT count(*) FROM {table}")
            counts.add(cursor.fetchone()[0])


def stored(message_ids: list[str]) -> int:
    return Frame.objects.unscoped("a test").filter(message_id__in=message_ids).count()
