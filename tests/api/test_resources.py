"""The REST API as a customer's system uses it: a key, a host, JSON."""

from __future__ import annotations

import datetime as dt
import json
from base64 import b64encode
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client

from apps.accounts.models import AuditEntry
from apps.accounts.services import create_api_key
from apps.api.views import SessionViewSet
from apps.charging.models import Reading, ReviewItem, Session
from apps.core.actor import Actor
from apps.installations.models import ChargingStation, Command
from apps.ocpp.models import HandshakeRefusal
from tests.factories import charging
from tests.factories.cards import TokenFactory
from tests.factories.charging import SessionFactory
from tests.factories.installations import StationFactory

SCOPES = [
    "installations.view_location",
    "installations.view_chargingstation",
    "installations.add_chargingstation",
    "installations.command_chargingstation",
    "installations.view_command",
    "cards.view_token",
    "cards.add_token",
    "cards.block_token",
    "charging.view_session",
    "charging.view_reading",
    "charging.view_reviewitem",
    "charging.view_cdr",
    "tariffs.view_tariff",
    "contracts.view_contract",
    "billing.view_invoice",
    "ocpp.view_handshakerefusal",
]
NOW = dt.datetime(2026, 11, 20, 8, 0, tzinfo=dt.UTC)
LISTS = [
    *("locations", "stations", "tokens", "sessions", "review-items", "handshakes", "commands"),
    *("cdrs", "tariffs", "contracts", "invoices"),
]


class Api:
    """A client with one key on one host."""

    def __init__(self, secret: str, host: str) -> None:
        self.client = Client(headers={"host": host, "authorization": f"Bearer {secret}"})

    def get(self, path, **query):
        return self.client.get(f"/api/v1/{path}", query)

    def post(self, path, body):
        return self.client.post(f"/api/v1/{path}", json.dumps(body), content_type="application/json")


def key_of(tenant, scopes=SCOPES, **fields) -> str:
    _key, secret = create_api_key(
        actor=Actor.system(tenant.operator), operator=tenant.operator, name="system", scopes=scopes, **fields
    )
    return secret


@pytest.fixture
def api(ours):
    return Api(key_of(ours), settings.ADMIN_HOST)


@pytest.fixture
def session(ours):
    return make_session(ours)


def make_session(tenant, **fields):
    """One that ended, with three readings."""
    ended = {"state": "ended", "started_at": NOW, "ended_at": NOW + dt.timedelta(hours=1), "stop_reason": "Local"}
    ids = {"transaction_id": 4711, "start_key": "k1", "connector": tenant.connector}
    figures = {"meter_stop_wh": 12_345, "live__register_wh": 12_345, "live__energy_wh": 11_345}
    session = charging.make_session(tenant, **ended | ids | figures | fields)
    for minute in range(3):
        Reading.objects.create(
            at=NOW + dt.timedelta(minutes=minute),
            station_id=tenant.station.pk,
            connector_number=1,
            digest=session.pk * 10 + minute,
            operator_id=tenant.operator.pk,
            session_id=session.pk,
            received_at=NOW,
            generation=1,
            sequence=minute,
            register_wh=1000 + minute,
        )
    return session


def test_a_station_is_created_with_url_and_key_shown_once(api, ours):
    made = api.post("stations/", {"identity": "NEW-1", "location": str(ours.location.public_id), "name": "Gate"})
    assert made.status_code == 201
    body = made.json()
    assert body["url"].startswith("ws://")
    assert body["url"].endswith("/NEW-1")
    assert len(bytes.fromhex(body["key"])) == 20
    assert [one["number"] for one in body["connectors"]] == [1]
    again = api.get(f"stations/{body['id']}/").json()
    assert "key" not in again
    assert again["name"] == "Gate"


@pytest.mark.parametrize(("given", "kept"), [({}, "first key"), ({"why": "The gate is new"}, "The gate is new")])
def test_the_history_says_why_a_station_got_its_key(api, ours, given, kept):
    made = api.post("stations/", {"identity": "NEW-1", "location": str(ours.location.public_id), **given})
    assert made.status_code == 201
    assert AuditEntry.objects.unscoped("test").get(action="station_key.issued").why == kept


def test_live_state_names_every_connector_and_the_station_itself(api, ours):
    body = api.get(f"stations/{ours.station.public_id}/live/").json()
    assert [one["number"] for one in body["connectors"]] == [0, 1]
    assert body["online"] is False
    assert body["clock_offset_s"] is None
    assert {"last_seen_at", "connected_at"} <= body.keys()


def test_a_token_is_created_in_its_normal_form_and_blocked_with_a_reason(api, ours):
    made = api.post("tokens/", {"uid": "04:a2:b3:c4", "organisation": str(ours.fleet.public_id)})
    assert made.status_code == 201
    assert made.json()["uid"] == "04A2B3C4"
    assert api.post(f"tokens/{made.json()['id']}/block/", {}).status_code == 400
    blocked = api.post(f"tokens/{made.json()['id']}/block/", {"why": "stolen"})
    assert blocked.json()["state"] == "blocked"


def test_a_session_shows_its_figures_its_doubts_and_its_readings(api, ours, session):
    ReviewItem.objects.create(
        operator=ours.operator, station=ours.station, session=session, code="meter_jump", key="j", opened_at=NOW
    )
    body = api.get(f"sessions/{session.public_id}/").json()
    figures = {"meter_start_wh": 1000, "meter_stop_wh": 12_345, "energy_wh": 11_345, "readings": 3}
    assert body | figures == body
    assert body["review_codes"] == ["meter_jump"]
    assert body["settled"] is False
    readings = api.get(f"sessions/{session.public_id}/readings/").json()
    assert [one["register_wh"] for one in readings["results"]] == [1000, 1001, 1002]


def test_review_items_come_with_and_without_a_session(api, ours, session):
    for code, of in (("orphan_stop", None), ("meter_jump", session)):
        ReviewItem.objects.create(
            operator=ours.operator, station=ours.station, session=of, code=code, key=code, opened_at=NOW
        )
    assert [one["code"] for one in api.get("review-items/", without_session=True).json()["results"]] == ["orphan_stop"]
    assert len(api.get("review-items/").json()["results"]) == 2


def test_the_handshake_log_says_why_and_what_to_do(api, ours):
    HandshakeRefusal.objects.create(
        operator=ours.operator, identity="CP9", address="10.0.0.9", reason="wrong_password", first_at=NOW, last_at=NOW
    )
    entry = api.get("handshakes/").json()["results"][0]
    assert entry["identity"] == "CP9"
    assert entry["why"] == "The password is wrong."
    assert entry["what_to_do"]


def test_a_command_is_accepted_and_can_be_followed(api, ours):
    asked = api.post("commands/", {"station": str(ours.station.public_id), "action": "ClearCache"})
    assert asked.status_code == 202
    followed = api.get(f"commands/{asked.json()['id']}/").json()
    assert followed["state"] == "queued"
    assert {"answered_by", "detail"} <= followed.keys()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "Reset", "payload": {"type": "Hard"}}, "why"),
        ({"action": "Reset", "payload": {"type": "Sideways"}, "why": "test"}, "payload"),
        ({"action": "Explode"}, "action"),
    ],
)
def test_a_command_that_cannot_be_is_refused_by_field(api, ours, body, field):
    answer = api.post("commands/", {"station": str(ours.station.public_id), **body})
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert field in answer.json()["errors"]
    assert not Command.objects.unscoped("test").exists()


def test_a_stop_of_a_session_elsewhere_is_refused_with_the_reason(api, ours, rival):
    neighbour = StationFactory(operator=ours.operator, location=ours.location)
    for number, tenant, station in ((5, ours, ours.station), (6, ours, neighbour), (7, rival, rival.station)):
        SessionFactory(
            operator=tenant.operator, station=station, location=station.location, transaction_id=number, uid="04AB"
        )
    stop = {"station": str(ours.station.public_id), "action": "RemoteStopTransaction", "why": "test"}
    for number in (6, 7, 8):
        answer = api.post("commands/", {**stop, "payload": {"transactionId": number}})
        assert answer.status_code == 400
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["errors"] == {"payload": ["No session of this charger has this transaction id."]}
    assert not Command.objects.unscoped("test").exists()
    assert api.post("commands/", {**stop, "payload": {"transactionId": 5}}).status_code == 202


@pytest.mark.parametrize("name", LISTS)
def test_a_list_without_key_is_401_without_scope_403(ours, name):
    assert Client(headers={"host": settings.ADMIN_HOST}).get(f"/api/v1/{name}/").status_code == 401
    assert Api("vd_nonsense_x", settings.ADMIN_HOST).get(f"{name}/").status_code == 401
    assert Api(key_of(ours, ["accounts.view_organisation"]), settings.ADMIN_HOST).get(f"{name}/").status_code == 403


def test_an_action_without_a_scope_is_refused(api, session, monkeypatch):
    path = f"sessions/{session.public_id}/readings/"
    assert api.get(path).status_code == 200
    monkeypatch.delitem(SessionViewSet.scopes, "readings")
    assert api.get(path).status_code == 403
    assert api.client.options(f"/api/v1/{path}").status_code == 200
    assert api.client.put(f"/api/v1/{path}").status_code == 405


def test_foreign_ids_do_not_exist(api, rival):
    session = make_session(rival)
    for path in (
        f"stations/{rival.station.public_id}/",
        f"stations/{rival.station.public_id}/live/",
        f"tokens/{rival.token.public_id}/",
        f"sessions/{session.public_id}/",
        f"sessions/{session.public_id}/readings/",
    ):
        assert api.get(path).status_code == 404, path
    for path, body in (
        ("stations/", {"identity": "X", "location": str(rival.location.public_id)}),
        ("commands/", {"station": str(rival.station.public_id), "action": "ClearCache"}),
        ("tokens/", {"uid": "0411", "organisation": str(rival.fleet.public_id)}),
    ):
        assert api.post(path, body).status_code == 400, path
    assert api.post(f"tokens/{rival.token.public_id}/block/", {"why": "x"}).status_code == 404


def test_the_key_works_on_own_brands_and_is_404_on_another_operators(ours, rival):
    secret = key_of(ours)
    assert Api(secret, ours.brand.host).get("stations/").status_code == 200
    answer = Api(secret, rival.brand.host).get("stations/")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_key_of_an_organisation_sees_another_card_at_its_place_without_uid(ours):
    other = TokenFactory(operator=ours.operator, label="a stranger's")
    session = make_session(ours)
    Session.objects.unscoped("test").filter(pk=session.pk).update(token=other, organisation=None, uid=other.uid)
    fleet = Api(key_of(ours, organisation=ours.fleet), settings.ADMIN_HOST)
    body = fleet.get(f"sessions/{session.public_id}/").json()
    assert body["uid"] == ""
    assert body["token"] is None
    assert body["energy_wh"] == 11_345
    assert other.uid not in fleet.get("sessions/").content.decode()


@pytest.mark.parametrize(
    ("changed", "soc_percent", "connector_number"),
    [({}, 64, 1), ({"organisation": None}, None, 1), ({"host": None}, 64, None)],
)
def test_readings_keep_to_themselves_what_their_session_does(ours, changed, soc_percent, connector_number):
    session = make_session(ours)
    Reading.objects.unscoped("test").update(soc_percent=64)
    Session.objects.unscoped("test").filter(pk=session.pk).update(**changed)
    fleet = Api(key_of(ours, organisation=ours.fleet), settings.ADMIN_HOST)
    told = fleet.get(f"sessions/{session.public_id}/readings/").json()["results"]
    assert [(one["soc_percent"], one["connector_number"]) for one in told] == [(soc_percent, connector_number)] * 3


def test_pages_follow_a_cursor_and_cost_no_query_a_row(api, ours, django_assert_max_num_queries):
    for number in range(12):
        make_session(ours, transaction_id=100 + number, start_key=f"s{number}")
    with django_assert_max_num_queries(8):
        page = api.get("sessions/", page_size=5).json()
    seen = [one["id"] for one in page["results"]]
    while page["next"]:
        page = api.client.get(page["next"]).json()
        seen += [one["id"] for one in page["results"]]
    assert len(seen) == len(set(seen)) == 12


def test_filters_narrow_and_bad_ones_are_named(api, ours, session):
    assert len(api.get("sessions/", state="ended").json()["results"]) == 1
    assert api.get("sessions/", state="active").json()["results"] == []
    refused = api.get("sessions/", station="not-an-id")
    assert refused.status_code == 400
    assert "station" in refused.json()["errors"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        *(("sessions/", name) for name in ("started_from", "started_before")),
        *(("cdrs/", name) for name in ("ended_from", "ended_before")),
    ],
)
@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00"])
def test_an_instant_outside_of_time_is_a_bad_request(api, path, name, at):
    refused = api.get(path, **{name: at})
    assert refused.status_code == 400
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert name in refused.json()["errors"]


@pytest.mark.parametrize(
    "at", ["9999-12-31", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00Z", "1899-12-31T00:00:00Z"]
)
def test_a_card_does_not_expire_in_a_year_that_nobody_means(api, at):
    refused = api.post("tokens/", {"uid": "04AABB", "expires_at": at})
    assert refused.status_code == 400
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert "expires_at" in refused.json()["errors"]


@pytest.mark.parametrize("at", ["2026-11-20T09:00:00+01:00", "2026-11-20T08:00:00Z", "2026-11-20"])
def test_an_instant_is_taken_with_any_offset(api, session, at):
    assert len(api.get("sessions/", started_from=at).json()["results"]) == 1
    assert api.get("sessions/", started_before=at).json()["results"] == []


@pytest.mark.parametrize("position", ["junk", "0001-01-01 00:00:00+05:00"])
@pytest.mark.parametrize("path", ["sessions/", "sessions/{}/readings/", "tokens/"])
def test_a_cursor_that_we_did_not_make_breaks_nothing(api, session, path, position):
    cursor = b64encode(f"p={quote(position)}".encode()).decode()
    answer = api.get(path.format(session.public_id), cursor=cursor)
    # The year 0 is a date to PostgreSQL.
    assert answer.status_code == 404 or (connection.vendor, position[:4]) == ("postgresql", "0001")
    assert answer.headers["Content-Type"] in ("application/problem+json", "application/json")


def test_errors_are_problems(api):
    for answer in (api.get("nowhere/"), api.get("stations/not-an-id/"), api.client.delete("/api/v1/stations/")):
        assert answer.status_code in (404, 405)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code
    broken = api.client.post("/api/v1/stations/", "{", content_type="application/json")
    assert broken.status_code == 400
    assert "JSON" in broken.json()["detail"]


def test_the_openapi_document_describes_every_resource(client):
    document = client.get("/api/v1/schema/?format=json", headers={"host": settings.ADMIN_HOST})
    assert document.status_code == 200
    paths = document.json()["paths"]
    assert all(f"/api/v1/{name}/" in paths for name in LISTS)
    assert document.json()["components"]["securitySchemes"]["ApiKey"]["scheme"] == "bearer"


def test_a_station_created_twice_is_refused_with_its_field(api, ours):
    body = {"identity": ours.station.identity.lower(), "location": str(ours.location.public_id)}
    answer = api.post("stations/", body)
    assert answer.status_code == 400
    assert ChargingStation.objects.unscoped("test").filter(identity__iexact=ours.station.identity).count() == 1
