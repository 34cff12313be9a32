"""The database gives each message the facts that it needs: batches leave what the pure decisions say."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings

from apps.charging.models import Reading, ReviewItem, Session
from apps.ocpp.clock import ClockWatch
from tests.charging.stored import Stored
from tests.charging.test_idempotence import anything, element, play
from tests.charging.world import CARD, START, World, iso
from tests.factories.cards import TokenFactory
from tests.factories.installations import ConnectorFactory, EVSEFactory, StationFactory
from tests.fuzz import examples

FIGURES = ("state", "started_at", "ended_at", "meter_start_wh", "meter_stop_wh", "uid", "authorisation_reason")
LIVE = ("reading_at", "register_wh", "register_at", "power_w")


def decided(world: World) -> dict[str, Any]:
    sessions = sorted(world.sessions, key=lambda session: session.id)
    number = {session.id: index for index, session in enumerate(sessions)}
    return {
        "sessions": [tuple(getattr(session, name) for name in (*FIGURES, *LIVE)) for session in sessions],
        "readings": sorted(
            (row.at, row.connector_number, row.digest, -1 if row.session_id is None else number[row.session_id])
            for row in world.readings.values()
            if "bad_time" not in row.notes
        ),
        "review": sorted(
            (doubt.code, -1 if doubt.session_id is None else number[doubt.session_id], doubt.blocking)
            for doubt in world.doubts.values()
        ),
    }


def stored(charger: Stored) -> dict[str, Any]:
    stations = list(charger.stations.values())
    sessions = list(Session.objects.visible_to(charger.actor).filter(station__in=stations).order_by("pk"))
    number = {session.pk: index for index, session in enumerate(sessions)}
    # A time that cannot be is no key: such a reading is known again by its session alone (test_stored_sessions).
    readings = Reading.objects.visible_to(charger.actor).exclude(notes__contains="bad_time")
    readings = readings.filter(station_id__in=[one.pk for one in stations])
    items = ReviewItem.objects.visible_to(charger.actor).filter(station__in=stations)
    return {
        "sessions": [
            (*(getattr(session, name) for name in FIGURES), *(getattr(session.live, name) for name in LIVE))
            for session in sessions
        ],
        "readings": sorted(
            (row.at, row.connector_number, row.digest, number.get(row.session_id, -1)) for row in readings
        ),
        "review": sorted((item.code, number.get(item.session_id, -1), item.blocking) for item in items),
    }


def two_stations(tenant: Any) -> Stored:
    charger = Stored(tenant)
    for number in (1, 2):
        station = StationFactory(operator=tenant.operator, location=tenant.location)
        charger.stations[number] = station
        for plug in (1, 2):
            evse = EVSEFactory(operator=tenant.operator, station=station, number=plug)
            ConnectorFactory(operator=tenant.operator, station=station, number=plug, evse=evse)
    return charger


def with_issued(payload: dict[str, Any], issued: Sequence[int]) -> dict[str, Any]:
    """Transaction 1 of the story is the first that was issued, and so on; one that was not is nobody's."""
    told = payload.get("transactionId", 0)
    if not 1 <= told <= 4:
        return payload
    return payload | {"transactionId": issued[told - 1] if told <= len(issued) else 2_000_000_000 + told}


@pytest.mark.django_db
@settings(
    max_examples=examples(40),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(anything)
@example(
    [
        (2, ("StopTransaction", {"transactionId": 1, "timestamp": "rubbish", "meterStop": 0})),
        (1, ("StartTransaction", {"connectorId": 1, "idTag": CARD, "timestamp": iso(START), "meterStart": 0})),
        (2, ("StopTransaction", {"transactionId": 1, "timestamp": "rubbish", "meterStop": 0})),
    ]
)
@example(
    [
        (2, ("MeterValues", {"connectorId": 2, "meterValue": [element("2099-01-01T00:00:00Z", 0)]})),
        (2, ("StartTransaction", {"connectorId": 2, "idTag": "FFFFFFFF", "timestamp": iso(START), "meterStart": 6821})),
        (2, ("MeterValues", {"connectorId": 2, "meterValue": [element("2099-01-01T00:00:00Z", 0)]})),
    ]
)
def test_batches_leave_what_the_decisions_say(ours, messages):
    Session.objects.unscoped("sessions of the last example").filter(operator=ours.operator, state="active").update(
        state="void"
    )
    token = TokenFactory._meta.model.objects.unscoped("test").filter(operator=ours.operator, uid=CARD)
    token.exists() or TokenFactory(operator=ours.operator, uid=CARD)
    charger, issued, told = two_stations(ours), [], []
    for second, (station, (action, payload)) in enumerate(messages):
        charger.now, charger.clock = START + dt.timedelta(seconds=second), ClockWatch()
        told.append((station, (action, with_issued(payload, range(1, len(issued) + 1)))))
        answer = charger.send(action, station=station, **with_issued(payload, issued))
        if (transaction := answer.get("transactionId", 0)) and transaction not in issued:
            issued.append(transaction)
    assert stored(charger) == decided(play(told))
