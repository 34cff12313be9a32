"""The gateway's contract at its sockets: what is admitted, what waits, what is said twice (G1, G2, G14)."""

from __future__ import annotations

import time

import pytest

from apps.ocpp.models import Frame
from tests.factories.cards import TokenFactory
from tests.ocpp import live
from tests.ocpp.sockets import Closed, status

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
