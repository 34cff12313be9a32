"""Simulated chargers against the running server: what they say arrives, what we ask is done, they live by profile."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import random

import pytest

from apps.charging.models import Reading, Session
from apps.core.actor import Actor
from apps.installations.models import Boot, Command, StationState
from apps.installations.services import request_command
from apps.ocpp.demo.month import live_through
from apps.ocpp.models import Frame, RepairCount
from apps.ocpp.simulator import (
    CallRefused,
    Hardware,
    LiveClock,
    NotConnected,
    PastClock,
    Profile,
    SimulatedCharger,
    Transaction,
    Vehicle,
    live,
)
from apps.ocpp.simulator import charger as machine
from apps.ocpp.simulator import commands as answers
from apps.ocpp.simulator.charger import Queued
from tests.factories.cards import TokenFactory
from tests.ocpp import live as servers

PAST = dt.datetime(2026, 11, 2, 8, 0, tzinfo=dt.UTC)


def charger_of(server: servers.Server, identity: str, **options) -> SimulatedCharger:
    return SimulatedCharger(f"ws://127.0.0.1:{server.port}/ocpp/{servers.URL_KEY}", identity, servers.SECRET, **options)


def sessions(station) -> list[Session]:
    return list(Session.objects.unscoped("a test").filter(station=station).order_by("started_at"))


def unconnected(**options) -> SimulatedCharger:
    return SimulatedCharger("ws://127.0.0.1:1/ocpp/nobody", "CP1", "0" * 40, **options)


def test_a_session_of_a_good_charger_arrives(server, tenant):
    station = servers.add_station(tenant)
    card = TokenFactory(operator=tenant.operator).uid  # the tenant's own may be charging elsewhere

    async def charge() -> Transaction:
        async with charger_of(server, station.identity) as charger:
            assert (await charger.boot())["status"] == "Accepted"
            assert await charger.authorize(card) == "Accepted"
            transaction = charger.start(1, card)
            charger.measure(1)
            charger.stop(1)
            await charger.deliver()
            return transaction

    transaction = asyncio.run(charge())
    [session] = sessions(station)
    assert (session.transaction_id, session.state, session.energy_wh) == (transaction.id, "ended", 0)
    [reading] = Reading.objects.unscoped("a test").filter(station_id=station.pk)
    assert (reading.session_id, reading.voltage_v) == (session.pk, 230)


def test_what_happened_offline_is_replayed_with_its_times(server, tenant):
    station = servers.add_station(tenant)
    clock = PastClock(PAST)
    charger = charger_of(server, station.identity, clock=clock)
    charger.start(1, tenant.token.uid, Vehicle(max_power_w=11_000, charge=0.2))
    for _ in range(4):
        clock.at += dt.timedelta(minutes=15)
        charger.measure(1)
    charger.stop(1, "EVDisconnected")
    with pytest.raises(NotConnected):
        asyncio.run(charger.deliver())
    assert len(charger.queue) == 6

    async def replay() -> None:
        async with charger:
            await charger.deliver()

    asyncio.run(replay())
    assert not charger.queue
    [session] = sessions(station)
    assert (session.started_at, session.ended_at) == (PAST, PAST + dt.timedelta(hours=1))
    assert session.energy_wh == pytest.approx(11_000, abs=1)
    assert Reading.objects.unscoped("a test").filter(session_id=session.pk).count() == 4


def test_a_message_that_is_refused_again_and_again_is_given_up(server, tenant):
    station = servers.add_station(tenant)

    async def try_it() -> list[Queued]:
        charger = charger_of(server, station.identity)
        charger.configuration["TransactionMessageRetryInterval"].value = "0"
        transaction = Transaction(1, tenant.token.uid)
        charger.queue.append(Queued("StartTransaction", {"connectorId": 1}, transaction))
        charger.queue.append(Queued("MeterValues", {"connectorId": 1}, transaction))
        messages = list(charger.queue)
        async with charger:
            await charger.deliver()
        return messages

    assert [one.attempts for one in asyncio.run(try_it())] == [3, 3]


def test_a_command_is_answered_and_done(server, tenant):
    station = servers.add_station(tenant)
    now = dt.datetime.now(dt.UTC)

    async def obey() -> str:
        async with charger_of(server, station.identity) as charger:
            await charger.boot()
            await asyncio.to_thread(ask_to_start)
            request = await charger.command("RemoteStartTransaction")
            await asyncio.sleep(0.5)
            running = charger.connectors[1].transaction
            assert running is not None
            assert request["idTag"] == running.uid
            charger.stop(1, "Remote")
            await charger.deliver()
            return running.uid

    def ask_to_start() -> None:
        # A thread of its own has a connection of its own, to the servers' database all the same.
        request_command(
            actor=Actor.system(tenant.operator),
            station=station,
            action="RemoteStartTransaction",
            payload={"connectorId": 1, "idTag": tenant.token.uid},
            now=now,
        )

    assert asyncio.run(obey()) == tenant.token.uid
    assert [one.stop_reason for one in sessions(station)] == ["Remote"]
    command = Command.objects.unscoped("a test").get(station=station, action="RemoteStartTransaction")
    assert command.answered_by == Command.By.STATION


def test_a_reset_ends_the_session_and_boots_again(server, tenant):
    station = servers.add_station(tenant)

    async def reset() -> None:
        async with charger_of(server, station.identity) as charger:
            await charger.boot()
            charger.start(1, tenant.token.uid)
            await charger.deliver()
            assert answers.answer(charger, "Reset", {"type": "Soft"}) == [3, {"status": "Accepted"}]
            async with asyncio.timeout(10):
                while charger.booted.is_set():
                    await asyncio.sleep(0.02)
                await charger.booted.wait()

    asyncio.run(reset())
    assert [one.stop_reason for one in sessions(station)] == ["SoftReset"]
    assert Boot.objects.unscoped("a test").filter(station=station).count() == 2


def test_chargers_live_by_their_profiles(server, tenant):
    stations = {profile: servers.add_station(tenant) for profile in Profile}
    cards = {profile: TokenFactory(operator=tenant.operator).uid for profile in Profile}

    async def be(profile: Profile) -> None:
        charger = charger_of(server, stations[profile].identity, clock=LiveClock(speed=900), seed=3)
        charger.configuration["MeterValueSampleInterval"] = answers.Setting("1", readonly=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(live(charger, profile, cards=[cards[profile]]), 9)

    async def be_all() -> None:
        await asyncio.gather(*map(be, Profile))

    asyncio.run(be_all())
    for profile, station in stations.items():
        said = set(Frame.objects.unscoped("a test").filter(station_id=station.pk).values_list("action", flat=True))
        assert {"BootNotification", "StatusNotification", "Authorize", "StartTransaction", "MeterValues"} <= said
        first = sessions(station)[0]
        off = abs((first.started_at - first.start_received_at).total_seconds())
        assert (off > 300) == (profile is Profile.CLOCK_OFF)
        generation = StationState.objects.unscoped("a test").get(station=station).generation
        if profile is not Profile.BABBLING:  # whose odd frames may cost it a connection too
            assert (generation > 1) == (profile in (Profile.OFFLINE_REPLAYING, Profile.REBOOTING))
        repaired = RepairCount.objects.unscoped("a test").filter(station=station).exists()
        assert repaired == (profile is Profile.BABBLING)


@pytest.mark.parametrize(
    ("action", "payload", "status"),
    [
        ("RemoteStartTransaction", {"connectorId": 7, "idTag": "04"}, "Rejected"),
        ("RemoteStopTransaction", {"transactionId": 5}, "Rejected"),
        ("UnlockConnector", {"connectorId": 1}, "Unlocked"),
        ("UnlockConnector", {"connectorId": 4}, "NotSupported"),
        ("ChangeConfiguration", {"key": "HeartbeatInterval", "value": "60"}, "Accepted"),
        ("ChangeConfiguration", {"key": "HeartbeatInterval", "value": "often"}, "Rejected"),
        ("ChangeConfiguration", {"key": "NumberOfConnectors", "value": "2"}, "Rejected"),
        ("ChangeConfiguration", {"key": "WebSocketPingInterval", "value": "30"}, "RebootRequired"),
        ("ChangeConfiguration", {"key": "Nonsense", "value": "1"}, "NotSupported"),
        ("ClearCache", {}, "Accepted"),
        ("DataTransfer", {"vendorId": "someone"}, "UnknownVendorId"),
        ("TriggerMessage", {"requestedMessage": "FirmwareStatusNotification"}, "NotImplemented"),
        ("TriggerMessage", {"requestedMessage": "Heartbeat", "connectorId": 9}, "Rejected"),
        ("ChangeAvailability", {"connectorId": 9, "type": "Inoperative"}, "Rejected"),
    ],
)
def test_a_command_has_its_answer(action, payload, status):
    assert answers.answer(unconnected(), action, payload) == [3, {"status": status}]


def test_an_unknown_command_is_not_implemented():
    assert answers.answer(unconnected(), "SendLocalList", {})[:2] == [4, "NotImplemented"]


def test_the_configuration_is_read_by_key():
    [_kind, found] = answers.answer(unconnected(), "GetConfiguration", {"key": ["heartbeatinterval", "Nonsense"]})
    assert found["configurationKey"] == [{"key": "HeartbeatInterval", "readonly": False, "value": "300"}]
    assert found["unknownKey"] == ["Nonsense"]


def test_an_answer_can_be_scripted():
    charger = unconnected()
    charger.answers["Reset"] = {"status": "Rejected"}
    assert answers.answer(charger, "Reset", {"type": "Hard"}) == [3, {"status": "Rejected"}]
    charger.answers["Reset"] = answers.SILENCE
    assert answers.answer(charger, "Reset", {"type": "Hard"}) is None


def test_one_seed_gives_one_life():
    def month(seed: int) -> list[tuple[str, dict]]:
        from apps.ocpp.demo.cast import HARBOUR
        from apps.ocpp.demo.month import Story

        place = HARBOUR.places[1]
        charger = unconnected(clock=PastClock(PAST), seed=seed, hardware=place.makes[0].hardware)
        live_through(Story(charger, HARBOUR, place, place.makes[0], PAST, PAST + dt.timedelta(days=6)))
        return [(one.action, one.payload) for one in charger.queue]

    assert month(1) == month(1) != month(2)
    assert len(month(1)) > 5


def test_chargers_do_not_come_back_in_one_moment():
    delays = [machine.connect_delay(random.Random(number), 3) for number in range(200)]
    assert 4 <= min(delays) < max(delays) <= 8
    assert max(delays) - min(delays) > 3
    assert machine.connect_delay(random.Random(1), 50) <= machine.MAX_WAIT_S


def test_a_full_car_takes_nothing_more():
    clock = PastClock(PAST)
    charger = unconnected(clock=clock, hardware=Hardware(max_power_w=150_000, dc=True))
    car = Vehicle(capacity_wh=50_000, charge=0.5, limit=0.9, max_power_w=100_000)
    before = charger.connectors[1].meter.wh
    charger.start(1, "04A1", car)
    clock.at += dt.timedelta(hours=5)
    charger.measure(1)
    assert charger.connectors[1].meter.wh - before == pytest.approx(20_000, abs=2)
    samples = charger.queue[-1].payload["meterValue"][0]["sampledValue"]
    assert len(samples) == 6
    assert {one["measurand"]: one["value"] for one in samples}["SoC"] == "90"


def test_a_refusal_says_its_code(server, tenant):
    station = servers.add_station(tenant)

    async def refused() -> str:
        async with charger_of(server, station.identity) as charger:
            with pytest.raises(CallRefused) as refusal:
                await charger.call("NoSuchThing", {})
            return refusal.value.code

    assert asyncio.run(refused()) == "NotImplemented"
