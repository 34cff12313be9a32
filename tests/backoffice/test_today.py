"""The first page: chargers by state, what charges, what needs somebody and what to do next."""

from __future__ import annotations

import datetime as dt
import re
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.accounts.models import SellerRegistration
from apps.accounts.permissions import Role
from apps.backoffice.attention import attention
from apps.billing.models import Delivery
from apps.charging.models import ReviewItem, Session, SessionLive, Settlement
from apps.core.actor import Actor, Kind
from apps.installations.models import Command, ConnectionInterval, Connector, ConnectorState, StationState
from apps.installations.selectors import Condition, station_conditions
from apps.notifications.models import Mail
from apps.ocpp.models import HandshakeRefusal
from apps.portal.selectors import station_rows, visible_stations
from tests.factories.accounts import MembershipFactory, UserFactory
from tests.factories.billing import drafted, finalised, make_cdrs, make_customer
from tests.factories.installations import ConnectorFactory, LocationFactory, StationFactory

pytestmark = pytest.mark.django_db


def online(station, **values):
    now = timezone.now()
    StationState.everything.filter(station=station).update(
        online=True, generation=1, connected_at=now, last_seen_at=now, **values
    )


def offline(station, since):
    StationState.everything.filter(station=station).update(online=False, connected_at=since, disconnected_at=since)


def session_at(tenant, number, **values):
    now = timezone.now()
    defaults = {"started_at": now, "start_received_at": now, "meter_start_wh": 1000, "state": "active"}
    session = Session.objects.create(
        operator=tenant.operator,
        station=tenant.station,
        connector=tenant.connector,
        connector_number=1,
        location=tenant.location,
        token=tenant.token,
        transaction_id=number,
        start_key=str(number),
        **{**defaults, **values},
    )
    SessionLive.objects.create(operator=tenant.operator, session=session, energy_wh=500, power_w=11_000)
    return session


@pytest.mark.parametrize(
    ("live", "whole", "statuses", "expected"),
    [
        (None, "Unknown", ["Available"], Condition.NEVER),
        (False, "Faulted", ["Faulted"], Condition.OFFLINE),
        (True, "Unknown", ["Available", "Faulted"], Condition.FAULTED),
        (True, "Faulted", ["Available", "Charging"], Condition.FAULTED),
        (True, "Available", ["Available", "SuspendedEV"], Condition.CHARGING),
        (True, "Available", ["Finishing", "Available"], Condition.PREPARING),
        (True, "Available", ["Reserved", "Available"], Condition.RESERVED),
        (True, "Unavailable", ["Unavailable", "Available"], Condition.AVAILABLE),
        (True, "Available", ["Unavailable", "Unavailable"], Condition.UNAVAILABLE),
        (True, "Unavailable", ["Unknown", "Unknown"], Condition.UNAVAILABLE),
        (True, "Unknown", ["SomethingNew"], Condition.UNKNOWN),
        (True, "Unavailable", [], Condition.UNAVAILABLE),
        (True, "Unknown", [], Condition.UNKNOWN),
    ],
)
def test_a_charger_is_told_in_the_same_word_everywhere(ours, system, desk, live, whole, statuses, expected):
    if live is not None:
        online(ours.station, status=whole)
        StationState.everything.update(online=live)
    Connector.everything.update(archived_at=timezone.now())
    for number, status in enumerate(statuses, 2):
        connector = ConnectorFactory(operator=ours.operator, station=ours.station, number=number)
        ConnectorState.everything.filter(connector=connector).update(status=status)
    assert station_conditions(system) == {expected: 1}
    client = desk(ours.owner)
    [share] = client.get("/").context["dashboard"].shares
    assert share.condition is expected
    [listed] = client.get(share.link).context["cl"].result_list
    assert listed.condition == expected
    assert f"{expected.label}</span>" in client.get("/installations/chargingstation/").content.decode()
    [shown] = station_rows(visible_stations(system))
    grouped = {"never": "Offline", "Preparing": "Occupied", "Reserved": "Occupied"}
    assert shown.health == grouped.get(expected.value, expected.value)


def test_the_worst_comes_first_and_each_line_has_its_next_step(ours, system):
    now = timezone.now()
    online(ours.station)
    ConnectorState.everything.filter(connector=ours.connector).update(
        status="Faulted", status_at=now - dt.timedelta(hours=2), error_code="GroundFailure", error_info="RCD tripped"
    )
    gone = StationFactory(operator=ours.operator, location=ours.location, identity="GONE")
    offline(gone, now - dt.timedelta(days=1))
    ConnectionInterval.objects.create(
        operator=ours.operator,
        station=gone,
        generation=1,
        gateway="g",
        protocol="ocpp1.6",
        started_at=now,
        ended_at=now,
        reason="lost",
    )
    ReviewItem.objects.create(
        operator=ours.operator, station=ours.station, code="meter_jump", key="1", opened_at=now - dt.timedelta(days=3)
    )
    HandshakeRefusal.objects.create(
        operator=ours.operator,
        identity="NEW-1",
        address="10.0.0.1",
        reason="unknown_station",
        first_at=now,
        last_at=now,
        count=4,
    )
    Command.objects.create(
        operator=ours.operator,
        station=ours.station,
        action="Reset",
        user=ours.owner,
        actor="x",
        created_at=now,
        deadline_at=now,
        state="timed_out",
    )
    ours.connector.found_at = now
    ours.connector.save()
    Mail.objects.create(
        operator=ours.operator, key="1", kind="x", recipient="a@example.org", language="en", subject="s", state="failed"
    )
    found = attention(system, now=now)
    assert found.count == 7
    lines = {line.what: line for site in found.sites for line in site.lines}
    assert [site.name for site in found.sites] == [ours.location.name, "Unknown chargers", "Messages"]
    assert [line.harm for line in found.sites[0].lines] == sorted(line.harm for line in found.sites[0].lines)
    fault = found.sites[0].lines[0]
    told = "The residual current protection has tripped. RCD tripped"
    assert (fault.word, fault.detail, fault.code) == ("faulted", told, "GroundFailure")
    assert lines[f"<bdi>Reset</bdi> at <bdi>{ours.station}</bdi>"].code == "Reset"
    assert "connection lost" in lines["GONE"].detail
    assert lines["NEW-1"].step == "Adopt it"
    assert lines["NEW-1"].link.startswith("/chargers/add/?refusal=")
    assert all(line.link and line.step for site in found.sites for line in site.lines)


def test_an_offline_charger_is_not_faulted_too(ours, system):
    offline(ours.station, timezone.now())
    ConnectorState.everything.update(status="Faulted")
    [site] = attention(system, now=timezone.now()).sites
    assert [line.word for line in site.lines] == ["offline"]


def test_the_page_shows_what_charges(ours, desk):
    online(ours.station)
    session_at(ours, 1)
    session_at(ours, 2, state="ended", meter_stop_wh=8500, ended_at=timezone.now())
    session_at(ours, 3, state="void", meter_stop_wh=999_000)
    page = desk(ours.owner).get("/").content.decode()
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    assert "Charging now 1 " in text
    assert "11.00 kW" in text
    assert "8.00 kWh" in text  # 0.5 of the running one and 7.5 of the ended one
    assert "2 sessions began today, 0 yesterday" in text


def test_the_page_of_the_rival_is_its_own(ours, rival, desk):
    online(rival.station)
    session_at(rival, 1)
    page = desk(ours.owner).get("/").content.decode()
    assert "Zugvogel" not in page
    assert "11.00 kW" not in page


def test_without_a_charger_the_first_steps_are_shown(ours, desk):
    StationState.everything.all().delete()
    ours.station.archived_at = timezone.now()
    ours.station.save()
    page = desk(ours.owner).get("/").content.decode()
    assert "Three steps to the first charging session" in page
    assert "Needs attention" not in page


def test_finance_sees_no_refused_connection_to_adopt(ours, desk):
    now = timezone.now()
    HandshakeRefusal.objects.create(
        operator=ours.operator, identity="N", address="1", reason="unknown_station", first_at=now, last_at=now
    )
    user = UserFactory()
    MembershipFactory(operator=ours.operator, user=user, role=Role.FINANCE)
    page = desk(user).get("/").content.decode()
    assert "/chargers/add/?refusal=" not in page


def test_two_thousand_chargers_cost_no_query_more(ours, desk):
    client = desk(ours.owner)
    client.get("/")
    few = _queries(client)
    now = timezone.now()
    for place in range(4):
        location = LocationFactory(operator=ours.operator, name=f"Place {place}")
        for number in range(10):
            station = StationFactory(operator=ours.operator, location=location, identity=f"S{place}-{number}")
            connector = ConnectorFactory(operator=ours.operator, station=station)
            if number % 2:
                online(station)
                ConnectorState.everything.filter(connector=connector).update(status="Faulted", status_at=now)
            else:
                offline(station, now)
            ReviewItem.objects.create(
                operator=ours.operator, station=station, code="meter_jump", key="1", opened_at=now
            )
            HandshakeRefusal.objects.create(
                operator=ours.operator,
                identity=station.identity,
                station=station,
                address="1",
                reason="wrong_password",
                first_at=now,
                last_at=now,
            )
    for number in range(20):
        session_at(ours, number + 1)
    assert _queries(client) <= few


def test_tiles_say_what_yesterday_was_and_draw_the_last_days(ours, desk):
    now = timezone.now()
    today = timezone.localdate(now, ZoneInfo(ours.operator.time_zone))
    midday = dt.datetime.combine(today, dt.time(12), dt.UTC)
    for number, days_ago in enumerate((0, 1, 1, 5, 13, 14)):
        at = min(midday - dt.timedelta(days=days_ago), now)
        session_at(ours, number + 1, started_at=at, start_received_at=at, state="ended", meter_stop_wh=11_000)
    page = desk(ours.owner).get("/").content.decode()
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "1 session began today, 2 yesterday" in text
    assert "10.00 kWh of sessions begun today; yesterday 20.00 kWh" in text
    curves = [[float(point.split(",")[1]) for point in line.split()] for line in re.findall(r'points="([^"]+)"', page)]
    assert curves == [[12.0, *[23.0] * 7, 12.0, *[23.0] * 3, 1.0, 12.0]] * 2


def _queries(client) -> int:
    with CaptureQueriesContext(connection) as context:
        assert client.get("/").status_code == 200
    return len(context)


def test_what_is_listed_is_bounded(ours):
    now = timezone.now()
    for number in range(60):
        station = StationFactory(
            operator=ours.operator,
            location=LocationFactory(operator=ours.operator),
            identity=f"X{number}",
        )
        offline(station, now)
    found = attention(Actor.system(ours.operator), now=now)
    assert (found.count, len(found.sites)) == (60, 40)


def test_sessions_without_a_price_and_stopped_drafts_are_named(ours):
    contract = make_customer(ours)
    SellerRegistration.everything.filter(operator=ours.operator).delete()
    make_cdrs(ours, contract, ["1.00"])
    drafted(ours)
    held = session_at(ours, 99, state="ended")
    Settlement.everything.create(
        operator=ours.operator, session=held, state="held", reason="no_contract", since=timezone.now()
    )
    sites = attention(Actor.system(ours.operator), now=timezone.now()).sites
    said = {line.what: line.detail for site in sites for line in site.lines}
    assert said["1 session has no price"] == "No contract covers the card on the day of the session."
    assert "has no VAT registration in DE" in said[str(contract.account)]


def test_an_invoice_whose_mail_was_refused_is_named(ours):
    make_cdrs(ours, make_customer(ours), ["1.00"])
    [invoice] = finalised(ours)
    mail = Mail.everything.create(
        operator=ours.operator, key="k", kind="invoice", recipient="a@b.example", language="en", state="failed"
    )
    Delivery.everything.create(operator=ours.operator, invoice=invoice, mail=mail, at=timezone.now())
    (site,) = attention(Actor.system(ours.operator), now=timezone.now()).sites
    (line,) = site.lines
    assert line.what == invoice.number
    assert (line.detail, line.step) == ("The e-mail to a@b.example could not be sent.", "Send it again")
    mails_alone = Actor(
        Kind.SESSION, ours.operator.pk, permissions=frozenset({"notifications.view_mail"}), operator_wide=True
    )
    (site,) = attention(mails_alone, now=timezone.now()).sites
    assert [line.what for line in site.lines] == ["1 e-mail could not be sent"]
