"""The gateway's contract on its end: what was admitted is answered, and nothing is left behind (G17)."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

import pytest
from django.utils import timezone
from websockets.exceptions import ConnectionClosed, InvalidStatus

from apps.ocpp import gateway, services
from apps.ocpp.models import Frame, GatewayLease
from tests.ocpp import live
from tests.ocpp.live import intervals_of, state_of
from tests.ocpp.sockets import Closed, in_process, status
from tests.ocpp.test_answer_table import table

# --- G17 --------------------------------------------------------------------------------------------------------------


def test_g17_at_the_end_what_was_admitted_is_answered_and_what_was_not_is_left(tenant, slow_commit):
    station = live.add_station(tenant)
    with in_process() as process:
        charger = process.connect(station.identity)
        charger.send(*status(1))
        charger.send(*status(2))
        time.sleep(0.2)
        process.run(process.gateway.drain(), 30)
        assert charger.receive()[1] == "s1"
        with pytest.raises(Closed) as closed:
            charger.receive()
        assert closed.value.code == 1001
        with pytest.raises(Closed) as refused:
            process.connect(station.identity)
        assert refused.value.code == 503
        assert not gateway.is_ready()
    frames = Frame.objects.unscoped("test").filter(station_id=station.pk)
    assert list(frames.values_list("message_id", flat=True)) == ["s1"]
    assert not state_of(station).online
    assert [one.reason for one in intervals_of(station)] == ["drained"]
    assert not GatewayLease.objects.filter(name=process.gateway.name).exists()


@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
def test_g17_sigterm_ends_a_server_in_order(tenant, live_database, kind):
    station, late = live.add_station(tenant), live.add_station(tenant)
    with live.running(kind, live_database) as server, live.connected(server, station.identity) as charger:
        assert charger.call("Heartbeat")[0] == 3
        with live.held_up(station):
            charger.send(*status(1))
            time.sleep(0.2)
            began = time.monotonic()
            server.process.terminate()
            time.sleep(0.2)
            with pytest.raises(InvalidStatus) as refused, live.connected(server, late.identity):
                pass
            answer = f"{refused.value.response.status_code} with Retry-After"
            assert answer == dict(table("Connecting"))["the server is being restarted, or has no database"]
            assert refused.value.response.headers["Retry-After"] == "30"
            assert server.get("/readyz")[0] == 503
            charger.send(*status(2))
        assert charger.receive()[1] == "s1", "it was admitted"
        with pytest.raises(ConnectionClosed) as closed:
            charger.websocket.recv(timeout=live.PATIENCE_S)
        assert closed.value.rcvd.code == 1001
        assert server.process.wait(20) == 0
        assert time.monotonic() - began < 5
    frames = Frame.objects.unscoped("test").filter(station_id=station.pk)
    assert list(frames.values_list("message_id", flat=True)) == ["s1"], "the charger repeats what was not admitted"
    assert not state_of(station).online
    assert [one.reason for one in intervals_of(station)] == ["drained"]
    assert state_of(late).generation == 0


def test_a_server_whose_port_is_taken_says_so_and_leaves_nothing_behind(server, live_database):
    before = set(GatewayLease.objects.values_list("name", flat=True))
    arguments = [sys.executable, "manage.py", live.COMMANDS[server.kind], "--port", str(server.port)]
    environment = live.environment(live_database)
    ended = subprocess.run(arguments, cwd=live.ROOT, env=environment, capture_output=True, timeout=30, check=False)
    assert ended.returncode != 0
    assert "in use" in ended.stderr.decode()
    services.sweep_leases(now=timezone.now(), host=socket.gethostname())
    assert set(GatewayLease.objects.values_list("name", flat=True)) == before
