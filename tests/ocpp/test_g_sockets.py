"""The gateway's contract at its sockets: admission, presence, handshakes, the database's absence."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import socket
import subprocess
import sys
import time

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import OperationalError, connection
from django.utils import timezone

from apps.core import live as core_live
from apps.installations.models import ConnectionInterval, ConnectorState, StationState
from apps.ocpp import batches, gateway, handshake, services
from apps.ocpp.models import Frame, GatewayLease, OperatorKey
from tests.factories.cards import TokenFactory
from tests.factories.tasks import run_tasks
from tests.ocpp import live
from tests.ocpp.sockets import Closed, in_process


def state_of(station) -> StationState:
    return StationState.objects.unscoped("test").get(station=station)


def intervals_of(station) -> list[ConnectionInterval]:
    return list(ConnectionInterval.objects.unscoped("test").filter(station=station).order_by("generation"))


def status(number: int, name: str = "Available") -> list:
    payload = {"connectorId": 1, "errorCode": "NoError", "status": name, "timestamp": "2026-11-21T12:00:00Z"}
    return [2, f"s{number}", "StatusNotification", payload]


def booted(firmware: str) -> list:
    payload = {"chargePointVendor": "Acme", "chargePointModel": "One", "firmwareVersion": firmware}
    return [2, f"boot {firmware}", "BootNotification", payload]


@pytest.fixture
def slow_commit(monkeypatch):
    """Each batch takes at least half a second from now on."""
    write = batches.Batch._write

    def slowly(self, *args, **kwargs):
        time.sleep(0.5)
        write(self, *args, **kwargs)

    monkeypatch.setattr(batches.Batch, "_write", slowly)


@pytest.fixture
def process(tenant):
    with in_process() as one:
        yield one


# --- G1 ---------------------------------------------------------------------------------------------------------------


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


# --- G2 ---------------------------------------------------------------------------------------------------------------


def test_g02_calls_that_are_pipelined_are_answered_in_order_one_at_a_time(process, tenant, slow_commit):
    charger = process.connect(live.add_station(tenant).identity)
    charger.send(*status(1))
    charger.send(*status(2, "Preparing"))
    charger.send(2, "h", "Heartbeat", {})
    charger.send(*status(3, "Charging"))
    time.sleep(0.2)
    assert process.gateway.admission.running == 1
    assert not charger.received, "a heartbeat waits its turn too"
    assert [charger.receive()[1] for _ in range(4)] == ["s1", "s2", "h", "s3"]


def test_g02_an_answer_to_our_command_never_waits_behind_calls(process, tenant, slow_commit):
    station = live.add_station(tenant)
    charger = process.connect(station.identity)

    async def ask():
        return process.gateway.outbox.ask(station.pk, "TriggerMessage", {"requestedMessage": "Heartbeat"})

    answered = process.run(ask())
    asked = charger.receive()
    for number in range(5):
        charger.send(*status(number))
    charger.send(3, asked[1], {"status": "Accepted"})
    time.sleep(0.2)
    assert answered.result().payload == {"status": "Accepted"}
    assert not charger.received, "no CALL was answered yet"


def test_g02_one_station_has_one_admitted_call_over_two_sockets(process, tenant, slow_commit):
    station = live.add_station(tenant)
    older = process.connect(station.identity)
    older.send(*status(1))
    time.sleep(0.1)
    newer = process.connect(station.identity)
    newer.send(*status(2, "Preparing"))
    time.sleep(0.1)
    assert process.gateway.admission.running == 1
    assert newer.receive()[1] == "s2"
    answers = Frame.objects.unscoped("test").filter(station_id=station.pk)
    assert sorted(answers.values_list("message_id", flat=True)) == ["s1", "s2"]


def test_g02_more_waiting_than_allowed_ends_the_connection_and_loses_nothing_that_was_taken(
    process, tenant, slow_commit
):
    station = live.add_station(tenant)
    charger = process.connect(station.identity)
    for number in range(100):
        charger.send(*status(number))
    with pytest.raises(Closed) as closed:
        [charger.receive() for _ in range(100)]
    assert closed.value.code == 1008
    assert intervals_of(station)[0].reason in ("", "protocol")


def test_g02_more_bytes_waiting_than_allowed_end_the_connection(process, tenant, slow_commit):
    charger = process.connect(live.add_station(tenant).identity)
    charger.send(*status(1))
    for number in range(3):
        charger.send(2, f"d{number}", "DataTransfer", {"vendorId": "x", "data": "y" * 900_000})
    with pytest.raises(Closed) as closed:
        [charger.receive() for _ in range(4)]
    assert closed.value.code == 1008


def test_g02_a_charger_that_waits_for_each_answer_is_never_a_flood(server, tenant):
    with live.connected(server, live.add_station(tenant).identity) as charger:
        for _ in range(300):
            assert charger.call("Heartbeat")[0] == 3


def test_g14_what_waited_when_the_socket_died_is_committed(process, tenant, slow_commit):
    station = live.add_station(tenant)
    charger = process.connect(station.identity)
    for number in range(3):
        charger.send(*status(number))
    charger.lose()
    frames = Frame.objects.unscoped("test").filter(station_id=station.pk)
    live.wait_for(lambda: frames.count() == 3)


# --- repeated ids -----------------------------------------------------------------------------------------------------


def test_a_repeated_call_gets_its_stored_answer_and_is_logged_again(process, tenant):
    station = live.add_station(tenant)
    charger = process.connect(station.identity)
    start = {"connectorId": 1, "idTag": tenant.token.uid, "meterStart": 5, "timestamp": "2026-11-21T10:00:00Z"}
    first = charger.call("x", "StartTransaction", start)
    assert charger.call("x", "StartTransaction", start) == first
    assert charger.call("x", "StartTransaction", start | {"meterStart": 6}) != first
    frames = Frame.objects.unscoped("test").filter(station_id=station.pk)
    live.wait_for(lambda: frames.count() == 3)


def test_a_repeated_authorize_is_decided_anew(process, tenant):
    token = TokenFactory(operator=tenant.operator, state="active")
    charger = process.connect(live.add_station(tenant).identity)
    assert charger.call("x", "Authorize", {"idTag": token.uid})[2]["idTagInfo"]["status"] == "Accepted"
    token.state = "blocked"
    token.save()
    assert charger.call("x", "Authorize", {"idTag": token.uid})[2]["idTagInfo"]["status"] == "Blocked"


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


def test_g10_where_the_doorbell_fails_the_older_socket_finds_out_by_itself(tenant, live_servers):
    station = live.add_station(tenant)
    one, two = live_servers
    with live.connected(one, station.identity) as older, live.connected(two, station.identity) as newer:
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


# --- G13 --------------------------------------------------------------------------------------------------------------


def test_g13_without_a_database_sockets_are_closed_spread_out_and_handshakes_refused(process, tenant, monkeypatch):
    monkeypatch.setattr(gateway, "AWAY_AFTER_S", 1.5)
    monkeypatch.setattr(gateway, "SPREAD_RATE", 5.0)
    stations = [live.add_station(tenant) for _ in range(5)]
    chargers = [process.connect(station.identity) for station in stations]

    def away():
        raise OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as patch:
        patch.setattr(gateway, "_ping", away)
        closed_at = []
        for charger in chargers:
            with pytest.raises(Closed) as closed:
                charger.receive()
            closed_at.append(time.monotonic())
            assert closed.value.code == 1013
        assert closed_at[-1] - closed_at[0] > 0.5
        assert not gateway.is_ready()
        with pytest.raises(Closed) as refused:
            process.connect(stations[0].identity)
        assert refused.value.code == 503
    live.wait_for(lambda: process.gateway.ready)
    assert process.connect(stations[0].identity).call("h", "Heartbeat")[0] == 3
    live.wait_for(lambda: {one.reason for one in intervals_of(stations[1])} == {"database"})


def test_g13_a_database_that_takes_batches_is_there_though_house_keeping_waits_for_it(process, tenant, monkeypatch):
    monkeypatch.setattr(gateway, "AWAY_AFTER_S", 1.5)
    charger = process.connect(live.add_station(tenant).identity)
    monkeypatch.setattr(gateway, "_ping", lambda: time.sleep(3))
    for number in range(15):
        assert charger.call(f"d{number}", "DataTransfer", {"vendorId": "x"})[0] == 3
        assert process.gateway.ready
        time.sleep(0.2)


def test_g13_after_its_return_handshakes_are_admitted_at_a_limited_rate(process, tenant, monkeypatch):
    monkeypatch.setattr(handshake, "RETURN_RATE", 50.0)
    stations = [live.add_station(tenant) for _ in range(20)]
    process.gateway.handshakes.limit_rate()
    began = time.monotonic()
    requests = [
        handshake.Request(live.URL_KEY, station.identity, live.SECRET.encode(), None, "ocpp1.6", "127.0.0.1")
        for station in stations
    ]

    async def admit_all():
        return await asyncio.gather(*map(process.gateway.handshakes.admit, requests))

    answers = process.run(admit_all())
    assert all(isinstance(answer, handshake.Accepted) for answer in answers)
    assert time.monotonic() - began > 0.3


# --- G15 --------------------------------------------------------------------------------------------------------------


def test_g15_handshakes_that_wait_are_answered_by_a_fixed_number_of_queries(tenant, django_assert_max_num_queries):
    stations = [live.add_station(tenant) for _ in range(60)]
    requests = [
        handshake.Request(live.URL_KEY, station.identity.upper(), secret.encode(), None, "ocpp1.6", "127.0.0.1")
        for station, secret in zip(stations, [live.SECRET] * 50 + ["0" * 40] * 10, strict=True)
    ]
    with django_assert_max_num_queries(16):
        answers, refusals = handshake.decide(requests, gateway="test")
        handshake.record_refusals(refusals, timezone.now())
    assert [isinstance(answer, handshake.Accepted) for answer in answers] == [True] * 50 + [False] * 10
    assert {state_of(station).generation for station in stations[:50]} == {1}


def test_g15_two_sockets_of_a_station_at_once_get_generations_of_their_own(process, tenant):
    station = live.add_station(tenant)
    request = handshake.Request(live.URL_KEY, station.identity, live.SECRET.encode(), None, "ocpp1.6", "127.0.0.1")

    async def admit_all():
        return await asyncio.gather(*(process.gateway.handshakes.admit(request) for _ in range(5)))

    assert sorted(answer.generation for answer in process.run(admit_all())) == [1, 2, 3, 4, 5]


def test_g10_a_station_that_calls_by_two_url_keys_at_once_has_one_connection_of_a_generation(tenant):
    station = live.add_station(tenant)
    OperatorKey.objects.create(operator=tenant.operator, key="overlap")
    requests = [
        handshake.Request(key, station.identity, live.SECRET.encode(), None, "ocpp1.6", "127.0.0.1")
        for key in (live.URL_KEY, "overlap")
    ]
    answers, refusals = handshake.decide(requests, gateway="test")
    assert isinstance(answers[0], handshake.Accepted)
    assert answers[1] is handshake.UNAVAILABLE
    assert refusals == []
    assert state_of(station).generation == answers[0].generation


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(gateway, "SETTLE_S", 0.3)
    monkeypatch.setattr(gateway, "JITTER_S", 0.1)


@pytest.mark.parametrize(
    "answer", [lambda pk: [4, pk, "NotSupported", "", {}], lambda pk: [3, pk, {"status": "NotImplemented"}]]
)
def test_g15_status_is_asked_for_after_a_connect_and_never_again_where_it_is_not_known(
    impatient, process, tenant, answer
):
    station = live.add_station(tenant)
    charger = process.connect(station.identity)
    asked = charger.receive()
    assert asked[2:] == ["TriggerMessage", {"requestedMessage": "StatusNotification"}]
    charger.send(*answer(asked[1]))
    live.wait_for(lambda: state_of(station).status_on_connect)
    again = process.connect(station.identity)
    time.sleep(0.8)
    assert not again.received


def test_g15_another_firmware_is_asked_again(impatient, process, tenant):
    station = live.add_station(tenant)

    def boot(charger, firmware):
        charger.send(*booted(firmware))
        while charger.receive()[0] != 3:  # the baseline is read meanwhile
            pass
        run_tasks()

    charger = process.connect(station.identity)
    asked = charger.receive()
    boot(charger, "1.0")
    charger.send(4, asked[1], "NotSupported", "", {})
    live.wait_for(lambda: state_of(station).status_on_connect)
    boot(charger, "1.0")
    boot(charger, "")
    assert state_of(station).status_on_connect == "NotSupported"
    boot(charger, "1.1")
    assert state_of(station).status_on_connect == ""
    again = process.connect(station.identity)
    while (heard := again.receive())[2:] != asked[2:]:  # one call after the other: the baseline may come first
        again.send(4, heard[1], "NotSupported", "", {})


def test_g15_a_charger_that_reports_by_itself_is_not_asked(impatient, process, tenant):
    charger = process.connect(live.add_station(tenant).identity)
    charger.send(*status(1))
    assert charger.receive()[1] == "s1"
    time.sleep(0.8)
    assert not charger.received


def test_g15_questions_after_a_storm_are_spread(impatient, process, tenant, monkeypatch):
    monkeypatch.setattr(gateway, "ASK_RATE", 10.0)
    chargers = [process.connect(live.add_station(tenant).identity) for _ in range(6)]
    began = time.monotonic()
    for charger in chargers:
        charger.receive()
    assert time.monotonic() - began > 0.4


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
    station = live.add_station(tenant)
    with live.running(kind, live_database) as server, live.connected(server, station.identity) as charger:
        assert charger.call("Heartbeat")[0] == 3
        began = time.monotonic()
        server.process.terminate()
        with pytest.raises(Exception, match="1001"):
            charger.websocket.recv(timeout=live.PATIENCE_S)
        assert server.process.wait(20) == 0
        assert time.monotonic() - began < 5
    assert not state_of(station).online
    assert [one.reason for one in intervals_of(station)] == ["drained"]


def test_a_server_whose_port_is_taken_says_so_and_leaves_nothing_behind(server, live_database):
    before = set(GatewayLease.objects.values_list("name", flat=True))
    arguments = [sys.executable, "manage.py", live.COMMANDS[server.kind], "--port", str(server.port)]
    environment = live.environment(live_database)
    ended = subprocess.run(arguments, cwd=live.ROOT, env=environment, capture_output=True, timeout=30, check=False)
    assert ended.returncode != 0
    assert "in use" in ended.stderr.decode()
    services.sweep_leases(now=timezone.now(), host=socket.gethostname())
    assert set(GatewayLease.objects.values_list("name", flat=True)) == before
