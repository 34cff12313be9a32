"""The same promises with real batches and the database: what was stored is found again by its keys."""

from __future__ import annotations

import datetime as dt

import pytest

from apps.cards.services import block_token
from apps.charging.models import Authorisation, Reading, ReviewItem, Session
from apps.installations.models import Connector, Location, StationState
from tests.charging.stored import Stored
from tests.charging.world import START, iso
from tests.factories.installations import ConnectorFactory, StationFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def charger(ours) -> Stored:
    """Station 2 stands beside the first one."""
    charger = Stored(ours)
    charger.stations[2] = StationFactory(operator=ours.operator, location=ours.location)
    ConnectorFactory(operator=ours.operator, station=charger.stations[2])
    return charger


def rows(charger: Stored, model: type) -> list:
    return list(model.objects.visible_to(charger.actor))


def test_a_session_is_stored_with_its_owners_figures_and_what_was_sent(charger, ours):
    transaction = charger.start(card=ours.token.uid, meter="1000.0")
    charger.wait(minutes=10)
    charger.measure(2500, transaction=transaction)
    ended = charger.wait(minutes=10)
    charger.stop(transaction, meter=4000, reason="EVDisconnected", idTag=ours.token.uid)
    session = charger.session(transaction)
    assert (session.station, session.connector, session.location) == (ours.station, ours.connector, ours.location)
    assert (session.token, session.organisation, session.holder) == (ours.token, ours.fleet, ours.driver)
    assert (session.host, session.seller) == (ours.location.host, ours.location.seller)
    assert (session.meter_start_wh, session.meter_start_sent, session.energy_wh) == (1000, "1000.0", 3000)
    assert (session.started_at, session.started_sent, session.ended_at) == (START, iso(START), ended)
    assert (session.stop_reason, session.stop_uid, session.state) == ("EVDisconnected", ours.token.uid, "ended")
    assert (session.live.register_wh, session.live.energy_wh, session.live.power_w) == (4000, 3000, 0)


def test_a_conversation_that_is_repeated_whole_leaves_the_same_rows(charger, ours):
    def talk() -> None:
        charger.now = START
        transaction = charger.start(card=ours.token.uid)
        for minute in (10, 20, 30):
            charger.measure(1000 + 100 * minute, transaction=transaction, at=START + dt.timedelta(minutes=minute))
        charger.now = START + dt.timedelta(hours=1)
        charger.stop(transaction)
        charger.stop(4711, meter=99)

    counts = []
    for _ in range(2):
        talk()
        counts.append([len(rows(charger, model)) for model in (Session, Reading, ReviewItem, Authorisation)])
    assert counts == [[1, 3, 1, 1], [1, 3, 1, 1]]


def test_every_answer_to_a_card_is_stored_with_its_reason_and_a_repeated_start_adds_none(charger, ours):
    charger.send("Authorize", idTag="FFFFFFFF")
    charger.start(card=ours.token.uid)
    charger.wait(minutes=1)
    charger.start(card=ours.token.uid, at=START)
    answers = [(one.uid, one.action, one.status, one.reason, one.token) for one in rows(charger, Authorisation)]
    assert sorted(answers, key=str) == sorted(
        [
            ("FFFFFFFF", "authorise", "Invalid", "unknown", None),
            (ours.token.uid, "started", "Accepted", "active", ours.token),
        ],
        key=str,
    )


def test_a_card_that_charges_elsewhere_is_concurrent(charger, ours):
    charger.start(card=ours.token.uid, station=1)
    charger.wait(seconds=30)
    answer = charger.send("Authorize", station=2, idTag=ours.token.uid)
    assert answer["idTagInfo"]["status"] == "ConcurrentTx"
    second = charger.start(card=ours.token.uid, station=2)
    assert charger.session(second).authorisation_reason == "concurrent"
    assert charger.codes() == ["refused_card"]


def test_a_card_is_free_again_when_its_session_ends_or_waits(charger, ours):
    transaction = charger.start(card=ours.token.uid, station=1)
    charger.wait(minutes=1)
    charger.boot(station=1)
    assert charger.send("Authorize", station=2, idTag=ours.token.uid)["idTagInfo"]["status"] == "Accepted"
    assert charger.session(transaction).state == "awaiting"


@pytest.mark.parametrize(
    ("policy", "status", "free", "codes"),
    [
        ("refuse", "Invalid", False, ["unknown_card"]),
        ("accept_free", "Accepted", True, []),
        ("accept_review", "Accepted", False, ["unknown_card"]),
    ],
)
def test_a_location_decides_what_happens_with_unknown_cards(charger, ours, policy, status, free, codes):
    Location.objects.unscoped("test").filter(pk=ours.location.pk).update(unknown_cards=policy)
    assert charger.send("Authorize", idTag="FFFFFFFF")["idTagInfo"] == {"status": status}
    transaction = charger.start(card="FFFFFFFF")
    session = charger.session(transaction)
    assert (session.authorisation_status, session.free_by_policy, session.token) == (status, free, None)
    assert charger.codes() == codes


def test_a_connector_that_a_charger_names_and_the_inventory_lacks_is_made_and_flagged(charger):
    transaction = charger.start(connector=3)
    found = charger.session(transaction).connector
    assert (found.number, found.standard, found.found_at) == (3, Connector.Standard.UNKNOWN, START)


def test_a_connector_number_that_no_plug_has_makes_no_connector(charger):
    transaction = charger.start(connector=30_000)
    charger.measure(1500, connector=30_000, transaction=transaction)
    session = charger.session(transaction)
    assert (session.connector, session.connector_number) == (None, 30_000)
    assert len(rows(charger, Connector)) == 2


def test_keys_a_clockless_charger_s_starts_are_told_apart_in_the_database(charger, ours):
    clockless, transactions = "1970-01-01T00:00:00Z", []
    for _ in range(3):
        transactions.append(charger.start(card=ours.token.uid, at=clockless, meter=0))
        charger.wait(minutes=1)
        assert charger.start(card=ours.token.uid, at=clockless, meter=0) == transactions[-1]
        charger.stop(transactions[-1], at=clockless, meter=0)
        charger.wait(minutes=1)
    assert len(set(transactions)) == 3
    charger.boot()
    charger.wait(minutes=1)
    fourth = charger.start(card=ours.token.uid, at=clockless, meter=0)
    charger.wait(minutes=1)
    charger.boot()
    charger.wait(minutes=1)
    assert charger.start(card=ours.token.uid, at=clockless, meter=0) != fourth
    assert "maybe_same_start" in charger.codes()


def test_keys_a_stop_without_a_usable_id_that_is_repeated_is_known_again(charger, ours):
    transaction = charger.start(card=ours.token.uid)
    ended = charger.wait(hours=1)
    charger.stop(-1, at=ended)
    charger.wait(minutes=1)
    charger.stop(-1, at=ended)
    assert charger.session(transaction).ended_at == ended
    assert charger.codes() == []


def test_keys_a_reading_with_a_time_that_cannot_be_is_stored_once(charger, ours):
    transaction = charger.start(card=ours.token.uid)
    for _ in range(2):
        charger.wait(minutes=1)
        charger.measure(1100, transaction=transaction, at="nonsense")
    charger.measure(1100, transaction=transaction, at="other nonsense")
    found = rows(charger, Reading)
    assert [(row.register_wh, row.notes) for row in found] == [(1100, "bad_time"), (1100, "bad_time")]
    assert {row.session_id for row in found} == {charger.session(transaction).pk}


def test_keys_different_content_of_one_second_is_kept_and_the_same_content_once(charger, ours):
    transaction = charger.start(card=ours.token.uid)
    at = charger.wait(minutes=1)
    for register in (1100, 1101, 1100):
        charger.measure(register, transaction=transaction, at=at)
    assert sorted(charger.read_by(transaction)) == [1100, 1101]
    assert charger.session(transaction).live.register_wh == 1101


def test_registers_far_apart_with_powers_between_them_are_no_jump(charger, ours):
    transaction = charger.start(card=ours.token.uid, meter=0)
    for _ in range(6):
        charger.wait(minutes=10)
        sample = {"value": "22", "unit": "kW", "measurand": "Power.Active.Import"}
        element = {"timestamp": iso(charger.now), "sampledValue": [sample]}
        charger.send("MeterValues", connectorId=1, transactionId=transaction, meterValue=[element])
    charger.wait(seconds=1)
    charger.measure(22_000, transaction=transaction)
    assert charger.codes() == []
    assert charger.session(transaction).live.power_w == 22_000


def test_the_clock_s_offset_is_measured_on_the_connection_and_reviewed(charger, ours):
    ahead = dt.timedelta(minutes=20)
    for _ in range(2):
        charger.wait(seconds=6)
        charger.send(
            "StatusNotification",
            connectorId=1,
            errorCode="NoError",
            status="Available",
            timestamp=iso(charger.now + ahead),
        )
    transaction = charger.start(card=ours.token.uid, at=charger.now + ahead)
    assert charger.session(transaction).start_offset_s == 1200.0
    assert charger.codes() == ["clock_offset"]
    assert StationState.objects.unscoped("test").get(station=ours.station).clock_offset_s == 1200.0


def test_readings_with_a_foreign_transaction_id_belong_to_the_connector_s_running_session(charger, ours, rival):
    foreign = Stored(rival).start(card=rival.token.uid)
    other = charger.start(card="FFFFFFFF", station=2)
    own = charger.start(card=ours.token.uid)
    charger.wait(minutes=10)
    for number, transaction in enumerate((foreign, other, 2**31 - 1, 0, None)):
        charger.measure(1500 + number, transaction=transaction)
    assert charger.read_by(own) == [1500, 1501, 1502, 1503, 1504]
    assert charger.read_by(other) == []


def test_the_card_that_ends_a_session_is_answered_as_it_stands(charger, ours, system):
    transaction = charger.start(card=ours.token.uid)
    block_token(actor=system, token=ours.token, why="employee left")
    charger.wait(minutes=10)
    answer = charger.stop(transaction, idTag=ours.token.uid)
    assert answer == {"idTagInfo": {"status": "Blocked"}}
    assert charger.session(transaction).state == "ended"


def test_hostile_text_is_stored_as_text(charger):
    tag = "</script>{{7*7}}=cmd()\u202e"
    transaction = charger.start(card=tag)
    charger.wait(minutes=1)
    charger.stop(transaction, meter=1100, reason="=HYPERLINK()", idTag=tag)
    session = charger.session(transaction)
    assert (session.uid, session.stop_reason) == (tag.upper(), "=HYPERLINK()")
