"""Contract G18, order and clocks: the outbox against a socket that only remembers what was written to it."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import threading

import pytest
from django.db import OperationalError

from apps.installations import services
from apps.installations.models import Command, CommandState, ConfigurationValue, ConnectorState, StationState
from apps.ocpp import frames
from tests.factories.cast import make_tenant
from tests.factories.charging import make_session
from tests.ocpp.outboxes import START, Run, ask, connect, row

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant(transactional_db):
    return make_tenant("Amber")


def test_g18_the_row_says_sent_before_the_frame_is_written(tenant, clock, run):
    command, socket = ask(tenant), connect(tenant)
    run.outbox.attach(socket)
    run.turn()
    assert socket.sent == [[2, row(command).message_id, "Reset", {"type": "Soft"}]]
    assert socket.states == [CommandState.SENT]
    assert (row(command).generation, row(command).sent_at) == (1, START)


def test_g18_one_call_is_in_flight_to_a_charger_and_the_next_goes_after_its_answer(tenant, clock, run):
    first, second = ask(tenant, "ClearCache", {}), ask(tenant, "UnlockConnector", {"connectorId": 1})
    socket = connect(tenant)
    run.outbox.attach(socket)
    run.turn()
    run.turn()
    assert [message[2] for message in socket.sent] == ["ClearCache"]
    run.answer(socket, {"status": "Accepted"})
    assert [message[2] for message in socket.sent] == ["ClearCache", "UnlockConnector"]
    run.answer(socket, {"status": "UnlockFailed"})
    assert (row(first).state, row(first).detail, row(first).answered_by) == ("done", "Accepted", "station")
    assert (row(second).state, row(second).detail, row(second).answered_by) == ("rejected", "UnlockFailed", "station")


def test_g18_no_socket_in_thirty_seconds_is_not_delivered_and_a_later_connect_sends_nothing(tenant, clock, run):
    make_session(tenant, transaction_id=1)
    commands = [
        ask(tenant, "Reset"),
        ask(tenant, "RemoteStartTransaction", {"idTag": "04A2B3C4"}),
        ask(tenant, "RemoteStopTransaction", {"transactionId": 1}),
        ask(tenant, "UnlockConnector", {"connectorId": 1}),
        ask(tenant, "TriggerMessage", {"requestedMessage": "Heartbeat"}),
    ]
    clock.move(seconds=30)
    socket = connect(tenant)
    run.outbox.attach(socket)
    run.turn()
    run.turn()
    assert socket.sent == []
    assert {(row(one).state, row(one).answered_by) for one in commands} == {("not_delivered", "system")}


def test_g18_what_is_harmless_late_waits_for_an_offline_charger(tenant, clock, run):
    commands = [
        ask(tenant, "ChangeConfiguration", {"key": "HeartbeatInterval", "value": "300"}),
        ask(tenant, "ChangeAvailability", {"connectorId": 1, "type": "Inoperative"}),
        ask(tenant, "GetConfiguration", {}),
        ask(tenant, "ClearCache", {}),
    ]
    clock.move(hours=20)
    run.turn()
    socket = connect(tenant)
    run.outbox.attach(socket)
    run.turn()
    for _ in commands:
        run.answer(socket, {"status": "Accepted"})
    assert [message[2] for message in socket.sent] == [one.action for one in commands]


def test_g18_the_deadline_counts_from_creation_also_behind_another_command(tenant, clock, run):
    ask(tenant, "ClearCache", {})
    start = ask(tenant, "RemoteStartTransaction", {"idTag": "04A2B3C4"})
    socket = connect(tenant)
    run.outbox.attach(socket)
    run.turn()
    clock.move(seconds=31)
    run.answer(socket, {"status": "Accepted"})
    run.turn()
    assert [message[2] for message in socket.sent] == ["ClearCache"]
    assert (row(start).state, row(start).detail) == ("not_delivered", "the charger was busy until the deadline")


def test_g18_without_an_answer_the_outcome_is_unknown_and_nothing_is_sent_again(tenant, clock):
    run = Run(clock, answer_within=dt.timedelta(seconds=0.05))
    command, read, socket = ask(tenant), ask(tenant, "GetConfiguration", {}), connect(tenant)
    run.outbox.attach(socket)
    for _ in range(4):
        run.turn()
        run.wait(0.1)
    run.turn()
    assert [message[2] for message in socket.sent] == ["Reset", "GetConfiguration"]
    for one in (command, read):
        assert (row(one).state, row(one).detail) == ("unknown", "the charger did not answer in time")
    assert [(entry[5], entry[6], entry[10]) for entry in run.logged] == [
        ("out", "Reset", "NoAnswer"),
        ("out", "GetConfiguration", "NoAnswer"),
    ]
    run.close()


def test_g18_a_late_answer_replaces_the_unknown_outcome_once(tenant, clock):
    run = Run(clock, answer_within=dt.timedelta(seconds=0.05))
    command, socket = ask(tenant, "UnlockConnector", {"connectorId": 1}), connect(tenant)
    run.outbox.attach(socket)
    run.turn()
    run.wait(0.1)
    run.turn()
    assert row(command).state == "unknown"
    assert run.answer(socket, {"status": "Unlocked"})
    assert (row(command).state, row(command).answered_by) == ("done", "station")
    assert not run.answer(socket, {"status": "UnlockFailed"})
    assert row(command).state == "done"
    assert len({entry[:4] for entry in run.logged}) == 2  # keys of the frame log
    run.close()


def test_g18_a_late_answer_does_not_let_a_second_call_into_flight(tenant, clock):
    run = Run(clock, answer_within=dt.timedelta(seconds=0.2))
    ask(tenant, "ClearCache", {})
    ask(tenant, "GetConfiguration", {})
    socket = connect(tenant)
    run.outbox.attach(socket)
    run.turn()
    run.wait(0.25)
    run.turn()

    async def read():
        return run.outbox.ask(socket.station_id, "TriggerMessage", {"requestedMessage": "Heartbeat"})

    run.loop.run_until_complete(read())
    assert run.answer(socket, {"status": "Accepted"}, number=0)
    assert [message[2] for message in socket.sent] == ["ClearCache", "GetConfiguration"]
    run.answer(socket, {})
    assert [message[2] for message in socket.sent] == ["ClearCache", "GetConfiguration", "TriggerMessage"]
    run.close()


def test_g18_an_effect_is_seen_though_the_charger_went_offline(tenant, clock, run):
    command = ask(tenant, "ChangeAvailability", {"connectorId": 1, "type": "Inoperative"})
    socket = connect(tenant)
    run.outbox.attach(socket)
    run.turn()
    run.answer(socket, {"status": "Accepted"})
    run.outbox.detach(socket)
    StationState.objects.unscoped("test").filter(station=tenant.station).update(online=False)
    ConnectorState.objects.unscoped("test").update(status="Unavailable")
    clock.move(minutes=10)
    run.turn()
    assert row(command).state == "done"


def test_g18_a_broken_socket_leaves_the_outcome_unknown_and_a_read_is_asked_again(tenant, clock, run):
    read = ask(tenant, "GetConfiguration", {})
    socket = connect(tenant)
    run.outbox.attach(socket)
    run.turn()
    run.outbox.detach(socket)
    run.turn()
    assert row(read).state == "queued"
    reset = ask(tenant)
    newer = connect(tenant, generation=2)
    run.outbox.attach(newer)
    run.turn()
    assert [message[2] for message in newer.sent] == ["GetConfiguration"]
    run.answer(newer, {})
    run.outbox.detach(newer)
    run.turn()
    assert (row(reset).state, row(reset).detail) == ("unknown", "the connection broke before an answer")
    newest = connect(tenant, generation=3)
    run.outbox.attach(newest)
    run.turn()
    assert newest.sent == []


def test_g18_what_a_dead_gateway_had_sent_is_unknown_as_soon_as_the_charger_is_back(tenant, clock, run):
    command = ask(tenant)
    Command.objects.unscoped("test").filter(pk=command.pk).update(
        state=CommandState.SENT, message_id="gone", generation=1, sent_at=START
    )
    socket = connect(tenant, generation=2)
    run.outbox.attach(socket)
    run.turn()
    run.turn()
    assert row(command).state == "unknown"
    assert socket.sent == []


def test_g18_only_the_gateway_with_the_newest_connection_sends(tenant, clock, run):
    other = Run(clock)
    older, newer = connect(tenant, generation=1), connect(tenant, generation=2)
    run.outbox.attach(older)
    other.outbox.attach(newer)
    ask(tenant)
    for _ in range(3):
        run.turn()
        other.turn()
    assert older.sent == []
    assert len(newer.sent) == 1
    other.close()


def test_g18_two_gateways_that_both_hold_the_connection_never_both_send(tenant, clock, run):
    # The same generation in both is impossible; the guard on the row alone must do.
    other = Run(clock)
    sockets = [connect(tenant), connect(tenant)]
    run.outbox.attach(sockets[0])
    other.outbox.attach(sockets[1])
    for _ in range(20):
        ask(tenant, "ClearCache", {})

    async def both() -> None:
        first = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run.outbox.turn(), run.loop))
        second = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(other.outbox.turn(), other.loop))
        await asyncio.gather(first, second)

    threads = [threading.Thread(target=one.loop.run_forever, daemon=True) for one in (run, other)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            asyncio.run(both())
            for one, socket in zip((run, other), sockets, strict=True):
                if one.outbox._slots[socket.station_id].flight is not None:
                    answer = frames.Result(socket.sent[-1][1], {"status": "Accepted"})
                    one.loop.call_soon_threadsafe(one.outbox.settle, socket.station_id, answer)
    finally:
        for one, thread in zip((run, other), threads, strict=True):
            one.loop.call_soon_threadsafe(one.loop.stop)
            thread.join(5)
    ids = [message[1] for socket in sockets for message in socket.sent]
    assert len(ids) == len(set(ids)) == Command.objects.unscoped("test").exclude(message_id="").count()
    assert len(ids) >= 10
    other.close()


def test_g18_a_claim_whose_socket_went_meanwhile_waits_again(tenant, clock, run):
    command, socket = ask(tenant), connect(tenant)
    run.outbox.attach(socket)
    real = run.outbox._work

    def work_then_lose(*args):
        claimed = real(*args)
        run.outbox._slots.clear()
        return claimed

    run.outbox._work = work_then_lose
    run.turn()
    assert row(command).state == "sent"
    run.outbox._work = real
    run.turn()
    assert (row(command).state, row(command).message_id) == ("queued", "")
    assert socket.sent == []


def test_g18_while_the_gateway_drains_nothing_is_sent_and_answers_still_count(tenant, clock, run):
    first, second, socket = ask(tenant, "ClearCache", {}), ask(tenant), connect(tenant)
    run.outbox.attach(socket)
    run.turn()
    run.outbox.closed = True
    run.answer(socket, {"status": "Accepted"})
    run.turn()
    assert [message[2] for message in socket.sent] == ["ClearCache"]
    assert (row(first).state, row(second).state) == ("done", "queued")


def test_g18_an_answer_is_not_forgotten_while_the_database_is_away(tenant, clock, run, monkeypatch):
    command, socket = ask(tenant, "ClearCache", {}), connect(tenant)
    run.outbox.attach(socket)
    run.turn()

    def away(**_):
        raise OperationalError("server closed the connection")

    with monkeypatch.context() as broken:
        broken.setattr(services, "answer_command", away)
        for _ in range(2):
            with pytest.raises(OperationalError):
                run.answer(socket, {"status": "Accepted"})
    assert row(command).state == "sent"
    run.turn()
    assert (row(command).state, row(command).answered_at) == ("done", START)


def test_g18_an_answer_that_cannot_be_stored_holds_up_no_other(tenant, clock, run, monkeypatch):
    first, second, socket = ask(tenant, "GetConfiguration", {}), ask(tenant, "ClearCache", {}), connect(tenant)
    run.outbox.attach(socket)
    run.turn()

    def broken(**_):
        raise ValueError("not to be stored")

    monkeypatch.setattr(services, "store_configuration", broken)
    run.answer(socket, {"configurationKey": []})
    assert (row(first).state, row(first).detail) == (
        "unknown",
        "the charger answered, but its answer could not be stored",
    )
    run.answer(socket, {"status": "Accepted"})
    assert row(second).state == "done"


def test_g18_a_refusal_of_the_charger_is_kept_with_its_code(tenant, clock, run):
    command, socket = ask(tenant), connect(tenant)
    run.outbox.attach(socket)
    run.turn()
    run.outbox.settle(socket.station_id, frames.Error(socket.sent[0][1], "NotSupported", "no remote reset"))
    run.turn()
    assert (row(command).state, row(command).answered_by) == ("rejected", "station")
    assert row(command).detail == "NotSupported: no remote reset"
    assert row(command).answer["errorCode"] == "NotSupported"


@pytest.mark.parametrize(
    ("payload", "state"), [({"status": "ACCEPTED"}, "accepted"), ({"status": 7}, "unknown"), ({}, "unknown")]
)
def test_g18_answers_are_read_leniently(tenant, clock, run, payload, state):
    command, socket = ask(tenant), connect(tenant)
    run.outbox.attach(socket)
    run.turn()
    run.answer(socket, payload)
    assert (row(command).state, row(command).answer) == (state, payload)


def test_g18_availability_is_done_when_the_connector_shows_it(tenant, clock, run):
    command = ask(tenant, "ChangeAvailability", {"connectorId": 1, "type": "Inoperative"})
    socket = connect(tenant)
    run.outbox.attach(socket)
    run.turn()
    run.answer(socket, {"status": "Scheduled"})
    run.turn()
    assert (row(command).state, row(command).detail) == ("accepted", "Scheduled")
    ConnectorState.objects.unscoped("test").update(status="Unavailable")
    clock.move(hours=1)
    run.turn()
    assert (row(command).state, row(command).finished_at) == ("done", clock.now)


def test_g18_a_read_without_a_row_takes_its_turn_with_the_commands(tenant, clock, run):
    socket = connect(tenant)
    run.outbox.attach(socket)
    ask(tenant, "ClearCache", {})
    run.turn()

    async def read():
        return run.outbox.ask(socket.station_id, "TriggerMessage", {"requestedMessage": "StatusNotification"})

    future = run.loop.run_until_complete(read())
    assert len(socket.sent) == 1
    run.answer(socket, {"status": "Accepted"})
    assert [message[2] for message in socket.sent] == ["ClearCache", "TriggerMessage"]
    run.answer(socket, {"status": "NotImplemented"})
    assert future.result().payload == {"status": "NotImplemented"}


def test_the_configuration_that_a_charger_reports_is_kept_without_secrets(tenant, clock, run):
    command, socket = ask(tenant, "GetConfiguration", {}), connect(tenant)
    run.outbox.attach(socket)
    run.turn()
    keys = [
        {"key": "HeartbeatInterval", "readonly": False, "value": "300"},
        {"key": "HeartbeatInterval", "readonly": False, "value": "600"},
        {"key": "NumberOfConnectors", "readonly": True, "value": 2},
        {"key": "AuthorizationKey", "readonly": False, "value": "0123456789abcdef"},
        {"key": "x" * 51, "value": "too long"},
        "nonsense",
    ]
    run.answer(socket, {"configurationKey": keys, "unknownKey": ["Nothing"]})
    rows = ConfigurationValue.objects.unscoped("test").order_by("key").values_list("key", "value", "readonly")
    assert list(rows) == [
        ("AuthorizationKey", "", False),
        ("HeartbeatInterval", "600", False),
        ("NumberOfConnectors", "2", True),
    ]
    assert row(command).state == "done"
    assert "0123456789abcdef" not in json.dumps(row(command).answer) + "".join(run.logged[0][8:10])
