"""A charger, its place or its operator is archived while it charges: nothing of the session is lost, and the charger is
parted from as soon as it has told its end."""

from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone

from apps.cards.models import Token
from apps.charging.models import Session
from apps.core.actor import Actor
from apps.installations.models import ConnectionInterval, Connector, StationState
from apps.installations.services import archive_station, restore_station
from tests.ocpp import live
from tests.ocpp.sockets import Closed, in_process


@pytest.fixture
def process(tenant):
    with in_process() as one:
        yield one


@pytest.fixture
def station(tenant):
    return live.add_station(tenant)


def archive(station):
    archive_station(actor=Actor.system(station.operator_id), station=station, now=timezone.now(), why="sold")


def at(minutes=0):
    return (dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC) + dt.timedelta(minutes=minutes)).isoformat()


def start(socket, tenant):
    begun = {"connectorId": 1, "idTag": tenant.token.uid, "meterStart": 100, "timestamp": at()}
    return socket.call("start", "StartTransaction", begun)[2]["transactionId"]


def measure(socket, transaction):
    sample = {"timestamp": at(5), "sampledValue": [{"value": "300"}]}
    return socket.call("m", "MeterValues", {"connectorId": 1, "transactionId": transaction, "meterValue": [sample]})


def stop(socket, transaction):
    return socket.call("stop", "StopTransaction", {"transactionId": transaction, "meterStop": 600, "timestamp": at(10)})


def look_around(process):
    process.run(process.gateway._look_around())


def session_of(station):
    return Session.objects.unscoped("test").get(station=station)


def test_an_archived_charger_loses_its_connection_and_gets_no_other(process, station):
    socket = process.connect(station.identity)
    archive(station)
    look_around(process)
    with pytest.raises(Closed) as closed:
        socket.receive(5)
    assert closed.value.code == 1000
    with pytest.raises(Closed) as refused:
        process.connect(station.identity)
    assert refused.value.code == 404

    def written():
        return ConnectionInterval.objects.unscoped("test").get(station=station).reason == "archived"

    live.wait_for(written)
    assert not StationState.objects.unscoped("test").get(station=station).online


def test_a_charger_that_is_archived_while_it_charges_tells_the_end_of_it_first(process, tenant, station):
    socket = process.connect(station.identity)
    transaction = start(socket, tenant)
    archive(station)
    look_around(process)
    assert measure(socket, transaction)[0] == 3
    look_around(process)
    assert stop(socket, transaction)[0] == 3
    assert (session_of(station).state, session_of(station).meter_stop_wh) == ("ended", 600)
    look_around(process)
    with pytest.raises(Closed):
        socket.receive(5)


def test_a_session_that_never_ends_keeps_the_connection_for_a_day_at_most(process, tenant):
    other = live.add_station(tenant)
    socket = process.connect(other.identity)
    start(socket, tenant)
    archive(other)
    type(other).objects.unscoped("test").filter(pk=other.pk).update(archived_at=timezone.now() - dt.timedelta(hours=25))
    Session.objects.unscoped("test").filter(station=other).update(
        start_received_at=timezone.now() - dt.timedelta(hours=26)
    )
    look_around(process)
    with pytest.raises(Closed):
        socket.receive(5)


def test_a_charger_that_spoke_after_it_was_archived_can_be_restored(process, tenant, station):
    socket = process.connect(station.identity)
    transaction = start(socket, tenant)
    before = list(Connector.objects.unscoped("test").filter(station=station).values_list("pk", flat=True))
    archive(station)
    socket.call("s", "StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Finishing"})
    stop(socket, transaction)
    station.refresh_from_db()
    restore_station(actor=Actor.system(station.operator_id), station=station, why="not sold")
    in_use = Connector.objects.unscoped("test").filter(station=station, archived_at=None)
    assert list(in_use.values_list("pk", flat=True)) == before
    look_around(process)
    assert process.connect(station.identity).status == 101


@pytest.mark.parametrize("what", ["location", "organisation", "card"])
def test_what_is_archived_around_a_session_does_not_touch_it(process, tenant, station, what):
    socket = process.connect(station.identity)
    transaction = start(socket, tenant)
    rows = {
        "location": (type(tenant.location), tenant.location.pk),
        "organisation": (type(tenant.fleet), tenant.fleet.pk),
        "card": (Token, tenant.token.pk),
    }
    model, pk = rows[what]
    objects = model.objects.unscoped("test").filter(pk=pk)
    change = {"archived_at": timezone.now()} if what != "card" else {"state": "blocked"}
    undo = {"archived_at": None} if what != "card" else {"state": "active"}
    objects.update(**change)
    try:
        look_around(process)
        assert measure(socket, transaction)[0] == 3
        assert stop(socket, transaction)[0] == 3
        assert (session_of(station).state, session_of(station).meter_stop_wh) == ("ended", 600)
    finally:
        objects.update(**undo)
