"""Contract G18 over real sockets: commands on their way through running servers."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import signal
import threading
import time

import pytest
from django.conf import settings
from websockets.exceptions import ConnectionClosed

from apps.accounts.services import create_api_key
from apps.core import live as hints
from apps.core.actor import Actor
from apps.installations.models import Command, ConfigurationValue, StationState
from apps.installations.services import request_command
from apps.ocpp.models import Frame
from tests.factories.tasks import run_tasks
from tests.ocpp import live
from tests.ocpp.live import connected, wait_for

QUIET_S = 2.5  # two polls and a bit: what comes later is not a command that was overlooked


def ask(station, action="Reset", payload=None, *, ago=0.0):
    return request_command(
        actor=Actor.system(station.operator_id),
        station=station,
        action=action,
        payload={"type": "Soft"} if payload is None else payload,
        why="test",
        now=dt.datetime.now(dt.UTC) - dt.timedelta(seconds=ago),
    )


def row(command):
    return Command.objects.unscoped("test").get(pk=command.pk)


def in_state(command, *states, seconds=live.PATIENCE_S):
    return wait_for(lambda: (one := row(command)).state in states and one, seconds)


def heard(charger, seconds=QUIET_S):
    """Actions of the CALLs that arrive."""
    actions = []
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        try:
            message = charger.receive(left)
        except TimeoutError:
            break
        if message[0] == 2:
            actions.append(message[2])
    return actions


def answer(charger, payload):
    """Receive one CALL and confirm it; its action and payload."""
    kind, message_id, action, request = charger.receive()
    assert kind == 2
    charger.send(3, message_id, payload)
    return action, request


def test_g18_the_row_says_sent_when_the_frame_arrives(server, tenant):
    station = live.add_station(tenant)
    with connected(server, station.identity) as charger:
        command = ask(station)
        message = charger.receive()
        found = row(command)
        assert message == [2, found.message_id, "Reset", {"type": "Soft"}]
        assert found.state == "sent"
        charger.send(3, found.message_id, {"status": "Rejected"})
        found = in_state(command, "rejected")
        assert (found.answered_by, found.detail) == ("station", "Rejected")


def test_g18_the_pair_enters_the_frame_log_and_secrets_do_not(server, tenant):
    station = live.add_station(tenant)
    with connected(server, station.identity) as charger:
        ask(station, "GetConfiguration", {"key": ["AuthorizationKey"]})
        entry = {"key": "AuthorizationKey", "readonly": False, "value": "c0ffee"}
        answer(charger, {"configurationKey": [entry]})
        frame = wait_for(Frame.objects.unscoped("test").filter(station_id=station.pk, direction="out").first)
        assert frame.action == "GetConfiguration"
        assert "AuthorizationKey" in frame.request
        assert "c0ffee" not in frame.response
        assert frame.latency_ms is not None
    stored = ConfigurationValue.objects.unscoped("test").get(station=station)
    assert (stored.key, stored.value) == ("AuthorizationKey", "")


def test_g18_a_charger_that_connects_too_late_is_sent_nothing(server, tenant):
    station = live.add_station(tenant)
    commands = [
        ask(station, "Reset", ago=31),
        ask(station, "RemoteStartTransaction", {"idTag": tenant.token.uid}, ago=31),
        ask(station, "UnlockConnector", {"connectorId": 1}, ago=31),
    ]
    with connected(server, station.identity) as charger:
        assert heard(charger) == []
        for command in commands:
            found = in_state(command, "not_delivered")
            assert found.answered_by == "system"


def test_g18_what_may_wait_is_delivered_at_connect_one_after_the_other(server, tenant):
    station = live.add_station(tenant)
    first = ask(station, "ChangeConfiguration", {"key": "HeartbeatInterval", "value": "300"}, ago=3600)
    second = ask(station, "ClearCache", {}, ago=1800)
    with connected(server, station.identity) as charger:
        assert answer(charger, {"status": "Accepted"})[0] == "ChangeConfiguration"
        assert answer(charger, {"status": "Accepted"})[0] == "ClearCache"
        in_state(first, "done")
        in_state(second, "done")


def test_g18_a_socket_that_breaks_leaves_the_outcome_unknown_and_nothing_is_sent_again(server, tenant):
    station = live.add_station(tenant)
    with connected(server, station.identity) as charger:
        command = ask(station, "UnlockConnector", {"connectorId": 1})
        assert charger.receive()[2] == "UnlockConnector"
    assert in_state(command, "unknown").detail == "the connection broke before an answer"
    with connected(server, station.identity) as charger:
        assert heard(charger) == []


def test_g18_after_a_crash_of_the_gateway_nothing_is_sent_again_but_reads(tenant, live_database):
    stations = [live.add_station(tenant) for _ in range(2)]
    with both_connected(live_database, stations) as (server, first, second):
        reset, read = ask(stations[0]), ask(stations[1], "GetConfiguration", {})
        assert first.receive()[2] == "Reset"
        assert second.receive()[2] == "GetConfiguration"
        server.stop(signal.SIGKILL)
    assert (row(reset).state, row(read).state) == ("sent", "sent")
    with both_connected(live_database, stations) as (server, first, second):
        assert answer(second, {"configurationKey": []})[0] == "GetConfiguration"
        assert heard(first) == []
        assert in_state(reset, "unknown").answered_by == "system"
        in_state(read, "done")


@contextlib.contextmanager
def both_connected(database, stations):
    """A server of the test's own, and two chargers on it."""
    with (
        live.running("uvicorn", database) as server,
        connected(server, stations[0].identity) as first,
        connected(server, stations[1].identity) as second,
    ):
        yield server, first, second


def test_g18_of_two_processes_only_the_owner_of_the_newest_socket_sends(tenant, live_database):
    station = live.add_station(tenant)
    with (
        live.running("uvicorn", live_database) as one,
        live.running("uvicorn", live_database) as other,
        connected(one, station.identity) as older,
        connected(other, station.identity) as newer,
    ):
        commands = [ask(station, "ClearCache", {}) for _ in range(5)]
        for _ in commands:
            assert answer(newer, {"status": "Accepted"})[0] == "ClearCache"
        for command in commands:
            in_state(command, "done")
        assert _calls_until_closed(older) == []
        assert heard(newer) == []


def test_g18_a_command_given_in_one_process_is_delivered_by_another(tenant, live_servers):
    """Given at the API of `serve`, to a charger whose socket is at `gateway`."""
    web, gateway = live_servers
    station = live.add_station(tenant)
    _key, secret = create_api_key(
        actor=Actor.system(tenant.operator),
        operator=tenant.operator,
        name="another process",
        scopes=["installations.command_chargingstation", "installations.view_command"],
    )
    delays = []
    with connected(gateway, station.identity) as charger:
        for _ in range(3):
            time.sleep(1.1)  # a topic is hinted at once a second
            asked_at = time.monotonic()
            body = {"station": str(station.public_id), "action": "ClearCache"}
            given = web.api("commands/", secret, body)
            answer(charger, {"status": "Accepted"})
            delays.append(time.monotonic() - asked_at)
            wait_for(lambda path=f"commands/{given['id']}/": web.api(path, secret)["state"] == "done")
    assert sorted(delays)[1] < (0.5 if settings.REDIS_URL else 2.0), delays


KILLED = signal.Signals.SIGKILL
DOOMED = ("-m", "tests.kill.doomed", "between row and frame", "1")


@pytest.mark.parametrize("program", [("manage.py",), DOOMED], ids=["after the frame", "before the frame"])
def test_g18_of_two_processes_the_owner_is_killed_and_the_other_sends_only_what_was_not_sent(
    tenant, live_database, live_servers, program
):
    station, (_web, other) = live.add_station(tenant), live_servers
    with live.running("uvicorn", live_database, program=program) as owner:
        with connected(owner, station.identity) as charger:
            reset = ask(station, "Reset", ago=28.0)
            unlock = ask(station, "UnlockConnector", {"connectorId": 1}, ago=27.0)  # no socket before its deadline
            waits = ask(station, "ChangeConfiguration", {"key": "HeartbeatInterval", "value": "300"}, ago=26.0)
            if program == DOOMED:
                assert owner.process.wait(10) == -KILLED
                assert _calls_until_closed(charger) == []
            else:
                assert charger.receive()[2] == "Reset"
                assert owner.stop(KILLED) == -KILLED
        assert [row(one).state for one in (reset, unlock, waits)] == ["sent", "queued", "queued"]
        in_state(unlock, "not_delivered")
        with connected(other, station.identity) as charger:
            assert answer(charger, {"status": "Accepted"})[0] == "ChangeConfiguration"
            assert heard(charger) == []
    lost = in_state(reset, "unknown")
    assert (lost.answered_by, lost.detail) == ("system", "the connection broke before an answer")
    assert in_state(waits, "done").generation == 2
    assert row(unlock).state == "not_delivered"
    sent = Frame.objects.unscoped("test").filter(station_id=station.pk, direction="out")
    wait_for(lambda: list(sent.values_list("action", flat=True)) == ["ChangeConfiguration"])


def _calls_until_closed(charger):
    """The superseded socket may be closed meanwhile; what matters is that no CALL came before."""
    try:
        return heard(charger, 0.5)
    except ConnectionClosed:
        return []


@pytest.fixture
def doorbell(monkeypatch):
    """An event loop of this process, from which hints leave as they do from a web process."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    monkeypatch.setattr(hints, "_loop", loop)
    yield
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


def test_g18_a_command_of_another_process_is_sent_at_once_with_redis_and_within_a_second_without(
    server, tenant, doorbell
):
    station = live.add_station(tenant)
    delays = []
    with connected(server, station.identity) as charger:
        for _ in range(3):
            time.sleep(1.1)  # a topic is hinted at once a second
            asked_at = time.monotonic()
            ask(station, "ClearCache", {})
            answer(charger, {"status": "Accepted"})
            delays.append(time.monotonic() - asked_at)
    assert sorted(delays)[1] < (0.5 if settings.REDIS_URL else 2.0), delays


@pytest.fixture
def charging(server, tenant):
    """A charger on its socket, and the station."""
    station = live.add_station(tenant)
    with connected(server, station.identity) as charger:
        yield charger, station


def _now():
    return dt.datetime.now(dt.UTC).isoformat()


def test_g18_remote_start_and_stop_are_done_when_the_session_began_and_ended(charging, tenant):
    charger, station = charging
    start = ask(station, "RemoteStartTransaction", {"connectorId": 1, "idTag": tenant.token.uid.lower()})
    answer(charger, {"status": "Accepted"})
    assert in_state(start, "accepted").detail == "Accepted"
    begun = {"connectorId": 1, "idTag": tenant.token.uid, "meterStart": 0, "timestamp": _now()}
    transaction_id = charger.call("StartTransaction", begun)[2]["transactionId"]
    in_state(start, "done")
    stop = ask(station, "RemoteStopTransaction", {"transactionId": transaction_id})
    answer(charger, {"status": "Accepted"})
    in_state(stop, "accepted")
    charger.call("StopTransaction", {"transactionId": transaction_id, "meterStop": 500, "timestamp": _now()})
    in_state(stop, "done")


def test_g18_a_trigger_is_done_when_its_message_arrived(charging):
    charger, station = charging
    command = ask(station, "TriggerMessage", {"requestedMessage": "StatusNotification", "connectorId": 1})
    answer(charger, {"status": "Accepted"})
    in_state(command, "accepted")
    charger.call("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Available"})
    in_state(command, "done")


def test_g18_availability_is_done_when_the_status_says_so(charging):
    charger, station = charging
    command = ask(station, "ChangeAvailability", {"connectorId": 1, "type": "Inoperative"})
    answer(charger, {"status": "Accepted"})
    in_state(command, "accepted")
    charger.call("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Unavailable"})
    in_state(command, "done")


def test_g18_a_reset_is_done_when_the_charger_is_back(server, tenant):
    station = live.add_station(tenant)
    with connected(server, station.identity) as charger:
        command = ask(station)
        answer(charger, {"status": "Accepted"})
        in_state(command, "accepted")
    with connected(server, station.identity) as charger:
        charger.call("BootNotification", {"chargePointVendor": "Acme", "chargePointModel": "One"})
        in_state(command, "done")


def test_g18_a_reset_whose_answer_was_lost_is_done_when_the_charger_booted(server, tenant):
    station = live.add_station(tenant)
    with connected(server, station.identity) as charger:
        command = ask(station)
        assert charger.receive()[2] == "Reset"
    in_state(command, "unknown")
    with connected(server, station.identity) as charger:
        run_tasks()
        assert row(command).state == "unknown"
        charger.call("BootNotification", {"chargePointVendor": "Acme", "chargePointModel": "One"})
        run_tasks()
        assert (row(command).state, row(command).answered_at) == ("done", None)


def test_the_baseline_is_read_compared_and_set_once_after_a_boot(charging):
    charger, station = charging
    # One that does not report is asked for its status some 10 s after its connect (G15), here in a slow moment.
    charger.call("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Available"})
    charger.call("BootNotification", {"chargePointVendor": "Acme", "chargePointModel": "One"})
    charger.call("BootNotification", {"chargePointVendor": "Acme", "chargePointModel": "One"})
    assert run_tasks() >= 2
    keys = [
        {"key": "MeterValueSampleInterval", "readonly": False, "value": "0"},
        {"key": "MeterValuesSampledData", "readonly": False, "value": "Energy.Active.Import.Register"},
        {"key": "TransactionMessageAttempts", "readonly": True, "value": "3"},
        {"key": "TransactionMessageRetryInterval", "readonly": False, "value": "60"},
        {"key": "HeartbeatInterval", "readonly": False, "value": "86400"},
    ]
    action, request = answer(charger, {"configurationKey": keys, "unknownKey": ["ClockAlignedDataInterval"]})
    assert action == "GetConfiguration"
    assert set(request["key"]) > {"MeterValueSampleInterval", "MeterValuesSampledData"}
    changes = [answer(charger, {"status": status})[1] for status in ("Accepted", "Rejected", "RebootRequired")]
    assert changes[0] == {"key": "MeterValueSampleInterval", "value": "60"}
    assert changes[1]["value"].endswith(",SoC")
    assert changes[2]["value"] == changes[1]["value"].removesuffix(",SoC")
    assert heard(charger) == []

    def settled():
        rows = ConfigurationValue.objects.unscoped("test").filter(station=station)
        found = {one.key: (one.value, one.wanted, one.note) for one in rows}
        return found if found["MeterValuesSampledData"][2] else None

    found = wait_for(settled)
    assert found["MeterValueSampleInterval"] == ("60", "60", "")
    assert found["MeterValuesSampledData"][2] == "takes effect after a restart"
    assert found["TransactionMessageAttempts"] == ("3", "10", "the charger does not let this be changed")
    assert found["TransactionMessageRetryInterval"] == ("60", "60", "")
    assert found["HeartbeatInterval"] == ("86400", "", "")
    assert StationState.objects.unscoped("test").get(station=station).online
