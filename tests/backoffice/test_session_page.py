"""A session's page: figures, curve, evidence, and doubts with their repairs; the review queue."""

from __future__ import annotations

import datetime as dt
import re
import xml.etree.ElementTree as ElementTree
from html import unescape
from itertools import pairwise

import pytest
from django.utils import timezone

from apps.accounts.models import AuditEntry
from apps.accounts.permissions import Role
from apps.charging import services
from apps.charging.admin import CONSEQUENCES
from apps.charging.curve import power_curve
from apps.charging.models import Authorisation, Reading, ReviewCode, ReviewItem, Session, SessionLive
from apps.charging.selectors import power_points
from apps.charging.services import REPAIRS
from apps.ocpp.models import Frame
from tests.backoffice.test_charger_page import as_role, text_of
from tests.backoffice.test_today import session_at
from tests.charging.stored import Stored
from tests.factories.billing import finalised, make_seller
from tests.factories.contracts import make_contract

pytestmark = pytest.mark.django_db
START = dt.datetime(2026, 11, 20, 9, 0, tzinfo=dt.UTC)


@pytest.fixture
def session(ours) -> Session:
    """An ended session of 7.5 kWh with three readings, at a place in Berlin's zone."""
    found = session_at(
        ours,
        1,
        started_at=START,
        started_sent="2026-11-20T09:00:00Z",
        start_received_at=START + dt.timedelta(seconds=1),
        meter_start_sent="1000",
        ended_at=START + dt.timedelta(hours=1),
        ended_sent="2026-11-20T10:00:00Z",
        stop_received_at=START + dt.timedelta(hours=1, seconds=1),
        meter_stop_wh=8500,
        meter_stop_sent="8500",
        stop_reason="EVDisconnected",
        state="ended",
        uid=ours.token.uid,
        authorisation_status="Accepted",
        authorisation_reason="active",
    )
    for number in range(3):
        at = START + dt.timedelta(minutes=20 * number + 5)
        Reading.objects.create(
            at=at,
            station_id=ours.station.pk,
            connector_number=1,
            digest=number,
            operator_id=ours.operator.pk,
            session_id=found.pk,
            received_at=at,
            generation=1,
            sequence=number,
            context="Sample.Periodic",
            register_wh=1000 + 2000 * number,
            power_w=11_040,
            notes="no_unit",
        )
    return found


def doubt(tenant, session, code, **values) -> ReviewItem:
    defaults = {"key": f"{code}:1", "opened_at": timezone.now(), "evidence": {"before_wh": 5000, "after_wh": 4000}}
    return ReviewItem.objects.create(
        operator=tenant.operator, station=tenant.station, session=session, code=code, **{**defaults, **values}
    )


def at(session) -> str:
    return f"/sessions/{session.pk}/"


def test_figures_are_shown_beside_what_the_charger_sent(ours, session, desk):
    Authorisation.objects.create(
        operator=ours.operator,
        station=ours.station,
        token=ours.token,
        uid=ours.token.uid,
        at=START - dt.timedelta(seconds=5),
        action="Authorize",
        status="Accepted",
        reason="active",
        generation=1,
        sequence=9,
    )
    text = text_of(desk(ours.owner).get(at(session)))
    assert "Energy 7.50 kWh" in text
    assert "Lasted 1:00 h" in text
    assert "Began 2026-11-20 10:00:00 CET 2026-11-20T09:00:00Z 2026-11-20 10:00:01 CET" in text
    assert "Meter at the end 8.50 kWh 8500" in text
    assert "Authorize: accepted . The card is active. Amber card" in text
    assert "The session's own answer: Accepted. The card is active." in text


def test_why_it_ended_is_told_in_words_with_the_code_in_small_print(ours, session, desk):
    client = desk(ours.owner)
    told = 'The car was unplugged. <span class="small soft"><bdi>EVDisconnected</bdi></span>'
    for path in (at(session), f"/chargers/{ours.station.pk}/"):
        assert told in client.get(path).content.decode()
    assert "It ended. The car was unplugged. · EVDisconnected" in text_of(client.get(at(session)))


def test_readings_say_how_they_were_read_and_lead_to_their_message(ours, session, desk):
    page = desk(ours.owner).get(at(session)).content.decode()
    assert page.count("/messages/?before=2026-11-20T09%3A") == 3
    assert "#frame-1-2" in page
    assert "A value came without a unit; OCPP&#x27;s default was taken." in page
    assert 'class="curve-line"' in page


class TestLong:
    """A session of 14 hours with a reading each 20 seconds, and a message for each of a hundred of them."""

    COUNT = 2500

    @pytest.fixture
    def long(self, ours, session) -> Session:
        Session.objects.unscoped("test").update(ended_at=START + dt.timedelta(hours=14))
        Reading.objects.unscoped("test").delete()
        rows = [
            {"at": START + dt.timedelta(seconds=20 * number), "sequence": number, "power_w": 7_000 + number}
            for number in range(self.COUNT)
        ]
        shared = {"station_id": ours.station.pk, "operator_id": ours.operator.pk, "generation": 1}
        Reading.objects.bulk_create(
            Reading(
                **shared,
                **row,
                connector_number=1,
                digest=row["sequence"],
                session_id=session.pk,
                received_at=row["at"],
                notes="no_unit" if row["sequence"] == 7 else "",
            )
            for row in rows
        )
        Frame.objects.bulk_create(
            Frame(
                **shared,
                received_at=row["at"],
                sequence=row["sequence"],
                direction="in",
                action="MeterValues",
                message_id=str(row["sequence"]),
                request="{}",
            )
            for row in rows[:100]
        )
        return session

    def test_the_curve_goes_to_its_end_and_is_thinned_evenly(self, system, long):
        points = power_points(system, long, most=400)
        assert 300 < len(points) <= 400
        assert points[-1] == (START + dt.timedelta(seconds=20 * (self.COUNT - 1)), 7_000 + self.COUNT - 1)
        assert {later[0] - earlier[0] for earlier, later in pairwise(points)} == {dt.timedelta(seconds=140)}
        assert len(power_points(system, long, most=self.COUNT)) == self.COUNT

    def test_the_table_has_pages_and_says_which_the_newest_first(self, ours, long, desk):
        client = desk(ours.owner)
        newest = client.get(at(long))
        text = text_of(newest)
        assert "2500 readings" in text
        assert "Readings 2001 to 2500 of 2500" in text
        assert "A value came without a unit" in text  # on another page
        assert newest.content.decode().count("#frame-1-") == 500
        first = text_of(client.get(at(long) + "?readings=1"))
        assert "Readings 1 to 500 of 2500" in first
        assert "Earlier readings" not in first
        assert "Later readings" in first

    def test_the_messages_that_are_shown_are_counted_and_all_are_a_step_away(self, ours, long, desk):
        client = desk(ours.owner)
        page = client.get(at(long)).content.decode()
        assert "The newest 50 of 100 messages of its charger while it ran" in page
        [link] = re.findall(r'href="([^"]+messages/\?since=[^"]+)"', page)
        found = client.get(unescape(link)).context["page"]
        assert len(found.frames) == 50
        assert found.older is not None
        assert found.frames[0].sequence == 99


def test_what_a_charger_sent_is_text(ours, session, desk):
    Session.objects.unscoped("test").filter(pk=session.pk).update(
        stop_reason="<img src=x>", uid="</script>{{7*7}}", token=None
    )
    Frame.objects.create(
        received_at=START,
        station_id=ours.station.pk,
        generation=1,
        sequence=1,
        operator_id=ours.operator.pk,
        direction="in",
        action="DataTransfer",
        message_id="1",
        request='{"data":"<script>alert(1)</script>"}',
    )
    page = desk(ours.owner).get(at(session)).content.decode()
    assert "<img src=x>" not in page
    assert "<script>alert(1)" not in page
    assert "{{7*7}}" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_a_session_is_repaired_from_its_page(ours, session, desk):
    item = doubt(ours, session, ReviewCode.METER_BACKWARDS)
    client = desk(ours.owner)
    text = text_of(client.get(at(session)))
    assert "held back by review" in text
    assert "Meter before (Wh) 5000" in text
    where = f"/charging/reviewitem/{item.pk}/repair/?how=set_start_meter"
    assert str(CONSEQUENCES["set_start_meter"]) in text_of(client.get(where))
    answer = client.post(where, {"meter_kwh": "2.5", "why": "Photo of the meter"})
    assert answer.status_code == 302
    assert answer["Location"] == at(session)
    session.refresh_from_db()
    assert (session.meter_start_wh, session.meter_start_sent) == (2500, "1000")
    text = text_of(client.get(at(session)))
    assert "nothing holds it back" in text
    assert "Photo of the meter" in text
    assert AuditEntry.objects.unscoped("test").get(action="session.set_start_meter").user == ours.owner


def test_a_repair_without_a_reason_or_with_a_wrong_value_changes_nothing(ours, session, desk):
    item = doubt(ours, session, ReviewCode.METER_BACKWARDS)
    where = f"/charging/reviewitem/{item.pk}/repair/?how=set_start_meter"
    client = desk(ours.owner)
    assert "This field is required." in text_of(client.post(where, {"meter_kwh": "1"}))
    assert "less than nothing" in text_of(client.post(where, {"meter_kwh": "9", "why": "x"}))
    item.refresh_from_db()
    assert item.state == "open"


def test_only_repairs_that_fit_are_offered_and_made(ours, session, desk):
    item = doubt(ours, session, ReviewCode.NO_STOP)
    client = desk(ours.owner)
    answer = client.post(f"/charging/reviewitem/{item.pk}/repair/?how=shift_times", {"why": "x"})
    assert answer["Location"] == f"/charging/reviewitem/{item.pk}/change/"
    item.refresh_from_db()
    assert item.state == "open"


def test_an_end_without_session_is_given_to_one_of_the_same_charger(ours, rival, desk):
    mine, theirs = session_at(ours, 1), session_at(rival, 2)
    item = doubt(ours, None, ReviewCode.ORPHAN_STOP)
    page = desk(ours.owner).get(f"/charging/reviewitem/{item.pk}/repair/?how=attach_orphan_stop").content.decode()
    assert f'value="{mine.pk}"' in page
    assert f'value="{theirs.pk}"' not in page


def test_every_repair_says_what_it_does():
    assert {repair.name for repairs in REPAIRS.values() for repair in repairs} == set(CONSEQUENCES)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.TECHNICIAN, Role.SUPPORT])
def test_who_may_not_repair_sees_no_repair_and_is_refused(ours, session, desk, role):
    item = doubt(ours, session, ReviewCode.UNKNOWN_CARD)
    client = as_role(ours, desk, role)
    assert "/repair/" not in client.get(at(session)).content.decode()
    assert client.post(f"/charging/reviewitem/{item.pk}/repair/?how=void_session", {"why": "x"}).status_code == 403
    bulk = {"action": "accept_selected", "_selected_action": [item.pk], "why": "x"}
    client.post("/charging/reviewitem/", bulk)
    item.refresh_from_db()
    assert item.state == "open"


def test_the_queue_shows_what_is_open_and_blocking_first(ours, session, desk):
    note = doubt(ours, session, ReviewCode.REPLACED, blocking=False)
    held = doubt(ours, None, ReviewCode.ORPHAN_STOP)
    solved = {"state": "resolved", "resolution": "accept_as_is", "resolved_at": timezone.now()}
    done = doubt(ours, None, ReviewCode.FAILED, **solved)
    client = desk(ours.owner)
    page = client.get("/charging/reviewitem/").content.decode()
    links = [f"/charging/reviewitem/{one.pk}/change/" for one in (held, note, done)]
    assert page.index(links[0]) < page.index(links[1])
    assert links[2] not in page
    resolved = client.get("/charging/reviewitem/?show=resolved")
    assert links[2] in resolved.content.decode()
    assert "Accept as it is" in text_of(resolved)


@pytest.mark.filterwarnings("error::DeprecationWarning", "error::PendingDeprecationWarning")
def test_the_queue_offers_its_action_as_the_next_django_wants_it(ours, session, desk):
    doubt(ours, session, ReviewCode.METER_JUMP)
    form = desk(ours.owner).get("/charging/reviewitem/").context["action_form"]
    assert form.fields["action"].choices == [("", "Select action"), ("accept_selected", "Accept as they are")]


def test_many_are_accepted_after_a_preview(ours, session, desk):
    fits = [doubt(ours, session, ReviewCode.METER_JUMP), doubt(ours, session, ReviewCode.BAD_TIME)]
    alone = doubt(ours, session, ReviewCode.NO_STOP)
    client = desk(ours.owner)
    chosen = {"action": "accept_selected", "_selected_action": [one.pk for one in [*fits, alone]]}
    text = text_of(client.post("/charging/reviewitem/", chosen))
    assert "2 items are accepted" in text
    assert "1 item stays open" in text
    assert not ReviewItem.objects.unscoped("test").filter(state="resolved").exists()
    confirmed = {"action": "accept_selected", "_selected_action": [one.pk for one in fits], "why": "Seen on site"}
    assert client.post("/charging/reviewitem/", confirmed).status_code == 302
    resolved = ReviewItem.objects.unscoped("test").filter(state="resolved")
    assert set(resolved.values_list("code", "why")) == {("meter_jump", "Seen on site"), ("bad_time", "Seen on site")}


def test_another_tenants_sessions_and_doubts_are_not_there(ours, rival, desk):
    theirs = session_at(rival, 5)
    item = doubt(rival, theirs, ReviewCode.UNKNOWN_CARD)
    client = desk(ours.owner)
    assert client.get(at(theirs)).status_code == 404
    assert client.get(f"/charging/session/{theirs.pk}/change/").status_code == 404
    assert client.post(f"/charging/reviewitem/{item.pk}/repair/?how=void_session", {"why": "x"}).status_code == 404
    bulk = {"action": "accept_selected", "_selected_action": [item.pk], "why": "x"}
    client.post("/charging/reviewitem/", bulk)
    item.refresh_from_db()
    assert item.state == "open"


def test_the_list_finds_held_sessions(ours, session, desk):
    free = session_at(ours, 2)
    doubt(ours, session, ReviewCode.UNKNOWN_CARD)
    client = desk(ours.owner)
    held = client.get("/charging/session/?settled=no").content.decode()
    assert f"/charging/session/{session.pk}/" in held
    assert f"/charging/session/{free.pk}/" not in held


# --- the curve --------------------------------------------------------------------------------------------------------
def curve(points, **values) -> str:
    given = {"start": START, "end": START + dt.timedelta(hours=1), "limit_w": 22_000, "zone": "Europe/Berlin"}
    return str(power_curve(points, **{**given, **values}))


def minutes(*pairs) -> list[tuple[dt.datetime, int]]:
    return [(START + dt.timedelta(minutes=minute), watts) for minute, watts in pairs]


def test_a_curve_is_an_image_with_words_and_colours_of_its_own():
    svg = ElementTree.fromstring(curve(minutes((0, 0), (30, 11_000), (60, 7000))))
    assert svg.get("role") == "img"
    assert [one.tag for one in svg][:2] == ["title", "desc"]
    assert "11.00 kW" in svg.find("desc").text
    assert svg.find("polyline").get("stroke").startswith("#")
    assert "style" not in curve(minutes((0, 0), (30, 11_000)))
    assert [one.text for one in svg.findall("text")][-4:-1] == ["10:00", "10:30", "11:00"]


def test_where_readings_are_missing_nothing_is_drawn():
    points = minutes(*((minute, 11_000) for minute in (*range(10), *range(40, 50))))
    assert curve(points).count("<polyline") == 2


def test_a_curve_stays_inside_its_frame_whatever_a_charger_says():
    svg = ElementTree.fromstring(curve(minutes((0, -5000), (1, 2_000_000_000), (2, 3)), limit_w=None))
    for line in svg.findall("polyline"):
        for pair in line.get("points").split():
            x, y = map(float, pair.split(","))
            assert 0 <= x <= 960
            assert 0 <= y <= 260


@pytest.mark.parametrize("points", [[], minutes((5, 11_000)), minutes((-5, 1), (90, 1))])
def test_without_two_readings_there_is_no_curve(points):
    assert curve(points) == ""


def test_a_long_session_is_thinned():
    points = [(START + dt.timedelta(seconds=3 * n), 11_000) for n in range(1200)]
    assert len(curve(points)) < 20_000


def test_live_figures_of_a_running_session_are_shown(ours, desk):
    running = session_at(ours, 1)
    SessionLive.objects.unscoped("test").update(reading_at=timezone.now(), soc_percent=63)
    text = text_of(desk(ours.owner).get(at(running)))
    assert "Power now 11.00 kW battery at 63 %" in text
    assert "Stop this session" in text


def test_from_an_invoice_s_line_to_the_message_it_comes_from_are_three_clicks(ours, desk):
    contract = make_contract(ours)
    make_seller(ours)
    charger = Stored(ours)
    transaction = charger.start(card=ours.token.uid)
    charger.wait(minutes=10)
    charger.measure(3000, transaction=transaction)
    charger.wait(minutes=10)
    charger.stop(transaction)
    services.find_unsettled(now=timezone.now(), patience=dt.timedelta(0))
    services.settle_due(now=timezone.now())
    [invoice] = finalised(ours, charger.now.date().replace(day=1))
    assert invoice.account == contract.account
    page = desk(ours.owner).get(f"/billing/invoice/{invoice.pk}/change/").content.decode()
    cdr = re.search(r'href="(/charging/cdr/\d+/change/)"', page)
    answer = desk(ours.owner).get(cdr[1])
    session = charger.session(transaction)
    assert answer.url.startswith(f"/sessions/{session.pk}/#cdr-")
    page = desk(ours.owner).get(answer.url.partition("#")[0]).content.decode()
    message = re.search(rf'href="(/chargers/{ours.station.pk}/messages/[^"#]+)#(frame-[\d-]+)"', page)
    assert f'id="{message[2]}"' in desk(ours.owner).get(unescape(message[1])).content.decode()
