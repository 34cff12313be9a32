"""The gateway's contract on crowds at its door: the database's absence, storms, questions after them (G13, G15)."""

from __future__ import annotations

import asyncio
import time

import pytest
from django.db import OperationalError
from django.utils import timezone

from apps.ocpp import gateway, handshake
from apps.ocpp.models import OperatorKey
from tests.factories.tasks import run_tasks
from tests.ocpp import live
from tests.ocpp.live import intervals_of, state_of
from tests.ocpp.sockets import Closed, booted, status

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
