"""The portal's pages: what each role sees on a brand's host, and what nobody there sees."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
import uuid
from html import unescape

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.charging.models import SessionState
from apps.core.actor import Actor
from apps.core.csv import BOM
from apps.installations.models import ConnectorState, ErrorCode, StationState
from apps.portal import lists
from apps.portal.selectors import months
from apps.portal.views.pages import PER_PAGE
from tests.factories.accounts import OrganisationFactory
from tests.factories.cards import TokenFactory
from tests.factories.cast import CANARY
from tests.factories.charging import make_session
from tests.factories.installations import ConnectorFactory, LocationFactory, StationFactory

HOST = {"host": "fleet.amber.localhost"}
LISTS = ["/locations/", "/chargers/", "/sessions/"]
UTC = dt.UTC


def online(tenant, status="Available"):
    StationState.everything.filter(station=tenant.station).update(online=True)
    ConnectorState.everything.filter(connector=tenant.connector).update(status=status, status_at=timezone.now())


def row_count(page) -> str:
    return re.search(r'role="status">([^<]+)<', page.text)[1]


@pytest.mark.parametrize("path", ["/", *LISTS])
def test_who_is_not_signed_in_is_asked_to(client, ours, path):
    response = client.get(path, headers=HOST)
    assert response.status_code == 302
    assert response.headers["Location"] == f"/accounts/login/?next={path}"


@pytest.mark.parametrize("who", ["manager", "owner", "driver"])
def test_pages_of_a_rival_hold_nothing_of_it_and_its_ids_are_404(client, ours, rival, who):
    theirs, user = make_session(rival), getattr(ours, who)
    make_session(ours)
    client.force_login(user)
    for host in ("amber.localhost", "fleet.amber.localhost"):
        headers = {"host": host}
        for path in ["/", *LISTS, "/sessions/?export=csv", f"/sessions/?location={rival.location.public_id}"]:
            response = client.get(path, headers=headers)
            body = b"".join(response.streaming_content) if response.streaming else response.content
            assert CANARY.encode() not in body, path
        for path in (
            f"/locations/{rival.location.public_id}/",
            f"/chargers/{rival.station.public_id}/",
            f"/sessions/{theirs.public_id}/",
        ):
            assert client.get(path, headers=headers).status_code == 404


def test_a_manager_sees_nothing_of_another_host_at_the_same_operator(manager, ours):
    other = OrganisationFactory(operator=ours.operator, name="Town")
    place = LocationFactory(operator=ours.operator, name="Market square", host=other)
    station = StationFactory(operator=ours.operator, location=place, name="Square charger")
    foreign = make_session(ours, station=station, token=None)
    for path in ["/", *LISTS]:
        page = manager.get(path, headers=HOST)
        assert "Square" not in page.text
        assert "Market square" not in page.text
    assert manager.get(f"/locations/{place.public_id}/", headers=HOST).status_code == 404
    assert manager.get(f"/chargers/{station.public_id}/", headers=HOST).status_code == 404
    assert manager.get(f"/sessions/{foreign.public_id}/", headers=HOST).status_code == 404


def test_an_organisation_s_host_shows_that_organisation_to_the_operator_s_people_not(client, ours):
    client.force_login(ours.owner)
    assert client.get("/", headers=HOST).status_code == 404
    assert client.get("/", headers={"host": "amber.localhost"}).status_code == 200


def test_a_driver_sees_own_sessions_and_no_chargers(client, ours):
    own = make_session(ours)
    foreign = make_session(ours, token=TokenFactory(operator=ours.operator, organisation=ours.fleet, label="Pool card"))
    client.force_login(ours.driver)
    assert str(own.public_id) in client.get("/", headers=HOST).text
    page = client.get("/sessions/", headers=HOST)
    assert str(own.public_id) in page.text
    assert str(foreign.public_id) not in page.text
    assert "Amber Charger" not in page.text
    assert client.get("/chargers/", headers=HOST).status_code == 404
    assert client.get("/locations/", headers=HOST).status_code == 404
    assert client.get(f"/sessions/{foreign.public_id}/", headers=HOST).status_code == 404


def test_a_foreign_card_is_another_card_on_every_page(manager, ours):
    other = OrganisationFactory(operator=ours.operator)
    token = TokenFactory(
        operator=ours.operator, organisation=other, holder=ours.owner, label="Secret card", uid="04FEED"
    )
    session = make_session(ours, token=token)
    for path in ("/", "/sessions/", f"/sessions/{session.public_id}/", f"/chargers/{ours.station.public_id}/"):
        page = manager.get(path, headers=HOST).text
        assert "another card" in page, path
        assert not re.search(r"Secret card|04FEED|Amber owner|64 ?%", page), path


def test_the_first_page_says_whether_anything_is_broken(manager, ours):
    assert "1 charger needs attention" in manager.get("/", headers=HOST).text
    online(ours)
    assert "All chargers work" in manager.get("/", headers=HOST).text
    online(ours, "Faulted")
    page = manager.get("/", headers=HOST).text
    assert "1 charger needs attention" in page
    assert "faulted" in page


def test_the_first_page_shows_what_runs_now(manager, ours):
    assert "Nobody charges at the moment" in manager.get("/", headers=HOST).text
    make_session(ours)
    make_session(ours, state=SessionState.ENDED, ended_at=timezone.now(), meter_stop_wh=8_000)
    page = manager.get("/", headers=HOST).text
    assert "11.04 kW" in page
    assert "5.00 kWh" in page
    assert "1 session now" in page


def test_the_month_stands_beside_the_last_one_up_to_the_same_day(ours):
    actor, berlin = Actor.system(ours.operator), "Europe/Berlin"
    for day, energy in [((10, 5), 4_000), ((10, 22), 64_000), ((11, 2), 7_000), ((11, 20), 9_000)]:
        at = dt.datetime(2026, *day, 12, tzinfo=UTC)
        make_session(ours, state=SessionState.ENDED, started_at=at, ended_at=at, meter_stop_wh=1_000 + energy)
    # Local midnight begins the month: 23:30 UTC of 31 October is 1 November there.
    make_session(ours, started_at=dt.datetime(2026, 10, 31, 23, 30, tzinfo=UTC))
    make_session(ours, state=SessionState.VOID, started_at=dt.datetime(2026, 11, 3, tzinfo=UTC), meter_stop_wh=99_000)
    month = months(actor, now=dt.datetime(2026, 11, 21, 12, tzinfo=UTC), zone=berlin)
    assert (month.sessions, month.energy_wh) == (3, 21_000)
    assert (month.sessions_before, month.energy_before_wh) == (1, 4_000)
    assert month.days[:2] == [5_000, 7_000]
    assert len(month.days) == 21
    assert len(month.curve.split()) == 21
    assert months(actor, now=dt.datetime(2026, 11, 2, tzinfo=UTC), zone=berlin).curve == ""


def test_the_month_counts_only_what_the_visitor_may_see(manager, ours, rival):
    make_session(rival)
    other = OrganisationFactory(operator=ours.operator)
    place = LocationFactory(operator=ours.operator, host=other)
    make_session(ours, station=StationFactory(operator=ours.operator, location=place), token=None)
    assert re.search(r"Sessions this month</span>\s*<span class=\"figure\">0<", manager.get("/", headers=HOST).text)


@pytest.mark.parametrize(
    ("status", "live", "health"),
    [
        ("Available", True, "available"),
        ("Charging", True, "charging"),
        ("SuspendedEV", True, "charging"),
        ("Preparing", True, "in use"),
        ("Faulted", True, "faulted"),
        ("Unavailable", True, "out of service"),
        ("Unknown", True, "unknown"),
        ("Faulted", False, "offline"),
    ],
)
def test_a_charger_is_what_its_connectors_and_its_connection_say(manager, ours, status, live, health):
    online(ours, status)
    StationState.everything.filter(station=ours.station).update(online=live)
    page = manager.get(f"/chargers/{ours.station.public_id}/", headers=HOST).text
    assert re.search(rf'data-live-summary="{health}"', page)


@pytest.mark.parametrize("code", [one for one in ErrorCode if one is not ErrorCode.NO_ERROR])
def test_a_fault_is_told_in_words_and_its_code_in_small_print(manager, ours, code):
    online(ours, "Faulted")
    ConnectorState.everything.update(error_code=code, error_info="E17")
    page = unescape(manager.get(f"/chargers/{ours.station.public_id}/", headers=HOST).text)
    assert f'error-text">{code.label} E17</span> <span class="small soft">{code.value}</span>' in page
    ConnectorState.everything.update(error_code="NoError", error_info="")
    assert "error-text" not in manager.get(f"/chargers/{ours.station.public_id}/", headers=HOST).text


def test_figures_and_times_follow_language_and_place(manager, ours):
    ours.location.time_zone = "Europe/Lisbon"
    ours.location.save()
    session = make_session(ours, started_at=dt.datetime(2026, 7, 1, 10, 0, tzinfo=UTC))
    english = manager.get(f"/sessions/{session.public_id}/", headers=HOST).text
    assert "1 Jul 2026, 11:00 WEST" in english
    assert "5.00 kWh" in english
    german = manager.get(f"/sessions/{session.public_id}/", headers={**HOST, "accept-language": "de"}).text
    assert "01.07.2026, 11:00 WEST" in german
    assert "5,00 kWh" in german


def test_filters_live_in_the_url(manager, ours):
    online(ours)
    old = make_session(ours, state=SessionState.ENDED, started_at=dt.datetime(2026, 3, 1, 23, 30, tzinfo=UTC))
    make_session(ours)
    for query, count in {
        "": "2 sessions",
        "?state=ended": "1 session",
        f"?location={ours.location.public_id}": "2 sessions",
        f"?location={uuid.uuid4()}": "2 sessions",
        "?since=2026-03-02&until=2026-03-02": "1 session",
        "?since=2026-03-01&until=2026-03-01": "0 sessions",
        "?since=nonsense": "2 sessions",
        "?until=9999-12-31": "2 sessions",
        "?since=0001-01-01": "2 sessions",
    }.items():
        page = manager.get(f"/sessions/{query}", headers=HOST)
        assert row_count(page) == count, query
    assert str(old.public_id) in manager.get("/sessions/?state=ended", headers=HOST).text
    assert row_count(manager.get("/chargers/?health=Offline", headers=HOST)) == "0 chargers"
    assert row_count(manager.get("/chargers/?health=Available&q=amber", headers=HOST)) == "1 charger"
    assert row_count(manager.get("/locations/?q=hamburg", headers=HOST)) == "1 location"


@pytest.mark.parametrize(
    "sort", ["started_at", "-started_at", "state", "place", "-place", "uid", "holder__password", "'"]
)
def test_sorting_knows_its_columns_and_ignores_others(manager, ours, sort):
    make_session(ours)
    page = manager.get("/sessions/", {"sort": sort}, headers=HOST)
    assert (page.status_code, row_count(page)) == (200, "1 session")


def test_a_list_without_rows_has_a_filter_only_where_one_is_set(manager, ours):
    assert 'role="search"' not in manager.get("/sessions/", headers=HOST).text
    assert 'role="search"' in manager.get("/sessions/?state=ended", headers=HOST).text
    make_session(ours)
    assert 'role="search"' in manager.get("/sessions/", headers=HOST).text


def test_a_list_has_pages(manager, ours):
    for _ in range(26):
        make_session(ours, state=SessionState.ENDED)
    first = manager.get("/sessions/", headers=HOST)
    assert row_count(first) == "26 sessions"
    assert "Page 1 of 2" in first.text
    assert "Page 2 of 2" in manager.get("/sessions/?page=2", headers=HOST).text
    assert "Page 2 of 2" in manager.get("/sessions/?page=99", headers=HOST).text


def test_the_csv_holds_what_is_shown_and_no_formula(manager, ours):
    ours.station.name = "=cmd()"
    ours.station.save()
    make_session(ours, meter_stop_wh=19_300, state=SessionState.ENDED)
    other = OrganisationFactory(operator=ours.operator)
    make_session(ours, token=TokenFactory(operator=ours.operator, organisation=other, label="Secret card"))
    response = manager.get("/sessions/?state=ended&export=csv", headers=HOST)
    text = b"".join(response.streaming_content).decode()
    assert text.startswith(BOM)
    [head, row] = csv.reader(io.StringIO(text.removeprefix(BOM)))
    told = dict(zip(head, row, strict=True))
    assert (told["Charger"], told["Energy (Wh)"]) == ("'=cmd() #1", "18300")
    whole = b"".join(manager.get("/sessions/?export=csv", headers=HOST).streaming_content).decode()
    assert "another card" in whole
    assert "Secret card" not in whole


@pytest.mark.parametrize("path", ["/", *LISTS])
def test_more_rows_need_no_more_queries(manager, ours, path, django_assert_max_num_queries):
    online(ours)
    make_session(ours)
    manager.get(path, headers=HOST)
    for _ in range(12):
        place = LocationFactory(operator=ours.operator, host=ours.fleet)
        station = StationFactory(operator=ours.operator, location=place)
        ConnectorFactory(operator=ours.operator, station=station)
        make_session(ours, station=station)
    with django_assert_max_num_queries(14):
        assert manager.get(path, headers=HOST).status_code == 200


def test_what_chargers_and_people_write_is_text(manager, ours):
    hostile = "</script><b>{{7*7}}\u202e=cmd()"
    ours.station.name, ours.location.name = hostile, hostile
    ours.station.save()
    ours.location.save()
    session = make_session(ours)
    for path in ("/", *LISTS, f"/sessions/{session.public_id}/", f"/chargers/{ours.station.public_id}/"):
        page = manager.get(path, headers=HOST).text
        assert "</script><b>" not in page, path
        assert "&lt;/script&gt;&lt;b&gt;{{7*7}}" in page, path


def test_a_failure_is_told_in_plain_words(manager, ours, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("secret detail")

    monkeypatch.setattr("apps.portal.views.places.selectors.overview", fail)
    manager.raise_request_exception = False
    page = manager.get("/", headers=HOST)
    assert page.status_code == 500
    assert "The error is on our side" in page.text
    assert "secret detail" not in page.text


@pytest.mark.parametrize("path", ["/", "/sessions/", "/accounts/login/"])
def test_pages_carry_no_inline_code_and_a_strict_policy(manager, ours, path):
    if "login" in path:
        manager.logout()
    page = manager.get(path, headers=HOST)
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert not re.search(r"\sstyle=|\son\w+=|<style|<script(?![^>]*\ssrc=)", page.text)


@pytest.mark.parametrize(
    "query", ["per_page=-3", "per_page=1000000", "page=-3", "page=99", f"page={'9' * 5000}", "page=x"]
)
@pytest.mark.parametrize("path", [*LISTS, "/cards/", "/people/", "/people/invitations/", "/invoices/", "/report/"])
def test_a_page_of_a_list_is_as_long_as_we_say(manager, ours, path, query):
    assert manager.get(f"{path}?{query}", headers=HOST).status_code == 200


def test_the_url_does_not_say_how_long_a_page_is(manager, ours):
    for number in range(30):
        LocationFactory(operator=ours.operator, name=f"Depot {number}", host=ours.fleet)
    page = manager.get("/locations/?per_page=1000000", headers=HOST)
    assert "Page 1 of 2" in page.text
    assert page.text.count('href="/locations/') - page.text.count('href="/locations/"') == PER_PAGE
    assert "Page 2 of 2" in manager.get("/locations/?page=99", headers=HOST).text


def test_a_list_that_is_longer_than_a_file_is_refused_whole(manager, ours, monkeypatch):
    for _number in range(3):
        make_session(ours)
    monkeypatch.setattr(lists, "EXPORT_ROWS", 2)
    refused = manager.get("/sessions/?state=active&export=csv", headers=HOST, follow=True)
    assert refused.redirect_chain == [("/sessions/?state=active", 302)]
    assert "This list has 3 rows; a file takes 2. Narrow it" in refused.text
    monkeypatch.setattr(lists, "EXPORT_ROWS", 3)
    saved = manager.get("/sessions/?export=csv", headers=HOST)
    assert len(list(csv.reader(io.StringIO(b"".join(saved.streaming_content).decode())))) == 4


@pytest.mark.parametrize("sort", ["", "state", "-state", "place"])
def test_rows_that_are_equal_in_order_are_saved_once_each(manager, ours, monkeypatch, sort):
    """A file is read in parts: without an order among equals, a part may repeat or leave out what another had."""
    at = dt.datetime(2026, 11, 2, 12, tzinfo=UTC)
    for number in range(6):
        make_session(ours, state=SessionState.ENDED, started_at=at, ended_at=at, meter_stop_wh=2_000 + number)
    monkeypatch.setattr(lists, "EXPORT_CHUNK", 2)
    with CaptureQueriesContext(connection) as context:
        saved = manager.get(f"/sessions/?export=csv&sort={sort}", headers=HOST)
        rows = list(csv.DictReader(io.StringIO(b"".join(saved.streaming_content).decode())))
    assert sorted(row["Energy (Wh)"] for row in rows) == [f"{1_000 + number}" for number in range(6)]
    parts = [one["sql"] for one in context.captured_queries if re.search(r"LIMIT 2\b", one["sql"])]
    assert len(parts) >= 3
    assert all('"charging_session"."id"' in sql.rpartition("ORDER BY")[2] for sql in parts)
