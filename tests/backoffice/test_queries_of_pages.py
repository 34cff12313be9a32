"""Pages that join apps cost a bounded number of queries, whatever they show."""

from __future__ import annotations

import datetime as dt

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.charging.models import ReviewItem
from apps.installations.models import Command, ConfigurationValue, ConnectionInterval, StatusInterval
from apps.ocpp.models import Frame
from tests.backoffice.test_today import session_at
from tests.factories.installations import ConnectorFactory

pytestmark = pytest.mark.django_db


def queries(client, path: str) -> int:
    with CaptureQueriesContext(connection) as context:
        assert client.get(path).status_code == 200
    return len(context)


@pytest.mark.parametrize("tail", ["", "messages/", "configuration/", "history/"])
def test_a_chargers_pages_cost_the_same_with_much_in_them(ours, desk, tail):
    client, path = desk(ours.owner), f"/chargers/{ours.station.pk}/{tail}"
    fill_station(ours, 1)
    client.get(path)
    few = queries(client, path)
    fill_station(ours, 12)
    assert queries(client, path) == few


def test_a_sessions_page_costs_the_same_with_many_doubts(ours, desk):
    session = session_at(ours, 1)
    client, path = desk(ours.owner), f"/sessions/{session.pk}/"
    doubts = ("meter_jump", "bad_time", "clock_offset", "meter_backwards", "second_stop")
    for number, code in enumerate(doubts):
        ReviewItem.objects.create(
            operator=ours.operator,
            station=ours.station,
            session=session,
            code=code,
            key=str(number),
            opened_at=timezone.now(),
        )
        if number == 0:
            client.get(path)
            few = queries(client, path)
    assert queries(client, path) == few


def fill_station(tenant, count: int) -> None:
    now = timezone.now()
    of_station = {"operator": tenant.operator, "station": tenant.station}
    start = 100 * count
    for number in range(start, start + count):
        session_at(tenant, number)
        ConnectorFactory(operator=tenant.operator, station=tenant.station, number=number)
        Command.objects.create(
            **of_station, action="Reset", user=tenant.owner, actor="x", created_at=now, deadline_at=now, state="done"
        )
        ConfigurationValue.objects.create(**of_station, key=f"Key{number}", value="1", read_at=now)
        ConnectionInterval.objects.create(
            **of_station, generation=number, gateway="g", protocol="ocpp1.6", started_at=now
        )
        StatusInterval.objects.create(
            at=now,
            station_id=tenant.station.pk,
            connector_number=1,
            sequence=number,
            operator_id=tenant.operator.pk,
            received_at=now,
            status="Available",
        )
        Frame.objects.create(
            received_at=now + dt.timedelta(seconds=number),
            station_id=tenant.station.pk,
            generation=1,
            sequence=number,
            operator_id=tenant.operator.pk,
            direction="in",
            action="Heartbeat",
            message_id="1",
            request="{}",
        )
