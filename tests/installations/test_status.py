"""What a status report and a boot leave: live state, history, found connectors."""

from __future__ import annotations

import datetime as dt

import pytest

from apps.installations.models import Boot, Connector, ConnectorState, StationState, StatusInterval
from tests.charging.stored import Stored
from tests.charging.world import START, iso

pytestmark = pytest.mark.django_db


@pytest.fixture
def charger(ours) -> Stored:
    return Stored(ours)


def report(charger: Stored, status: str, *, connector: int = 1, **more) -> None:
    charger.send("StatusNotification", connectorId=connector, status=status, **{"errorCode": "NoError"} | more)


def live(charger: Stored, number: int = 1) -> tuple:
    if number == 0:
        state = StationState.objects.visible_to(charger.actor).get(station=charger.stations[1])
    else:
        state = ConnectorState.objects.visible_to(charger.actor).get(
            connector__station=charger.stations[1], connector__number=number
        )
    return state.status, state.error_code, state.status_at


def history(charger: Stored, number: int = 1) -> list[tuple]:
    rows = StatusInterval.objects.visible_to(charger.actor).filter(connector_number=number).order_by("at")
    return list(rows.values_list("status", "at"))


def test_a_status_is_live_since_the_charger_s_own_time(charger):
    since = START - dt.timedelta(minutes=3)
    report(charger, "Charging", timestamp=iso(since))
    assert live(charger) == ("Charging", "NoError", since)
    assert history(charger) == [("Charging", since)]


def test_a_status_without_a_time_or_with_one_that_cannot_be_is_live_since_its_receipt(charger):
    report(charger, "Preparing")
    assert live(charger)[2] == START
    charger.wait(minutes=1)
    report(charger, "Charging", timestamp="1970-01-01T00:00:00Z")
    assert live(charger)[2] == START + dt.timedelta(minutes=1)


def test_a_repeated_status_begins_no_interval_and_a_change_does(charger):
    report(charger, "Available")
    charger.wait(minutes=1)
    report(charger, "Available")
    charger.wait(minutes=1)
    report(charger, "Faulted", errorCode="GroundFailure")
    charger.wait(minutes=1)
    report(charger, "Faulted", errorCode="HighTemperature")
    assert [status for status, _at in history(charger)] == ["Available", "Faulted", "Faulted"]
    assert live(charger)[:2] == ("Faulted", "HighTemperature")


def test_g09_a_report_of_an_older_connection_is_history_and_overwrites_nothing(charger):
    charger.generation = 2
    report(charger, "Charging", timestamp=iso(START))
    charger.generation = 1
    report(charger, "Available", timestamp=iso(START - dt.timedelta(minutes=1)))
    assert live(charger)[0] == "Charging"
    assert [status for status, _at in history(charger)] == ["Available", "Charging"]


def test_connector_0_is_the_station_itself(charger):
    report(charger, "Unavailable", connector=0)
    assert live(charger, 0)[0] == "Unavailable"
    assert live(charger, 1)[0] == "Unknown"


def test_a_connector_that_only_a_status_names_is_made_and_flagged(charger):
    report(charger, "Available", connector=2)
    found = Connector.objects.visible_to(charger.actor).get(number=2)
    assert (found.standard, found.found_at) == (Connector.Standard.UNKNOWN, START)
    assert live(charger, 2)[0] == "Available"


def test_a_status_that_nobody_knows_is_unknown_and_keeps_its_text(charger):
    report(charger, "Exploded", info="smoke")
    state = ConnectorState.objects.visible_to(charger.actor).get(connector__number=1)
    assert (state.status, state.error_info) == ("Unknown", "Exploded: smoke")


def test_every_boot_is_history_and_the_last_one_counts(charger):
    charger.send("BootNotification", chargePointVendor="V", chargePointModel="M", firmwareVersion="1.0")
    later = charger.wait(hours=1)
    charger.send("BootNotification", chargePointVendor="V", chargePointModel="M", firmwareVersion="1.1")
    boots = Boot.objects.visible_to(charger.actor).order_by("received_at")
    assert list(boots.values_list("firmware", "received_at")) == [("1.0", START), ("1.1", later)]
    assert StationState.objects.visible_to(charger.actor).get().booted_at == later
