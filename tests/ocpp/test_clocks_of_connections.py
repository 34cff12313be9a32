"""What a connection tells of its charger's clock, and what the charger is told of ours."""

from __future__ import annotations

import datetime as dt
import time

import pytest

from apps.installations.models import StationState
from apps.ocpp import batches
from apps.ocpp.clock import ClockWatch
from tests.factories.cast import make_tenant
from tests.ocpp import live
from tests.ocpp.lanes import meter_payload, running_lanes
from tests.ocpp.sockets import in_process


def watch(offset_s: float) -> ClockWatch:
    one = ClockWatch()
    one.offset_s = offset_s
    return one


@pytest.mark.django_db(transaction=True)
def test_g09_an_older_connection_does_not_say_how_far_the_clock_is_off(transactional_db):
    tenant = make_tenant("Amber")
    states = StationState.objects.unscoped("a test").filter(station=tenant.station)
    states.update(generation=2)
    with running_lanes() as lanes:
        for generation, known in [(1, None), (2, 600.0), (1, 600.0)]:
            offset = 600.0 if generation == 2 else -7200.0
            lanes.ask(tenant.station, "MeterValues", meter_payload(1000), generation=generation, clock=watch(offset))
            assert states.get().clock_offset_s == known
    assert states.get().generation == 2


def test_g16_a_heartbeat_that_waited_is_told_the_time_of_its_answer(tenant, monkeypatch):
    station = live.add_station(tenant)
    write = batches.Batch._write

    def slowly(self, *args, **kwargs):
        time.sleep(1)
        write(self, *args, **kwargs)

    with in_process() as process:
        charger = process.connect(station.identity)
        monkeypatch.setattr(batches.Batch, "_write", slowly)
        charger.send(2, "m", "MeterValues", meter_payload(1000))
        charger.send(2, "h", "Heartbeat", {})
        sent_at = dt.datetime.now(dt.UTC)
        assert charger.receive()[1] == "m"
        told = dt.datetime.fromisoformat(charger.receive()[2]["currentTime"])
        monkeypatch.undo()
    assert told - sent_at > dt.timedelta(seconds=0.8)
