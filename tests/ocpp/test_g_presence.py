"""The gateway's contract on who is where: generations, leases, what was seen and when (G9, G10, G11, G16)."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import time

import pytest
from django.conf import settings
from django.utils import timezone

from apps.core import live as core_live
from apps.installations.models import ConnectionInterval, ConnectorState, StationState
from apps.ocpp import gateway, handshake, services
from apps.ocpp.models import Frame, GatewayLease
from tests.ocpp import live
from tests.ocpp.live import intervals_of, state_of
from tests.ocpp.sockets import Closed, in_process, status
from tests.services import start_redis

# --- G9, G10 ----------------------------------------------------------------------------------------------------------


def test_g09_an_older_connection_never_overwrites_what_a_newer_one_said(process, tenant, slow_commit):
    station = live.add_station(tenant)
    older = process.connect(station.identity)
    older.send(*status(1, "Preparing"))
    older.send(*status(2, "Faulted"))
    newer = process.connect(station.identity)
    newer.send(*status(3, "Charging"))
    assert newer.receive()[1] == "s3"
    frames = Frame.objects.unscoped("test").filter(station_id=station.pk)
    live.wait_for(lambda: frames.count() == 3)
    connector = ConnectorState.objects.unscoped("test").get(connector__station=station)
    assert (connector.status, connector.generation) == ("Charging", 2)


def test_g09_facts_of_an_older_connection_count(process, tenant, slow_commit):
    station = live.add_station(tenant)
    older = process.connect(station.identity)
    start = {"connectorId": 1, "idTag": tenant.token.uid, "meterStart": 5, "timestamp": "2026-11-21T10:00:00Z"}
    older.send(2, "1", "StartTransaction", start)
    older.send(2, "2", "StartTransaction", start | {"meterStart": 9, "timestamp": "2026-11-21T11:00:00Z"})
    process.connect(station.identity)
    live.wait_for(lambda: station.sessions.count() == 2)


def test_g10_the_newest_socket_wins_and_the_older_one_is_rung_and_closed(server, tenant):
    station = live.add_station(tenant)
    with live.connected(server, station.identity) as older, live.connected(server, station.identity) as newer:
        with pytest.raises(Exception, match="replaced by a newer connection"):
            older.websocket.recv(timeout=live.PATIENCE_S)
        assert newer.call("Heartbeat")[0] == 3
        time.sleep(1.0)
        assert state_of(station).online, "the older one's end is not the station's"
        first, second = intervals_of(station)
        assert (first.reason, second.reason, second.ended_at) == ("replaced", "", None)
    live.wait_for(lambda: not state_of(station).online)


def test_g10_a_connection_elsewhere_rings_at_the_gateway_that_had_the_charger(process, tenant, monkeypatch):
    station = live.add_station(tenant)
    process.connect(station.identity)
    rung: set[str] = set()
    monkeypatch.setattr(handshake.live, "touch_committed", rung.update)
    request = handshake.Request(live.URL_KEY, station.identity, live.SECRET.encode(), None, "ocpp1.6", "127.0.0.1")
    handshake.decide([request], gateway="another")
    assert rung == {
        f"gateway.{process.gateway.name}",
        f"station.{station.pk}",
        f"operator.{station.operator_id}",
    }


def test_g10_a_gateway_that_is_rung_closes_what_is_no_longer_the_newest(process, tenant):
    station = live.add_station(tenant)
    charger = process.connect(station.identity)
    StationState.objects.unscoped("test").filter(station=station).update(generation=9, gateway="another")
    core_live.touch_committed({f"gateway.{process.gateway.name}"})
    with pytest.raises(Closed) as closed:
        charger.receive(5)
    assert closed.value.code == 1000
    time.sleep(1.0)
    assert state_of(station).online, "it is another gateway's now"


def test_g10_where_the_doorbell_fails_the_older_socket_finds_out_by_itself(tenant, live_database, tmp_path):
    """A Redis of the test's own dies. Without Redis no doorbell reaches another process."""
    station = live.add_station(tenant)
    redis, url = start_redis(tmp_path / "log") if settings.REDIS_URL else (None, "")
    with (
        live.running("uvicorn", live_database, REDIS_URL=url) as one,
        live.running("uvicorn", live_database, REDIS_URL=url) as two,
        live.connected(one, station.identity) as older,
    ):
        if redis is not None:
            redis.kill()
            redis.wait()
        with live.connected(two, station.identity) as newer:
            with pytest.raises(Exception, match="replaced by a newer connection"):
                older.websocket.recv(timeout=20)
            assert newer.call("Heartbeat")[0] == 3
            assert state_of(station).online
            assert state_of(station).generation == 2


def test_g10_offline_is_written_only_for_ones_own_generation(tenant):
    station = live.add_station(tenant)
    StationState.objects.unscoped("test").filter(station=station).update(generation=7, online=True)
    for generation, online in ((6, True), (7, False)):
        ended = services.Ended(station.pk, station.operator_id, generation, timezone.now(), "lost", 1006)
        services.mark_offline(ended=[ended])
        assert state_of(station).online is online


# --- G11 --------------------------------------------------------------------------------------------------------------


def lost_gateway(station, *, host="elsewhere", pid=1, beat_at: dt.datetime) -> str:
    name = f"lost-{station.pk}"
    GatewayLease.objects.create(name=name, host=host, pid=pid, started_at=beat_at, beat_at=beat_at)
    StationState.objects.unscoped("test").filter(station=station).update(generation=1, online=True, gateway=name)
    ConnectionInterval.objects.create(
        operator_id=station.operator_id,
        station=station,
        generation=1,
        gateway=name,
        protocol="ocpp1.6",
        started_at=beat_at,
    )
    return name


def test_g11_after_20_seconds_without_a_beat_a_gateways_stations_are_offline(tenant):
    station, now = live.add_station(tenant), timezone.now()
    beat_at = now - dt.timedelta(seconds=15)
    name = lost_gateway(station, beat_at=beat_at)
    assert name not in services.sweep_leases(now=now)
    assert state_of(station).online
    assert services.sweep_leases(now=now + dt.timedelta(seconds=6)) == [name]
    state, interval = state_of(station), intervals_of(station)[0]
    assert (state.online, state.disconnected_at) == (False, beat_at)
    assert (interval.reason, interval.ended_at) == ("gateway lost", beat_at)
    assert not GatewayLease.objects.filter(name=name).exists()


def test_g11_each_gateway_sweeps_for_all_by_itself(tenant, monkeypatch):
    assert gateway.SWEEP_S == 10.0
    monkeypatch.setattr(gateway, "SWEEP_S", 0.5)
    station = live.add_station(tenant)
    with in_process():
        name = lost_gateway(station, beat_at=timezone.now() - dt.timedelta(seconds=19))
        assert state_of(station).online
        live.wait_for(lambda: not state_of(station).online)
        assert not GatewayLease.objects.filter(name=name).exists()
        assert intervals_of(station)[0].reason == "gateway lost"


@pytest.mark.parametrize("waited_for", [True, False])
def test_g11_a_process_that_starts_clears_the_leases_of_its_own_host_whose_process_is_dead(tenant, waited_for):
    ended = subprocess.Popen(["true"])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has taken note yet
    if waited_for:
        ended.wait()
    station, neighbour = live.add_station(tenant), live.add_station(tenant)
    now = timezone.now()
    beat_at = now - dt.timedelta(seconds=1)
    name = lost_gateway(station, host="here", pid=ended.pid, beat_at=beat_at)
    lives = lost_gateway(neighbour, host="here", pid=os.getppid(), beat_at=beat_at)
    assert services.sweep_leases(now=now, host="here") == [name]
    assert not state_of(station).online
    assert state_of(neighbour).online
    GatewayLease.objects.filter(name=lives).delete()
    ended.wait()


def test_g11_a_gateway_that_was_taken_for_dead_lets_its_chargers_connect_anew(process, tenant, monkeypatch):
    station = live.add_station(tenant)
    charger = process.connect(station.identity)
    services.sweep_leases(now=timezone.now() + dt.timedelta(seconds=30))
    assert not state_of(station).online
    with pytest.raises(Closed) as closed:
        charger.receive()
    assert closed.value.code == 1012
    assert GatewayLease.objects.filter(name=process.gateway.name).exists()


@pytest.fixture
def quick_flush(monkeypatch):
    assert gateway.SEEN_S == 10.0
    monkeypatch.setattr(gateway, "SEEN_S", 1.0)


# --- G16 --------------------------------------------------------------------------------------------------------------


def test_g16_heartbeats_are_answered_from_memory_and_last_seen_is_flushed(quick_flush, process, tenant):
    station = live.add_station(tenant)
    charger = process.connect(station.identity)
    before = state_of(station).last_seen_at
    time.sleep(0.05)
    answer = charger.call("h", "Heartbeat")
    sent = dt.datetime.fromisoformat(answer[2]["currentTime"])
    assert abs((timezone.now() - sent).total_seconds()) < 5
    assert state_of(station).last_seen_at == before
    live.wait_for(lambda: state_of(station).last_seen_at > before)
    assert not Frame.objects.unscoped("test").filter(station_id=station.pk).exists()


def test_g16_heartbeats_of_a_traced_station_enter_the_log(process, tenant):
    traced = live.add_station(tenant, traced_until=timezone.now() + dt.timedelta(minutes=5))
    charger = process.connect(traced.identity)
    charger.call("h", "Heartbeat")
    frames = Frame.objects.unscoped("test").filter(station_id=traced.pk, action="Heartbeat")
    live.wait_for(frames.exists)


def test_g16_a_trace_that_begins_during_a_connection_is_noticed(process, tenant):
    station = live.add_station(tenant)
    charger = process.connect(station.identity)
    type(station).objects.unscoped("test").filter(pk=station.pk).update(
        traced_until=timezone.now() + dt.timedelta(minutes=5)
    )
    process.run(process.gateway._look_around())
    charger.call("h", "Heartbeat")
    live.wait_for(Frame.objects.unscoped("test").filter(station_id=station.pk, action="Heartbeat").exists)


def test_g16_last_seen_is_flushed_at_the_end(tenant):
    station = live.add_station(tenant)
    with in_process() as process:
        charger = process.connect(station.identity)
        before = state_of(station).last_seen_at
        time.sleep(0.05)
        charger.call("h", "Heartbeat")
    assert state_of(station).last_seen_at > before
