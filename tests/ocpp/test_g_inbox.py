"""The gateway's durability, line by line of its contract, at the level of lanes and batches."""

from __future__ import annotations

import datetime as dt
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from apps.cards.models import Token
from apps.charging import decisions
from apps.charging.models import Reading, ReviewItem, Session
from apps.core import bulk
from apps.core.actor import Actor
from apps.installations.models import ChargingStation, Connector
from apps.ocpp import batches, inbox
from apps.ocpp.models import Frame, QuarantinedFrame, RepairCount
from tests.factories.cards import TokenFactory
from tests.factories.cast import make_tenant
from tests.factories.installations import ConnectorFactory, StationFactory
from tests.ocpp.lanes import (
    confirmed,
    meter_payload,
    refused,
    running_lanes,
    start_payload,
    stop_payload,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant(transactional_db):
    return make_tenant("Amber")


@pytest.fixture
def see(tenant):
    """Rows of a model as the operator's system actor sees them."""
    actor = Actor.system(tenant.operator)
    return lambda model: model.objects.visible_to(actor)


def stations_of(tenant, count: int) -> list[ChargingStation]:
    stations = [StationFactory(operator=tenant.operator, location=tenant.location) for _ in range(count)]
    for station in stations:
        ConnectorFactory(operator=tenant.operator, station=station)
    return stations


def bulk_lane(lanes) -> inbox.Worker:
    return next(worker for worker in lanes.inbox.workers if inbox.Lane.BULK in worker.lanes)


def test_g01_no_answer_leaves_before_commit_returned(tenant, see, monkeypatch):
    """At a real server: test_g_commits."""
    real_write, real_commit = batches.Batch._write, BaseDatabaseWrapper._commit
    written, may_commit = threading.Event(), threading.Event()

    def write(self, *args, **kwargs):
        real_write(self, *args, **kwargs)
        written.set()

    def commit(self):
        if written.is_set() and threading.current_thread().name.startswith("inbox"):
            assert may_commit.wait(10)
        return real_commit(self)

    monkeypatch.setattr(batches.Batch, "_write", write)
    monkeypatch.setattr(BaseDatabaseWrapper, "_commit", commit)
    with running_lanes() as lanes:
        answered = lanes.send(tenant.station, "StartTransaction", start_payload(tenant.token.uid))
        assert written.wait(10)
        time.sleep(0.3)
        assert not answered.done()
        assert not see(Session).exists()
        may_commit.set()
        text = answered.result(timeout=10)
        assert see(Session).get().transaction_id == confirmed(text)["transactionId"]


def test_g03_one_commit_carries_what_arrived_during_the_last(tenant, see):
    stations = stations_of(tenant, 40)
    tokens = [TokenFactory(operator=tenant.operator) for _ in stations]
    with running_lanes(start=False) as lanes:
        answers = [
            lanes.send(station, "StartTransaction", start_payload(token.uid))
            for station, token in zip(stations, tokens, strict=True)
        ]
        time.sleep(0.2)
        lanes.inbox.start()
        ids = {confirmed(answer.result(timeout=15))["transactionId"] for answer in answers}
        lanes.inbox.start = lambda: None
    assert len(ids) == 40
    assert set(see(Session).values_list("transaction_id", flat=True)) == ids


@pytest.mark.parametrize(
    ("rate", "window_s", "lull_s"),
    [(0, 0.0, 0.2), (24.9, 0.0, 0.2), (100, 0.2, 0.05), (1000, 0.2, 0.005), (10_000, 0.04, 0.005)],
    ids=str,
)
def test_g04_the_bulk_window_follows_the_rate(rate, window_s, lull_s):
    assert inbox.window_s(rate) == pytest.approx(window_s)
    assert inbox.lull_s(rate) == pytest.approx(lull_s)


def test_g04_chargers_that_send_what_they_kept_do_not_wait_for_each_other(tenant, see):
    """Twenty of them, one message after the other each: with the whole window for each answer it would take 5 s."""
    stations, began = stations_of(tenant, 20), time.monotonic()
    with running_lanes() as lanes, ThreadPoolExecutor(len(stations)) as chargers:
        bulk_lane(lanes).rate.rate = 400.0

        def replay(station):
            for number in range(25):
                lanes.ask(station, "MeterValues", meter_payload(1000 + number))

        list(chargers.map(replay, stations))
    assert time.monotonic() - began < 3
    assert see(Reading).count() == 500


def test_g04_a_window_takes_what_comes_while_it_is_open(tenant, see, monkeypatch):
    real_attempt, sizes = batches.Batch.attempt, []

    def attempt(self, ids, **how):
        sizes.append(len(self.calls))
        return real_attempt(self, ids, **how)

    monkeypatch.setattr(batches.Batch, "attempt", attempt)
    stations = stations_of(tenant, 30)
    with running_lanes() as lanes:
        bulk_lane(lanes).rate.rate = 100.0  # the window is 200 ms, and 50 ms of silence end it
        answers = []
        for station in stations:
            answers.append(lanes.send(station, "MeterValues", meter_payload(1000)))
            time.sleep(0.002)
        for answer in answers:
            confirmed(answer.result(timeout=15))
    assert sum(sizes) == 30
    assert len(sizes) <= 5, sizes


def test_g04_the_rate_is_a_moving_average():
    meter = inbox.RateMeter()
    now = time.monotonic()
    for step in range(1, 101):
        meter.add(20, now + step * 0.1)
    assert meter.rate == pytest.approx(200, rel=0.05)


def test_g05_a_web_transaction_on_edited_rows_stops_no_answer(tenant):
    if connection.vendor != "postgresql":
        return _a_short_write_transaction_only_delays(tenant)
    with running_lanes() as lanes, transaction.atomic():
        ChargingStation.objects.unscoped("test").filter(pk=tenant.station.pk).update(name="being edited")
        list(Connector.objects.unscoped("test").select_for_update(no_key=True))
        list(Token.objects.unscoped("test").select_for_update(no_key=True))
        began = time.monotonic()
        started = lanes.ask(tenant.station, "StartTransaction", start_payload(tenant.token.uid))
        lanes.ask(tenant.station, "MeterValues", meter_payload(1500, transaction_id=started["transactionId"]))
        lanes.ask(tenant.station, "StopTransaction", stop_payload(started["transactionId"]))
        assert time.monotonic() - began < 1.5
    return None


def _a_short_write_transaction_only_delays(tenant):
    """SQLite has one writer: a web transaction of up to 200 ms delays an answer by no more than that and a little."""
    with running_lanes() as lanes:
        with transaction.atomic():
            ChargingStation.objects.unscoped("test").filter(pk=tenant.station.pk).update(name="being edited")
            answered = lanes.send(tenant.station, "Authorize", {"idTag": tenant.token.uid})
            time.sleep(0.2)
            assert not answered.done()
        assert confirmed(answered.result(timeout=2))["idTagInfo"]["status"] == "Accepted"


def test_g06_an_exception_in_decide_concerns_its_message_only(tenant, see, monkeypatch):
    real = decisions.decide

    def failing(message, facts, now):
        if getattr(message.body, "uid", "") == "BROKEN" and type(message.body).__name__ in ("Started", "Authorise"):
            raise RuntimeError("a defect of ours")
        return real(message, facts, now)

    monkeypatch.setattr(decisions, "decide", failing)
    one, two = stations_of(tenant, 2)
    with running_lanes(start=False) as lanes:
        broken = lanes.send(one, "StartTransaction", start_payload("BROKEN", meter=700))
        good = lanes.send(two, "StartTransaction", start_payload(tenant.token.uid))
        time.sleep(0.1)
        lanes.inbox.start()
        lanes.inbox.start = lambda: None
        stub = confirmed(broken.result(timeout=15))
        assert confirmed(good.result(timeout=15))["idTagInfo"]["status"] == "Accepted"
        assert 1 <= stub["transactionId"] < 2**31
        refused_card = lanes.ask(one, "Authorize", {"idTag": "BROKEN"})
        assert refused_card["idTagInfo"]["status"] == "Invalid"
        lanes.ask(one, "MeterValues", meter_payload(900, transaction_id=stub["transactionId"]))
        lanes.ask(one, "StopTransaction", stop_payload(stub["transactionId"], meter=1000))
    session = see(Session).get(transaction_id=stub["transactionId"])
    assert session.meter_stop_wh == 1000
    item = see(ReviewItem).get(session=session, code="stub")
    assert item.blocking
    assert see(Reading).filter(session_id=session.pk).count() == 1


def test_g07_a_lost_connection_repeats_the_whole_batch(tenant, see, monkeypatch):
    real_write = batches.Batch._write
    failures = iter([True, True])

    def losing(self, *args, **kwargs):
        real_write(self, *args, **kwargs)
        if self.calls and next(failures, False):
            raise OperationalError("server closed the connection unexpectedly; database is locked")

    monkeypatch.setattr(batches.Batch, "_write", losing)
    stations = stations_of(tenant, 5)
    with running_lanes() as lanes:
        answers = [lanes.send(station, "MeterValues", meter_payload(1000)) for station in stations]
        assert all(confirmed(answer.result(timeout=20)) == {} for answer in answers)
    assert see(Reading).count() == 5
    assert see(Frame).filter(action="MeterValues").count() == 5


def test_g07_bad_data_is_bisected_and_only_its_message_quarantined(tenant, see, monkeypatch):
    stations = stations_of(tenant, 9)
    real_insert = bulk.insert_rows

    def poisonous(rows):
        return [row._replace(register_wh=2**80) if row.register_wh == 666 else row for row in rows]

    def insert(connection, table, rows):
        real_insert(connection, table, poisonous(rows) if table.name == "charging_reading" else rows)

    monkeypatch.setattr(bulk, "insert_rows", insert)
    with running_lanes(start=False) as lanes:
        answers = [
            lanes.send(station, "MeterValues", meter_payload(666 if index == 4 else 1000))
            for index, station in enumerate(stations)
        ]
        time.sleep(0.1)
        lanes.inbox.start()
        lanes.inbox.start = lambda: None
        assert all(confirmed(answer.result(timeout=20)) == {} for answer in answers)
    quarantined = see(QuarantinedFrame).get()
    assert quarantined.station_id == stations[4].pk
    assert b"666" in bytes(quarantined.raw)
    assert see(Reading).count() == 8
    assert see(ReviewItem).filter(station=stations[4]).exists()


def test_g08_a_commit_whose_answer_was_lost_counts_once(tenant, see, monkeypatch):
    real_attempt = batches.transaction.atomic
    lost = iter([True])

    class LosingAtomic:
        """Commits, then says that the connection broke."""

        def __init__(self, **kwargs):
            self.inner = real_attempt(**kwargs)

        def __enter__(self):
            return self.inner.__enter__()

        def __exit__(self, *error):
            self.inner.__exit__(*error)
            if error[0] is None and next(lost, False):
                raise OperationalError("server closed the connection; database is locked")

    class Transaction:
        atomic = LosingAtomic

    monkeypatch.setattr(batches, "transaction", Transaction)
    payload = start_payload(tenant.token.uid)
    payload["meterStart"] = "1000"
    payload["somethingElse"] = 1
    with running_lanes() as lanes:
        first = lanes.ask(tenant.station, "StartTransaction", payload)
        again = lanes.ask(tenant.station, "StartTransaction", payload)
    assert next(lost, None) is None
    assert first["transactionId"] == again["transactionId"]
    assert see(Session).count() == 1
    assert see(Frame).filter(action="StartTransaction").count() == 2
    counted = dict(see(RepairCount).values_list("name", "count"))
    assert counted
    assert set(counted.values()) == {2}


def test_g12_transaction_ids_come_from_the_database_and_are_never_reused(tenant, see):
    stations = stations_of(tenant, 3)
    seen = []
    for round_ in range(2):
        with running_lanes() as lanes:
            for station in stations:
                uid = TokenFactory(operator=tenant.operator).uid
                seen.append(lanes.ask(station, "StartTransaction", start_payload(uid, meter=round_))["transactionId"])
    assert len(set(seen)) == 6
    assert all(1 <= one <= 2**31 - 1 for one in seen)
    assert see(Session).count() == 6


def test_g12_a_repeated_start_gets_the_first_id_again(tenant, see):
    payload = start_payload(tenant.token.uid)
    with running_lanes() as lanes:
        first = lanes.ask(tenant.station, "StartTransaction", payload, generation=1, message_id="a")
        again = lanes.ask(tenant.station, "StartTransaction", payload, generation=2, message_id="b")
    assert first["transactionId"] == again["transactionId"]
    assert again["idTagInfo"]["status"] == "Accepted"
    assert see(Session).count() == 1


def test_g19_every_acknowledged_message_has_its_evidence(tenant, see):
    with running_lanes() as lanes:
        started = lanes.ask(tenant.station, "StartTransaction", start_payload(tenant.token.uid), message_id="s1")
        for index in range(5):
            lanes.ask(tenant.station, "MeterValues", meter_payload(1100 + index), message_id=f"v{index}")
        lanes.ask(tenant.station, "StopTransaction", stop_payload(started["transactionId"]), message_id="e1")
    frames = {frame.message_id: frame for frame in see(Frame)}
    assert set(frames) == {"s1", "e1", *(f"v{index}" for index in range(5))}
    assert confirmed(frames["s1"].response)["transactionId"] == started["transactionId"]


def test_g19_a_refused_call_is_kept_too(tenant, see):
    with running_lanes() as lanes:
        text = lanes.send(tenant.station, "StartTransaction", {"idTag": "x"}, message_id="bad").result(timeout=10)
    assert refused(text) in ("FormationViolation", "OccurenceConstraintViolation", "PropertyConstraintViolation")
    assert see(Frame).get(message_id="bad").error_code == refused(text)


def test_g20_with_5000_bulk_messages_waiting_an_authorize_is_answered_after_one_running_batch(tenant, monkeypatch):
    stations = stations_of(tenant, 20)
    real_attempt = batches.Batch.attempt
    running, may_go_on, begun = threading.Event(), threading.Event(), []

    def attempt(self, *args, **kwargs):
        begun.append(self.mark.rpartition(":")[2])
        if not running.is_set():
            running.set()
            assert may_go_on.wait(10)
        return real_attempt(self, *args, **kwargs)

    monkeypatch.setattr(batches.Batch, "attempt", attempt)
    with running_lanes(start=False) as lanes:
        now = dt.datetime.now(dt.UTC)
        waiting = [
            lanes.send(stations[n % 20], "MeterValues", meter_payload(n, at=now - dt.timedelta(seconds=n)))
            for n in range(5000)
        ]
        time.sleep(0.5)
        lanes.inbox.start()
        lanes.inbox.start = lambda: None
        assert running.wait(10)
        asked = lanes.send(tenant.station, "Authorize", {"idTag": tenant.token.uid})
        if connection.vendor == "postgresql":  # a lane, so a thread and a connection, of its own: it waits for nobody
            assert confirmed(asked.result(timeout=10))["idTagInfo"]["status"] == "Accepted"
            may_go_on.set()
        else:  # one writer: it is next, though 4,500 came before
            time.sleep(0.2)
            may_go_on.set()
            assert confirmed(asked.result(timeout=10))["idTagInfo"]["status"] == "Accepted"
        assert begun[:2] == ["BULK", "URGENT"]
        wait(waiting, timeout=60)
    assert all(confirmed(future.result()) == {} for future in waiting)


def test_two_gateways_take_one_start_once(tenant, see):
    payload = start_payload(tenant.token.uid)
    with running_lanes() as one, running_lanes() as two, ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda lanes: lanes.ask(tenant.station, "StartTransaction", payload), [one, two]))
    connections.close_all()
    assert answers[0]["transactionId"] == answers[1]["transactionId"]
    assert see(Session).count() == 1
