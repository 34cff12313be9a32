"""A charger's pages: state, commands with their progress, messages, configuration, history, and how it connects."""

from __future__ import annotations

import datetime as dt
import html
import re

import pytest
from django.utils import timezone

from apps.accounts.models import AuditEntry
from apps.accounts.permissions import Role
from apps.backoffice.commands import OFFERS, progress_of
from apps.core.actor import Actor
from apps.installations.commands import RULES
from apps.installations.models import (
    ChargingStation,
    Command,
    ConfigurationValue,
    Connector,
    StationState,
    StatusInterval,
)
from apps.ocpp import keys
from apps.ocpp.models import Frame, HandshakeRefusal, StationKey
from tests.backoffice.test_today import offline, online, session_at
from tests.factories.accounts import MembershipFactory, UserFactory
from tests.factories.charging import make_session
from tests.factories.installations import LocationFactory, StationFactory

pytestmark = pytest.mark.django_db
NOW = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)


def text_of(response) -> str:
    body = re.sub(r"<(script|style|svg).*?</\1>", " ", response.content.decode(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body)))


def as_role(tenant, desk, role):
    user = UserFactory()
    MembershipFactory(operator=tenant.operator, user=user, role=role)
    return desk(user)


def page(tenant, tail: str = "") -> str:
    return f"/chargers/{tenant.station.pk}/{tail}"


def frame(tenant, at, action="Heartbeat", *, sequence=1, **values):
    defaults = {"direction": "in", "message_id": "1", "request": "{}", "response": "{}", "latency_ms": 7}
    return Frame.objects.create(
        received_at=at,
        station_id=tenant.station.pk,
        generation=1,
        sequence=sequence,
        operator_id=tenant.operator.pk,
        action=action,
        **{**defaults, **values},
    )


def test_online_alone_is_not_enough(ours, desk):
    online(ours.station, clock_offset_s=421.0)
    start = timezone.now() - dt.timedelta(hours=5)
    session_at(ours, 1, started_at=start, ended_at=start, state="ended", meter_stop_wh=9000)
    session_at(ours, 2, state="ended", ended_at=timezone.now(), meter_stop_wh=1050)
    text = text_of(desk(ours.owner).get(page(ours)))
    assert "online" in text
    assert "Last good session 5 hours ago" in text
    assert "Failed starts, 30 days 1 of 2 sessions" in text
    assert "421.0 s Sessions go to review until it is set right." in text


def test_an_offline_charger_says_since_when_and_that_its_statuses_are_old(ours, desk):
    offline(ours.station, timezone.now() - dt.timedelta(hours=3))
    text = text_of(desk(ours.owner).get(page(ours)))
    assert "offline 3 hours" in text
    assert "before it went offline" in text


def test_every_command_has_its_button_its_words_and_its_form(ours, desk):
    assert set(OFFERS) == set(RULES)
    client = desk(ours.owner)
    shown = client.get(page(ours)).content.decode()
    for action, offer in OFFERS.items():
        assert page(ours, f"commands/{action}/") in shown
        form = text_of(client.get(page(ours, f"commands/{action}/")))
        assert str(offer.consequence) in form


@pytest.mark.parametrize(
    ("action", "values", "payload"),
    [
        ("RemoteStartTransaction", {"connector": "1", "card": " 04AB "}, {"idTag": "04AB", "connectorId": 1}),
        ("RemoteStopTransaction", {"session": "77"}, {"transactionId": 77}),
        ("Reset", {"type": "Soft"}, {"type": "Soft"}),
        ("UnlockConnector", {"connector": "1"}, {"connectorId": 1}),
        ("ChangeAvailability", {"connector": "0", "type": "Inoperative"}, {"connectorId": 0, "type": "Inoperative"}),
        ("TriggerMessage", {"message": "Heartbeat", "connector": "0"}, {"requestedMessage": "Heartbeat"}),
        ("GetConfiguration", {"keys": "A, B"}, {"key": ["A", "B"]}),
        ("ChangeConfiguration", {"key": "A", "value": "1"}, {"key": "A", "value": "1"}),
        ("ClearCache", {}, {}),
        ("DataTransfer", {"vendor": "x", "text": "y"}, {"vendorId": "x", "data": "y"}),
    ],
)
def test_a_command_is_asked_with_a_reason_and_its_progress_is_shown(ours, desk, action, values, payload):
    session_at(ours, 77)
    client = desk(ours.owner)
    answer = client.post(page(ours, f"commands/{action}/"), {**values, "why": "Driver on the phone"})
    assert answer.status_code == 302, text_of(answer)
    command = Command.objects.unscoped("test").get()
    assert (command.action, command.payload, command.why) == (action, payload, "Driver on the phone")
    text = text_of(client.get(answer["Location"].partition("#")[0]))
    assert f"{OFFERS[action].title} {action} · Driver on the phone" in text
    assert f"{ours.owner.email}" in text


@pytest.mark.parametrize("action", ["Reset", "UnlockConnector", "RemoteStopTransaction", "RemoteStartTransaction"])
def test_what_can_interrupt_a_driver_needs_a_reason(ours, desk, action):
    session_at(ours, 77)
    values = {"type": "Hard", "connector": "1", "session": "77", "card": "04AB"}
    answer = desk(ours.owner).post(page(ours, f"commands/{action}/"), values)
    assert answer.status_code == 200
    assert "This field is required." in text_of(answer)
    assert not Command.objects.unscoped("test").exists()


def test_what_the_service_refuses_stands_in_the_form(ours, desk):
    answer = desk(ours.owner).post(
        page(ours, "commands/ChangeConfiguration/"), {"key": "AuthorizationKey", "value": "x"}
    )
    assert "A secret is not sent as a command" in text_of(answer)


def test_a_session_of_a_neighbour_cannot_be_stopped_here(ours, rival, desk):
    session_at(ours, 77)
    make_session(ours, station=StationFactory(operator=ours.operator, location=ours.location), transaction_id=78)
    session_at(rival, 79)
    client = desk(ours.owner)
    for foreign in ("78", "79", "4711"):
        answer = client.post(page(ours, "commands/RemoteStopTransaction/"), {"session": foreign, "why": "x"})
        assert answer.status_code == 200
        assert f"{foreign} is not one of the available choices." in text_of(answer)
    assert not Command.objects.unscoped("test").exists()


def test_a_viewer_sees_no_button_and_is_refused(ours, desk):
    client = as_role(ours, desk, Role.VIEWER)
    shown = client.get(page(ours)).content.decode()
    assert "commands/" not in shown
    assert client.get(page(ours, "commands/Reset/")).status_code == 403
    assert client.post(page(ours, "commands/Reset/"), {"type": "Soft", "why": "x"}).status_code == 403
    assert client.post(page(ours, "key/"), {"overlap_h": "0"}).status_code == 403
    assert client.post(page(ours, "trace/"), {"on": "1"}).status_code == 403
    assert client.get("/chargers/add/").status_code == 403
    assert not StationKey.objects.unscoped("test").exists()


def test_nothing_of_another_tenants_charger_is_there(ours, rival, desk):
    client = desk(ours.owner)
    for tail in ("", "messages/", "configuration/", "history/", "connect/", "key/", "commands/Reset/"):
        assert client.get(page(rival, tail)).status_code == 404
        assert client.post(page(rival, tail), {"type": "Soft", "why": "x", "overlap_h": "0"}).status_code == 404
    assert not Command.objects.unscoped("test").exists()


@pytest.mark.parametrize(
    ("values", "words", "states"),
    [
        ({"state": "queued", "waits": True}, ["asked", "to be sent", "answer", "effect"], "done waiting later later"),
        ({"state": "sent", "sent_at": NOW}, ["asked", "sent", "answer", "effect"], "done done waiting later"),
        (
            {"state": "accepted", "sent_at": NOW, "answered_at": NOW, "answered_by": "station"},
            ["asked", "sent", "accepted by the charger", "effect"],
            "done done done waiting",
        ),
        (
            {"state": "rejected", "sent_at": NOW, "answered_at": NOW, "answered_by": "station", "detail": "Rejected"},
            ["asked", "sent", "refused by the charger", "effect"],
            "done done failed later",
        ),
        (
            {"state": "done", "sent_at": NOW, "answered_at": NOW, "answered_by": "station", "finished_at": NOW},
            ["asked", "sent", "accepted by the charger", "effect seen"],
            "done done done done",
        ),
        (
            {"state": "timed_out", "sent_at": NOW, "answered_at": NOW, "answered_by": "station"},
            ["asked", "sent", "accepted by the charger", "no effect seen in time"],
            "done done done failed",
        ),
        (
            {"state": "not_delivered", "answered_by": "system", "detail": "the charger was not connected"},
            ["asked", "not delivered", "answer", "effect"],
            "done failed later later",
        ),
        (
            {"state": "unknown", "sent_at": NOW, "answered_by": "system"},
            ["asked", "sent", "outcome unknown", "effect"],
            "done done failed later",
        ),
        (
            {"state": "done", "sent_at": NOW, "answered_by": "system", "finished_at": NOW},
            ["asked", "sent", "no answer", "effect seen"],
            "done done failed done",
        ),
    ],
)
def test_progress_says_how_far_a_command_came(values, words, states):
    steps = progress_of(Command(action="Reset", actor="a@example.org", created_at=NOW, **values)).steps
    assert [step.word for step in steps] == words
    assert [step.state for step in steps] == states.split()


def test_messages_are_filtered_by_action_and_local_time_and_paged(ours, desk):
    at = dt.datetime.now(dt.UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    for minute in range(60):
        frame(ours, at + dt.timedelta(minutes=minute), "MeterValues", request=f'{{"minute":{minute}}}')
    frame(ours, at, "Authorize", sequence=2, request='{"idTag":"<b>x</b>"}')
    client = desk(ours.owner)
    shown = client.get(page(ours, "messages/")).content.decode()
    assert shown.count("<tr id=") == 50
    older = re.search(r'href="(\?[^"]*before=[^"]*)"', shown).group(1).replace("&amp;", "&")
    assert client.get(page(ours, "messages/") + older).content.decode().count("<tr id=") == 11
    some = client.get(page(ours, "messages/?action=Authorize")).content.decode()
    assert some.count("<tr id=") == 1
    assert "&lt;b&gt;x&lt;/b&gt;" in some
    assert "7 ms" in some
    # Noon in UTC is 13:00 in Berlin in winter, 14:00 in summer.
    local = at.astimezone(dt.timezone(dt.timedelta(hours=1)))
    between = f"?since={local:%Y-%m-%d} 13:10&until={local:%Y-%m-%d} 13:19"
    assert client.get(page(ours, "messages/") + between).content.decode().count("<tr id=") == 10


def test_heartbeats_are_kept_for_an_hour_on_request(ours, desk):
    client = desk(ours.owner)
    client.post(page(ours, "trace/"), {"on": "1"})
    ours.station.refresh_from_db()
    assert dt.timedelta(minutes=59) < ours.station.traced_until - timezone.now() <= dt.timedelta(hours=1)
    client.post(page(ours, "trace/"), {"off": "1"})
    ours.station.refresh_from_db()
    assert ours.station.traced_until is None
    assert AuditEntry.objects.unscoped("test").filter(action="station.traced").count() == 2


def test_configuration_shows_value_and_what_is_wanted(ours, desk):
    ConfigurationValue.objects.create(
        operator=ours.operator,
        station=ours.station,
        key="MeterValueSampleInterval",
        value="0",
        wanted="60",
        read_at=NOW,
    )
    text = text_of(desk(ours.owner).get(page(ours, "configuration/")))
    assert "MeterValueSampleInterval 0 60" in text


def test_a_new_charger_gets_url_identity_and_key_once(ours, desk, settings):
    client = desk(ours.owner)
    answer = client.post(
        "/chargers/add/",
        {
            "location": ours.location.pk,
            "identity": "CP-77",
            "name": "Gate",
            "model": "",
            "connectors": "2",
            "standard": "IEC_62196_T2_COMBO",
            "power_type": "DC",
            "max_power_kw": "150",
        },
    )
    station = ChargingStation.objects.unscoped("test").get(identity="CP-77")
    text = text_of(answer)
    secret = re.search(r"\b[0-9a-f]{40}\b", text).group()
    kept = StationKey.objects.unscoped("test").get(station=station)
    assert keys.matches(secret.encode(), keys.Sealed(bytes(kept.salt), bytes(kept.digest), kept.pepper_version))
    assert re.search(rf"ws://{settings.CHARGER_HOST}(:\d+)?/ocpp/[a-z0-9]{{12}}/CP-77 ", text)
    assert "no-store" in answer["Cache-Control"]
    assert list(
        Connector.objects.unscoped("test")
        .filter(station=station)
        .order_by("number")
        .values_list("number", "max_power_w")
    ) == [(1, 150_000), (2, 150_000)]
    again = text_of(client.get(f"/chargers/{station.pk}/connect/"))
    assert secret not in again
    assert "Waiting for the charger" in again


def test_the_history_tells_statuses_and_errors_in_words_and_codes_in_small_print(ours, desk):
    StatusInterval.objects.create(
        station_id=ours.station.pk,
        operator_id=ours.operator.pk,
        at=timezone.now(),
        received_at=timezone.now(),
        connector_number=1,
        sequence=1,
        status="SuspendedEVSE",
        error_code="HighTemperature",
        vendor_error_code="E17",
    )
    text = text_of(desk(ours.owner).get(page(ours, "history/")))
    assert "paused by the charger SuspendedEVSE It is too hot inside the charger. HighTemperature E17" in text


@pytest.mark.parametrize("action", RULES)
def test_a_page_asks_why_where_the_command_s_rule_does(ours, desk, action):
    form = desk(ours.owner).get(page(ours, f"commands/{action}/")).context["form"]
    assert form.fields["why"].required is RULES[action].asks_why(a_person=True)


def test_a_new_key_needs_a_reason_that_the_history_shows(ours, desk):
    client = desk(ours.owner)
    refused = client.post(page(ours, "key/"), {"overlap_h": "24"})
    assert "This field is required." in text_of(refused)
    assert not StationKey.objects.unscoped("test").exists()
    issued = client.post(page(ours, "key/"), {"overlap_h": "24", "why": "The technician lost it"})
    assert re.search(r"\b[0-9a-f]{40}\b", text_of(issued))
    history = text_of(client.get(page(ours, "history/")))
    assert re.search(r"station_key\.issued .* The technician lost it", history)


def test_a_taken_identity_is_told_beside_the_field(ours, desk):
    values = {"connectors": "1", "standard": "IEC_62196_T2", "power_type": "AC_3_PHASE", "max_power_kw": "22"}
    answer = desk(ours.owner).post(
        "/chargers/add/", {**values, "location": ours.location.pk, "identity": ours.station.identity.lower()}
    )
    assert "There is a charger of this identity already." in text_of(answer)


def test_a_refused_charger_is_adopted_with_a_fresh_key(ours, desk):
    refusal = HandshakeRefusal.objects.create(
        operator=ours.operator,
        identity="STRAY-1",
        address="10.0.0.9",
        reason="unknown_station",
        first_at=NOW,
        last_at=timezone.now(),
        count=3,
    )
    client = desk(ours.owner)
    shown = text_of(client.get(f"/ocpp/handshakerefusal/{refusal.pk}/change/"))
    assert "This operator has no charger of this identity." in shown
    assert "Adopt it here, or correct the identity in the charger." in shown
    go = client.get(f"/ocpp/handshakerefusal/{refusal.pk}/adopt/")
    assert go["Location"] == f"/chargers/add/?refusal={refusal.public_id}"
    assert "STRAY-1 tried 3 times" in text_of(client.get(go["Location"]))
    answer = client.post(go["Location"], {"location": ours.location.pk, "name": ""})
    assert re.search(r"\b[0-9a-f]{40}\b", text_of(answer))
    assert ChargingStation.objects.unscoped("test").filter(identity="STRAY-1", location=ours.location).exists()
    assert client.get(go["Location"]).status_code == 404


def test_a_foreign_location_or_refusal_is_not_taken(ours, rival, desk):
    theirs = HandshakeRefusal.objects.create(
        operator=rival.operator, identity="Z", address="1", reason="unknown_station", first_at=NOW, last_at=NOW
    )
    client = desk(ours.owner)
    assert client.get(f"/chargers/add/?refusal={theirs.public_id}").status_code == 404
    assert client.get("/chargers/add/?refusal=nonsense").status_code == 404
    values = {"connectors": "1", "standard": "IEC_62196_T2", "power_type": "AC_3_PHASE", "max_power_kw": "22"}
    answer = client.post("/chargers/add/", {**values, "location": rival.location.pk, "identity": "NEW"})
    assert answer.status_code == 200
    assert not ChargingStation.objects.unscoped("test").filter(identity="NEW").exists()


def test_without_a_location_the_page_says_what_to_do_first(ours, desk):
    LocationFactory._meta.model.everything.update(archived_at=NOW)
    assert "Add a location first" in text_of(desk(ours.owner).get("/chargers/add/"))


def test_coming_shows_connected_and_then_the_first_status(ours, desk):
    client = desk(ours.owner)
    assert "Waiting for the charger" in text_of(client.get(page(ours, "connect/")))
    online(ours.station)
    assert "It found us" in text_of(client.get(page(ours, "connect/")))
    StationState.everything.filter(station=ours.station).update(status="Available", status_at=timezone.now())
    assert "To the charger" in text_of(client.get(page(ours, "connect/")))


def test_an_archived_charger_comes_back_with_its_connectors(ours, desk):
    from apps.installations import services

    actor = Actor.system(ours.operator)
    services.archive_station(actor=actor, station=ours.station, now=timezone.now(), why="gone")
    assert not Connector.objects.unscoped("test").filter(archived_at=None).exists()
    client = desk(ours.owner)
    assert "This charger is archived" in text_of(client.get(page(ours)))
    answer = client.post(f"/installations/chargingstation/{ours.station.pk}/restore/", {"why": "back"})
    assert answer.status_code == 302
    assert Connector.objects.unscoped("test").filter(archived_at=None, station=ours.station).count() == 1
