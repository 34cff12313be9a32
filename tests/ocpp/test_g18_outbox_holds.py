"""Contract G18 under strain: crowds of commands, commits and sockets that break, answers of any kind."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from django.db import OperationalError
from django.db.models.signals import post_init

from apps.installations.models import Command, CommandState, ConnectorState, StationState
from apps.ocpp import frames, outbox
from tests.factories.cast import make_tenant
from tests.factories.installations import StationFactory
from tests.ocpp.outboxes import NAME, START, Socket, ask, connect, row

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant(transactional_db):
    return make_tenant("Amber")


def add_rows(
    station, count, *, state=CommandState.QUEUED, action="ClearCache", payload=None, created_at=START, **fields
):
    """Commands that were asked for by the system: it has no limit."""
    Command.objects.bulk_create(
        Command(
            operator_id=station.operator_id,
            station=station,
            actor="test",
            state=state,
            action=action,
            payload=payload or {},
            created_at=created_at,
            deadline_at=START + dt.timedelta(days=7),
            **fields,
        )
        for _ in range(count)
    )


@pytest.fixture
def neighbour(tenant):
    """A second charger of the tenant, on its socket."""
    station = StationFactory(operator=tenant.operator, location=tenant.location)
    StationState.objects.unscoped("test").filter(station=station).update(generation=1, online=True, gateway=NAME)
    return Socket(station)


def test_g18_thousands_of_commands_for_one_charger_hold_up_no_other(tenant, clock, run, neighbour):
    mute = connect(tenant)
    add_rows(tenant.station, 2100)
    run.outbox.attach(mute)
    run.outbox.attach(neighbour)
    run.turn()
    clock.move(seconds=1)
    add_rows(neighbour.station, 1, created_at=clock.now)
    run.turn()
    assert (len(mute.sent), len(neighbour.sent)) == (1, 1)


def test_g18_a_turn_reads_only_what_it_can_act_on(tenant, clock, run, neighbour):
    long_ago = {"sent_at": START, "answered_at": START, "detail": "Scheduled"}
    inoperative = {"connectorId": 1, "type": "Inoperative"}
    mute = connect(tenant)
    run.outbox.attach(mute)
    run.outbox.attach(neighbour)
    add_rows(tenant.station, 300)
    run.turn()
    add_rows(
        tenant.station, 300, state=CommandState.ACCEPTED, action="ChangeAvailability", payload=inoperative, **long_ago
    )
    clock.move(minutes=1)
    add_rows(neighbour.station, 3, created_at=clock.now)
    read = []
    run.outbox._swept_at = float("inf")

    def note(instance, **_):
        read.append(instance)

    post_init.connect(note, sender=Command)
    try:
        run._call(run.outbox.turn)
    finally:
        post_init.disconnect(note, sender=Command)
    assert len(neighbour.sent) == 1
    assert len(read) == 1


def test_g18_an_effect_is_seen_at_once_and_a_late_one_with_the_next_sweep(tenant, clock, run):
    command = ask(tenant, "ChangeAvailability", {"connectorId": 1, "type": "Inoperative"})
    socket = connect(tenant)
    run.outbox.attach(socket)
    run.turn()
    run.answer(socket, {"status": "Accepted"})
    ConnectorState.objects.unscoped("test").update(status="Unavailable")
    run.outbox._swept_at = float("inf")
    run._call(run.outbox.turn)
    assert row(command).state == "done"
    Command.objects.unscoped("test").update(state=CommandState.ACCEPTED, finished_at=None)
    clock.move(seconds=60)
    run._call(run.outbox.turn)
    assert row(command).state == "accepted"
    run.turn()
    assert row(command).state == "done"


def test_g18_claims_whose_commit_was_not_confirmed_are_sent_once(tenant, clock, run, monkeypatch):
    command, socket = ask(tenant), connect(tenant)
    run.outbox.attach(socket)

    def commit_and_break(*args):
        outbox_claim(*args)
        raise OperationalError("the connection broke before COMMIT was confirmed")

    outbox_claim = outbox._claim
    with monkeypatch.context() as broken:
        broken.setattr(outbox, "_claim", commit_and_break)
        with pytest.raises(OperationalError):
            run.turn()
    assert (row(command).state, socket.sent) == ("sent", [])
    run.turn()
    run.turn()
    assert [message[2] for message in socket.sent] == ["Reset"]
    assert row(command).message_id == socket.sent[0][1]


def test_g18_a_claim_that_was_never_committed_is_sent_once(tenant, clock, run, monkeypatch):
    command, socket = ask(tenant), connect(tenant)
    run.outbox.attach(socket)

    def away(*_):
        raise OperationalError("server closed the connection")

    with monkeypatch.context() as broken:
        broken.setattr(outbox, "_claim", away)
        with pytest.raises(OperationalError):
            run.turn()
    run.turn()
    run.turn()
    assert [message[1] for message in socket.sent] == [row(command).message_id]


def test_g18_a_frame_that_cannot_be_written_holds_up_no_other(tenant, clock, run, neighbour, monkeypatch):
    command, broken = ask(tenant), connect(tenant)
    add_rows(neighbour.station, 1, created_at=START + dt.timedelta(seconds=1))

    def refuse(_):
        raise RuntimeError("the transport is closing")

    monkeypatch.setattr(broken, "send_text", refuse)
    run.outbox.attach(broken)
    run.outbox.attach(neighbour)
    run.turn()
    assert len(neighbour.sent) == 1
    run.turn()
    assert row(command).state == "unknown"


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ('[3,"{id}",[]]', "unknown"),
        ('[3,"{id}","Accepted"]', "unknown"),
        ('[3,"{id}",7]', "unknown"),
        ('[3,"{id}",null]', "unknown"),
        ('[3,"{id}"]', "unknown"),
        ('[3,"{id}",{{"status":"\\u0000"}}]', "unknown"),
        ('[3,"{id}",{{"status":["Accepted"]}}]', "unknown"),
        ('[3,"{id}",{{"status":{{"a":1}}}}]', "unknown"),
        ('[3,"{id}",{{"status":"Accepted","n":1e400}}]', "unknown"),
        ('[4,"{id}",7,{{}},"x",[[]]]', "rejected"),
        ('[4,"{id}","' + "E" * 5000 + '","' + "d" * 5000 + '",{{}}]', "rejected"),
        ('[3,"{id}",{{"status":"Accepted","more":"' + "x" * 900_000 + '"}}]', "accepted"),
        ('[3,"{id}",{{"status":"Accepted","more":[' + '{{"key":"secret"}},' * 45_000 + "0]}}]", "accepted"),
    ],
    ids=range(13),
)
def test_g18_whatever_the_answer_its_command_ends_and_the_next_goes(tenant, clock, run, answer, state):
    command, following = ask(tenant), ask(tenant, "ClearCache", {})
    socket = connect(tenant)
    run.outbox.attach(socket)
    run.turn()
    frame = frames.parse(answer.format(id=socket.sent[0][1]))
    assert run.outbox.settle(socket.station_id, frame)
    assert not run.outbox.settle(socket.station_id, frame)
    assert not run.outbox.settle(socket.station_id, frames.Result("foreign", {}))
    run.turn()
    assert row(command).state == state
    assert len(json.dumps(row(command).answer)) < 70_000
    assert [message[2] for message in socket.sent] == ["Reset", "ClearCache"]
    run.answer(socket, {"status": "Accepted"})
    assert row(following).state == "done"


def test_g18_a_refusal_is_kept_without_the_secret_in_its_words(tenant, clock, run):
    command, socket = ask(tenant), connect(tenant)
    run.outbox.attach(socket)
    run.turn()
    said = frames.Error(socket.sent[0][1], "InternalError", "AuthorizationKey=hunter2 expired", {"password": "hunter2"})
    run.outbox.settle(socket.station_id, said)
    run.turn()
    assert row(command).detail == "InternalError: AuthorizationKey=••• expired"
    assert "hunter2" not in json.dumps([row(command).answer, [str(part) for part in run.logged[0]]])
