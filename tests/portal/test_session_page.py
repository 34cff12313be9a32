"""A session in the portal: its curve, its readings, its life, each as far as the visitor may know it."""

from __future__ import annotations

import csv
import datetime as dt
import io

import pytest

from apps.charging.models import Reading, SessionState
from apps.core.csv import BOM
from tests.factories.accounts import OrganisationFactory
from tests.factories.cards import TokenFactory
from tests.factories.charging import make_session
from tests.factories.installations import LocationFactory, StationFactory

HOST = {"host": "fleet.amber.localhost"}
START = dt.datetime(2026, 11, 20, 9, 0, tzinfo=dt.UTC)


def read(session, *minutes, power_w=11_040, soc_percent=64):
    Reading.objects.bulk_create(
        Reading(
            at=START + dt.timedelta(minutes=minute),
            station_id=session.station_id,
            connector_number=1,
            digest=number,
            operator_id=session.operator_id,
            session_id=session.pk,
            received_at=START + dt.timedelta(minutes=minute),
            generation=1,
            sequence=number,
            register_wh=1_000 + 1_500 * (number + 1),
            power_w=power_w,
            soc_percent=soc_percent,
        )
        for number, minute in enumerate(minutes)
    )


@pytest.fixture
def ended(ours):
    session = make_session(
        ours,
        connector=ours.connector,
        started_at=START,
        ended_at=START + dt.timedelta(hours=1),
        meter_stop_wh=8_500,
        state=SessionState.ENDED,
        stop_reason="EVDisconnected",
    )
    read(session, 5, 10, 15, 50, 55)
    return session


@pytest.fixture
def page_of(client, ours):
    def get(session, user=ours.manager, query=""):
        client.force_login(user)
        return client.get(f"/sessions/{session.public_id}/{query}", headers=HOST)

    return get


def lines_of(response) -> list[list[str]]:
    text = b"".join(response.streaming_content).decode()
    return list(csv.reader(io.StringIO(text.removeprefix(BOM))))


def test_the_curve_has_its_limit_and_its_table_behind_it(ours, ended, page_of):
    page = page_of(ended).text
    assert page.count('class="curve-line"') == 2  # the gap is no line
    assert f"limit {ours.connector.max_power_w / 1000:g} kW" in page
    assert "5 readings" in page
    assert "2026-11-20 10:05:00 CET" in page
    assert "7.50 kWh" in page


def test_the_curve_s_scale_has_its_unit_and_the_reader_s_figures(ours, ended, client):
    Reading.everything.filter(session_id=ended.pk).update(power_w=1_840)
    client.force_login(ours.manager)
    headers = {**HOST, "accept-language": "de"}
    page = client.get(f"/sessions/{ended.public_id}/", headers=headers).text
    assert ">2,5 kW</text>" in page
    assert ">1,5</text>" in page
    assert "1,84 kW" in page


def test_its_life_tells_the_end_and_the_gap(ended, page_of):
    page = page_of(ended).text
    assert "No readings for 35\xa0minutes." in page
    assert "The car was unplugged." in page
    assert page.index("The session began.") < page.index("No readings for") < page.index("The session ended.")


def test_the_readings_can_be_saved(ended, page_of):
    head, first, *others = lines_of(page_of(ended, query="?export=csv"))
    assert head == ["Time", "Energy (Wh)", "Power (W)", "Battery (%)"]
    assert first == ["2026-11-20T09:05:00+00:00", "1500", "11040", "64"]
    assert len(others) == 4


def test_the_battery_of_another_card_s_car_is_not_told(ours, page_of):
    other = OrganisationFactory(operator=ours.operator)
    session = make_session(
        ours, started_at=START, token=TokenFactory(operator=ours.operator, organisation=other, label="Secret card")
    )
    read(session, 5, 10)
    page = page_of(session).text
    assert "curve-line" in page
    assert "64 %" not in page
    assert "Secret card" not in page
    assert [line[3] for line in lines_of(page_of(session, query="?export=csv"))[1:]] == ["", ""]


def test_an_own_card_elsewhere_has_a_curve_without_the_limit_of_the_place(ours, page_of):
    place = LocationFactory(operator=ours.operator, host=OrganisationFactory(operator=ours.operator))
    session = make_session(
        ours, station=StationFactory(operator=ours.operator, location=place), connector=ours.connector, started_at=START
    )
    read(session, 5, 10)
    for user in (ours.manager, ours.driver):
        page = page_of(session, user).text
        assert "curve-line" in page
        assert "curve-limit" not in page


def test_a_foreign_session_s_readings_are_not_found(ours, rival, page_of):
    theirs = make_session(rival, started_at=START)
    read(theirs, 5, 10)
    pool = make_session(ours, token=TokenFactory(operator=ours.operator, organisation=ours.fleet))
    assert page_of(theirs, query="?export=csv").status_code == 404
    assert page_of(pool, ours.driver, query="?export=csv").status_code == 404


def test_without_readings_the_page_says_what_will_come(ours, page_of):
    assert "They come about once a minute" in page_of(make_session(ours)).text
    done = make_session(ours, state=SessionState.ENDED, ended_at=START)
    assert "sent no readings" in page_of(done).text


@pytest.mark.parametrize("end", [3_720, None])
def test_a_session_of_days_is_thinned_on_its_page_and_whole_in_its_file(ours, page_of, end):
    """A reading a minute for 62 hours."""
    ended = {"state": SessionState.ENDED, "ended_at": START + dt.timedelta(minutes=end)} if end else {}
    session = make_session(ours, started_at=START, **ended)
    read(session, *range(1, 3_720))
    page = page_of(session).text
    assert "3719 readings" in page
    assert "Shown are 1860 of 3719, evenly spread." in page
    assert "No readings for" not in page
    assert page.count('class="curve-line"') == 1
    assert "2026-11-22 23:59:00 CET" in page  # the last one, after 61 hours and 59 minutes
    rows = lines_of(page_of(session, query="?export=csv"))[1:]
    assert len(rows) == 3_719
    assert rows[-1][0] == "2026-11-22T22:59:00+00:00"


def test_a_gap_between_readings_that_are_not_shown_is_told(ours, page_of, monkeypatch):
    monkeypatch.setattr("apps.portal.selectors.sessions.READINGS_SHOWN", 4)
    session = make_session(ours, started_at=START, state=SessionState.ENDED, ended_at=START + dt.timedelta(minutes=100))
    read(session, 10, 20, 30, 40, 75, 85, 90)
    page = page_of(session).text
    assert "7 readings" in page
    assert page.count("No readings for") == 1
    assert "No readings for 35\xa0minutes." in page


def test_few_readings_are_all_shown(ended, page_of):
    assert "evenly spread" not in page_of(ended).text
