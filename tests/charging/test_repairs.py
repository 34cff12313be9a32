"""Repairs of doubtful sessions: what each changes, what it leaves, and who did it."""

from __future__ import annotations

import datetime as dt

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.accounts.models import AuditEntry
from apps.charging import services
from apps.charging.models import ReviewCode, ReviewItem, Session
from apps.charging.services import CannotRepair, repair_item
from apps.core.actor import Actor, Kind
from apps.installations.models import StationState
from tests.charging.stored import Stored
from tests.charging.world import START, iso
from tests.factories.tasks import run_tasks

HOUR = dt.timedelta(hours=1)
pytestmark = pytest.mark.django_db


@pytest.fixture
def charger(ours) -> Stored:
    return Stored(ours)


def start(charger: Stored, ours, **given) -> int:
    return charger.start(card=ours.token.uid, **given)


def audit_of(charger: Stored) -> AuditEntry:
    entry: AuditEntry = AuditEntry.objects.visible_to(charger.actor).filter(action__startswith="session.").latest("pk")
    return entry


def test_closing_at_the_last_reading_takes_its_time_and_meter(charger, ours):
    transaction = start(charger, ours)
    for register in (2000, 3000):
        charger.wait(minutes=10)
        charger.measure(register, transaction=transaction)
    last = charger.now
    charger.wait(minutes=10)
    charger.boot()
    services.open_no_stop_items(now=charger.now + dt.timedelta(hours=25))
    repair_item(item=charger.item("no_stop"), repair="close_at_last_reading", actor=charger.actor, why="power cut")
    session = charger.session(transaction)
    assert (session.state, session.ended_at, session.energy_wh, session.ended_sent) == ("ended", last, 2000, "")
    assert charger.codes() == []
    entry = audit_of(charger)
    assert (entry.action, entry.why) == ("session.close_at_last_reading", "power cut")
    assert (entry.before["state"], entry.after["state"]) == ("awaiting", "ended")


def test_a_session_without_a_reading_cannot_be_closed_at_one(charger, ours):
    start(charger, ours)
    charger.wait(minutes=1)
    charger.boot()
    services.open_no_stop_items(now=charger.now + dt.timedelta(hours=25))
    with pytest.raises(CannotRepair):
        services.close_at_last_reading(item=charger.item("no_stop"), actor=charger.actor)
    assert charger.codes() == ["no_stop"]


def test_a_stop_that_comes_after_the_repair_is_reviewed_and_can_be_taken(charger, ours):
    transaction = start(charger, ours)
    charger.wait(minutes=10)
    charger.measure(2000, transaction=transaction)
    charger.boot()
    services.open_no_stop_items(now=charger.now + dt.timedelta(hours=25))
    services.close_at_last_reading(item=charger.item("no_stop"), actor=charger.actor)
    ended = charger.wait(minutes=30)
    charger.stop(transaction, meter=4000)
    assert charger.session(transaction).energy_wh == 1000
    services.attach_orphan_stop(item=charger.item("second_stop"), actor=charger.actor)
    session = charger.session(transaction)
    assert (session.ended_at, session.energy_wh, session.state) == (ended, 3000, "ended")
    assert charger.codes() == []


def test_attaching_an_orphan_stop_ends_the_session_as_if_it_had_named_it(charger, ours):
    transaction = start(charger, ours)
    ended = charger.wait(hours=1)
    data = [{"timestamp": iso(ended - HOUR / 2), "sampledValue": [{"value": "3000"}]}]
    charger.stop(4711, idTag="SOMEBODY", transactionData=data)
    services.attach_orphan_stop(
        item=charger.item("orphan_stop"), actor=charger.actor, session=charger.session(transaction)
    )
    session = charger.session(transaction)
    assert (session.state, session.ended_at, session.energy_wh) == ("ended", ended, 4000)
    assert charger.read_by(transaction) == [3000]
    assert charger.item("orphan_stop").session_id == session.pk
    charger.wait(minutes=1)
    charger.stop(transaction, at=ended)
    assert charger.codes() == []


def test_attaching_an_end_below_the_start_opens_the_meter_s_doubt(charger, ours):
    transaction = start(charger, ours, meter=9000)
    charger.wait(hours=1)
    charger.stop(4711, meter=5000)
    services.attach_orphan_stop(
        item=charger.item("orphan_stop"), actor=charger.actor, session=charger.session(transaction)
    )
    assert charger.codes() == ["meter_backwards"]


def test_an_orphan_stop_is_not_attached_to_a_session_that_has_its_end(charger, ours):
    transaction = start(charger, ours)
    charger.wait(hours=1)
    charger.stop(transaction)
    charger.wait(minutes=1)
    charger.stop(4711, meter=6000)
    with pytest.raises(CannotRepair):
        services.attach_orphan_stop(
            item=charger.item("orphan_stop"), actor=charger.actor, session=charger.session(transaction)
        )


def test_merging_duplicates_keeps_the_earlier_start_and_all_readings(charger, ours):
    clockless = "1970-01-01T00:00:00Z"
    first = start(charger, ours, at=clockless, meter=0)
    began = charger.now
    charger.wait(minutes=5)
    charger.measure(500, transaction=first)
    charger.boot()
    charger.wait(minutes=1)
    second = start(charger, ours, at=clockless, meter=0)
    charger.wait(minutes=5)
    charger.measure(900, transaction=second)
    services.merge_duplicates(item=charger.item("maybe_same_start"), actor=charger.actor, why="same car")
    kept, other = charger.session(second), charger.session(first)
    assert (kept.state, kept.started_at, kept.meter_start_wh) == ("active", began, 0)
    assert other.state == "void"
    assert charger.read_by(second) == [500, 900]
    charger.wait(minutes=5)
    charger.stop(second, meter=1200)
    assert charger.session(second).energy_wh == 1200


def test_setting_the_start_meter_corrects_the_energy_and_keeps_what_was_sent(charger, ours):
    transaction = start(charger, ours, meter=0)
    charger.wait(minutes=10)
    charger.measure(910_083, transaction=transaction)
    item = charger.item("meter_jump")
    repair_item(item=item, repair="set_start_meter", actor=charger.actor, meter_wh=910_000)
    session = charger.session(transaction)
    assert (session.meter_start_wh, session.meter_start_sent, session.live.energy_wh) == (910_000, "0", 83)
    charger.wait(minutes=10)
    charger.stop(transaction, meter=911_000)
    assert charger.session(transaction).energy_wh == 1000
    assert charger.codes() == []


def test_a_start_meter_above_the_end_is_refused(charger, ours):
    transaction = start(charger, ours, meter=9000)
    charger.wait(hours=1)
    charger.stop(transaction, meter=5000)
    with pytest.raises(CannotRepair):
        services.set_start_meter(item=charger.item("meter_backwards"), actor=charger.actor, meter_wh=5001)


def test_bridging_a_replaced_meter_adds_up_both(charger, ours):
    transaction = start(charger, ours, meter=900_000)
    charger.wait(minutes=10)
    charger.measure(902_000, transaction=transaction)
    charger.wait(minutes=10)
    charger.measure(300, transaction=transaction)
    charger.wait(minutes=10)
    charger.stop(transaction, meter=2300)
    services.bridge_meters(item=charger.item("meter_changed"), actor=charger.actor)
    assert charger.session(transaction).energy_wh == 4000


def test_accepting_changes_no_figure(charger, ours):
    transaction = start(charger, ours, meter=5000)
    charger.wait(hours=1)
    charger.stop(transaction, meter=4999)
    item = services.accept_as_is(item=charger.item("meter_backwards"), actor=charger.actor, why="known fault")
    assert (item.state, item.resolution, item.why) == ("resolved", "accept_as_is", "known fault")
    assert charger.session(transaction).energy_wh == -1


def test_a_resolved_doubt_is_not_opened_again_by_the_same_message(charger, ours):
    transaction = charger.start(card="FFFFFFFF")
    services.accept_as_is(item=charger.item("unknown_card"), actor=charger.actor)
    assert charger.start(card="FFFFFFFF", at=START) == transaction
    assert charger.codes() == []


def test_voiding_needs_a_reason_and_settles_the_session_s_other_doubts(charger, ours):
    StationState.objects.unscoped("test").update(clock_offset_s=None)
    transaction = charger.start(card="FFFFFFFF", at="1970-01-01T00:00:00Z")
    assert charger.codes() == ["bad_time", "unknown_card"]
    item = charger.item("unknown_card")
    with pytest.raises(CannotRepair):
        services.void_session(item=item, actor=charger.actor, why=" ")
    services.void_session(item=item, actor=charger.actor, why="test charge")
    assert charger.session(transaction).state == "void"
    assert charger.codes() == []


def test_a_stop_for_a_void_session_is_stored_and_leaves_it_void(charger, ours):
    transaction = charger.start(card="FFFFFFFF")
    services.void_session(item=charger.item("unknown_card"), actor=charger.actor, why="test charge")
    charger.wait(hours=1)
    charger.stop(transaction)
    session = charger.session(transaction)
    assert (session.state, session.meter_stop_wh) == ("void", 5000)


def test_shifting_times_takes_the_offset_off_both_ends_and_keeps_what_was_sent(charger, ours):
    behind = dt.timedelta(hours=-2)
    for _ in range(2):
        charger.wait(seconds=10)
        charger.send(
            "StatusNotification",
            connectorId=1,
            errorCode="NoError",
            status="Available",
            timestamp=iso(charger.now + behind),
        )
    began = charger.wait(seconds=10)
    transaction = start(charger, ours, at=began + behind)
    ended = charger.wait(hours=1)
    charger.stop(transaction, at=ended + behind)
    assert charger.codes() == ["clock_offset"]
    services.shift_times(item=charger.item("clock_offset"), actor=charger.actor)
    session = charger.session(transaction)
    assert (session.started_at, session.ended_at) == (began, ended)
    assert session.started_sent == iso(began + behind)


def test_times_are_not_shifted_before_the_session_ended(charger, ours):
    StationState.objects.unscoped("test").update(clock_offset_s=-7200)
    charger.clock.offset_s = -7200.0
    start(charger, ours, at=charger.now - dt.timedelta(hours=2))
    with pytest.raises(CannotRepair):
        services.shift_times(item=charger.item("clock_offset"), actor=charger.actor)


# --- who may, and once ---


def test_a_repair_without_the_permission_is_refused(charger, ours):
    charger.start(card="FFFFFFFF")
    viewer = Actor(kind=Kind.SESSION, operator_id=ours.operator.pk, user=ours.owner, operator_wide=True)
    with pytest.raises(PermissionDenied):
        services.accept_as_is(item=charger.item("unknown_card"), actor=viewer)


def test_a_repair_of_another_operator_s_item_finds_nothing(charger, ours, rival):
    charger.start(card="FFFFFFFF")
    with pytest.raises(ReviewItem.DoesNotExist):
        services.accept_as_is(item=charger.item("unknown_card"), actor=Actor.system(rival.operator))


def test_an_end_is_not_attached_to_another_operator_s_session(charger, ours, rival):
    foreign = Stored(rival)
    transaction = foreign.start(card=rival.token.uid)
    charger.wait(hours=1)
    charger.stop(4711)
    with pytest.raises(Session.DoesNotExist):
        services.attach_orphan_stop(
            item=charger.item("orphan_stop"), actor=charger.actor, session=foreign.session(transaction)
        )


def test_an_item_is_resolved_once(charger, ours):
    charger.start(card="FFFFFFFF")
    item = charger.item("unknown_card")
    services.accept_as_is(item=item, actor=charger.actor)
    with pytest.raises(CannotRepair):
        services.accept_as_is(item=item, actor=charger.actor)


def test_a_repair_that_does_not_fit_the_doubt_is_refused(charger, ours):
    charger.start(card="FFFFFFFF")
    with pytest.raises(CannotRepair):
        repair_item(item=charger.item("unknown_card"), repair="shift_times", actor=charger.actor)


def test_every_doubt_has_its_repairs():
    assert set(services.REPAIRS) == set(ReviewCode)
    assert all(services.REPAIRS[code] for code in ReviewCode)


# --- 24 hours without an end ---


def test_a_session_that_waits_for_a_day_is_reviewed_once(charger, ours):
    start(charger, ours)
    since = charger.wait(minutes=10)
    charger.boot()
    assert services.open_no_stop_items(now=since + dt.timedelta(hours=23, minutes=59)) == 0
    assert services.open_no_stop_items(now=since + dt.timedelta(hours=24)) == 1
    assert services.open_no_stop_items(now=since + dt.timedelta(hours=25)) == 0
    assert charger.item("no_stop").blocking


def test_a_charger_that_vanished_in_mid_session_does_not_keep_the_card_for_ever(charger, ours):
    transaction = start(charger, ours)
    charger.wait(minutes=10)
    charger.measure(2000, transaction=transaction)
    gone = charger.wait(minutes=5)
    state = StationState.objects.unscoped("test").filter(station=ours.station)
    late = gone + dt.timedelta(hours=24, minutes=1)
    assert services.await_vanished_sessions(now=late) == 0
    state.update(online=False, disconnected_at=gone)
    assert services.await_vanished_sessions(now=gone + dt.timedelta(hours=23)) == 0
    assert services.await_vanished_sessions(now=late) == 1
    session = charger.session(transaction)
    assert (session.state, session.awaiting_since) == ("awaiting", gone)
    assert services.open_no_stop_items(now=late) == 1
    charger.stop(transaction, meter=3000)
    assert charger.session(transaction).energy_wh == 2000


def test_an_end_settles_that_another_session_began_before_it(charger, ours):
    older = start(charger, ours)
    charger.wait(minutes=10)
    charger.start(card="FFFFFFFF", meter=1500)
    assert charger.codes() == ["replaced", "unknown_card"]
    charger.stop(older, meter=1400)
    services.settle_waiting_items(session_ids={charger.session(older).pk}, now=charger.now)
    assert charger.codes() == ["unknown_card"]


def test_an_end_that_comes_after_a_day_settles_the_doubt_in_the_background(charger, ours):
    transaction = start(charger, ours)
    since = charger.wait(minutes=10)
    charger.boot()
    services.open_no_stop_items(now=since + dt.timedelta(hours=25))
    charger.stop(transaction)
    run_tasks()
    assert charger.codes() == []
    assert charger.item("no_stop").resolution == "ended"


def test_g05_a_repair_locks_the_charger_before_its_sessions_as_the_gateway_does(charger, ours):
    transaction = start(charger, ours)
    charger.wait(hours=1)
    charger.stop(4711, idTag="SOMEBODY")
    item, session = charger.item("orphan_stop"), charger.session(transaction)
    with CaptureQueriesContext(connection) as queries:
        services.attach_orphan_stop(item=item, actor=charger.actor, session=session)
    reads = [query["sql"] for query in queries if query["sql"].startswith("SELECT")]
    tables = ("installations_stationstate", "charging_session", "charging_reviewitem")
    first = [next(number for number, sql in enumerate(reads) if f'FROM "{table}"' in sql) for table in tables]
    assert first == sorted(first)
