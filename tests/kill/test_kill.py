"""kill -9 of the gateway under load: nothing that was acknowledged is missing, nothing is there twice."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time

import pytest

from apps.ocpp.models import Frame
from tests.kill.doomed import BATCH
from tests.kill.load import Load, at_work, lost, pending_ids
from tests.ocpp import live

KILLS = int(os.environ.get("KILLS", "1"))
STATIONS = 40
WARM_UP = 200  # acknowledged messages
BATCHES = (5, 25)  # of a doomed gateway
AT_ANY_TIME = "at any time"
COMMITTED = {"between COMMIT and answers", "between two answers"}  # what was not answered is stored
MOMENTS = [
    ("uvicorn", "before the batch"),
    ("daphne", "between facts and frames"),
    ("uvicorn", "before COMMIT"),
    ("daphne", "between COMMIT and answers"),
    ("uvicorn", "between COMMIT and answers"),
    ("daphne", "between two answers"),
    ("uvicorn", AT_ANY_TIME),
]


@pytest.mark.parametrize("number", range(KILLS))
def test_everything_acknowledged_survives_kills_at_each_point_of_a_batch(tenant, database, say, number):
    assert {point for _kind, point in MOMENTS} == {*BATCH, AT_ANY_TIME}
    stations = [live.add_station(tenant, identity=f"KILL-{index}") for index in range(STATIONS)]
    load, numbers = Load(stations, tenant.token.uid, seed=number), random.Random(f"{os.getpid()}:{number}")
    with contextlib.ExitStack() as last:
        with at_work(load):
            for kind, point in MOMENTS:
                before, abandoned = load.acknowledged, set(pending_ids(load))
                kill(kind, point, load, database, numbers)
                unanswered = stored(set(pending_ids(load)) - abandoned)
                say(f"{kind}, {point}: {load.acknowledged - before} acknowledged, {unanswered} stored without answer")
                assert load.acknowledged > before
                assert unanswered > 0 or point not in COMMITTED
            server = last.enter_context(live.running("uvicorn", database))
            load.port, before = server.port, load.acknowledged
            live.wait_for(lambda: load.acknowledged > before + WARM_UP, 40)
        assert server.stop() == 0
    say(f"{load.acknowledged} acknowledged in the end")
    assert lost(load) == []


def kill(kind: str, point: str, load: Load, database: str, numbers: random.Random) -> None:
    """Let the chargers speak to a gateway that is killed at this point."""
    program = ("manage.py",)
    if point != AT_ANY_TIME:
        program = ("-m", "tests.kill.doomed", point, str(numbers.randint(*BATCHES)))
    with live.running(kind, database, program=program) as server:
        load.port, before = server.port, load.acknowledged
        if point == AT_ANY_TIME:
            live.wait_for(lambda: load.acknowledged > before + WARM_UP, 30)
            time.sleep(numbers.uniform(0, 0.5))
            server.process.send_signal(signal.SIGKILL)
        assert server.process.wait(timeout=40) == -signal.SIGKILL
    time.sleep(0.2)  # what had left arrives


def stored(message_ids: set[str]) -> int:
    return Frame.objects.unscoped("a test").filter(message_id__in=message_ids).count()
