"""Keys of chargers and operators, chargers registered and adopted, refusals forgotten."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.utils import timezone
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from apps.accounts import events as account_events
from apps.accounts.models import AuditEntry
from apps.accounts.permissions import Role, of_role
from apps.core import events, schedules
from apps.core.actor import Actor, Kind
from apps.installations.models import ChargingStation
from apps.ocpp import handshake, selectors, services, tasks
from apps.ocpp.models import HandshakeRefusal, OperatorKey, StationKey, StrangerRefusal
from tests.factories.accounts import OperatorFactory

NOW = timezone.now()


def person(tenant, role) -> Actor:
    return Actor(
        kind=Kind.SESSION,
        operator_id=tenant.operator.pk,
        user=tenant.owner,
        permissions=of_role(role),
        operator_wide=True,
        label=tenant.owner.email,
    )


def opened_by(tenant, identity: str, secret: str, *, at: dt.datetime | None = None) -> bool:
    key = services.ensure_operator_key(operator_id=tenant.operator.pk).key
    request = handshake.Request(key, identity, secret.encode(), None, "ocpp1.6", "127.0.0.1")
    found = handshake._look_up([request], at or NOW)[0]
    return handshake._judge(request, found)[0] is None


def refusal(tenant, **fields) -> HandshakeRefusal:
    fields = {"identity": "NEW-1", "address": "192.0.2.1", "reason": "unknown_station"} | fields
    return HandshakeRefusal.objects.create(operator=tenant.operator, first_at=NOW, **({"last_at": NOW} | fields))


def test_a_charger_is_registered_with_a_key_and_a_url(ours, system, settings):
    settings.CHARGER_HOST, settings.PUBLIC_SCHEME, settings.PUBLIC_PORT = "charge.example", "http", 8000
    station, secret = services.register_station(actor=system, location=ours.location, identity="A*1", now=NOW)
    assert len(secret) == 40
    assert opened_by(ours, "a*1", secret)
    url = selectors.charger_url(operator_id=ours.operator.pk, identity=station.identity, now=NOW)
    key = OperatorKey.objects.visible_to(system).get().key
    assert url == f"ws://charge.example:8000/ocpp/{key}/A%2A1"
    settings.PUBLIC_SCHEME, settings.PUBLIC_PORT = "https", 443
    assert selectors.charger_url(operator_id=ours.operator.pk, identity="B", now=NOW).startswith(
        "wss://charge.example/ocpp/"
    )


def test_a_new_key_ends_the_old_one_at_once_or_after_the_overlap(ours, system):
    station, first = services.register_station(actor=system, location=ours.location, identity="A1", now=NOW)
    second = services.issue_station_key(actor=system, station=station, why="lost", now=NOW, overlap_h=24)
    assert opened_by(ours, "A1", first)
    assert opened_by(ours, "A1", second)
    assert not opened_by(ours, "A1", first, at=NOW + dt.timedelta(hours=24))
    third = services.issue_station_key(actor=system, station=station, why="lost", now=NOW)
    assert [opened_by(ours, "A1", secret) for secret in (first, second, third)] == [False, False, True]


def test_a_key_leaves_no_trace_of_its_secret(ours, system):
    station, secret = services.register_station(actor=system, location=ours.location, identity="A1", now=NOW)
    typed = services.issue_station_key(actor=system, station=station, why="lost", now=NOW, secret="typed by a person")
    trail = json.dumps(list(AuditEntry.objects.visible_to(system).values("before", "after", "object_name", "why")))
    assert AuditEntry.objects.visible_to(system).filter(action="station_key.issued").count() == 2
    for kept in (secret, typed):
        assert kept not in trail
        assert not any(kept.encode() in bytes(key.digest) for key in StationKey.objects.visible_to(system))


def test_the_history_of_a_charger_says_why_it_got_each_key(ours, system):
    station, _ = services.register_station(actor=system, location=ours.location, identity="A1", now=NOW)
    services.issue_station_key(actor=system, station=station, why=" The board was changed ", now=NOW)
    adopted, _ = services.adopt_refusal(actor=system, refusal=refusal(ours), location=ours.location, now=NOW)
    for why in ("", "  "):
        with pytest.raises(ValidationError) as refused:
            services.issue_station_key(actor=system, station=station, why=why, now=NOW)
        assert "why" in refused.value.message_dict
    issued = AuditEntry.objects.visible_to(system).filter(action="station_key.issued").order_by("pk")
    assert list(issued.values_list("object_id", "why")) == [
        (str(station.pk), "first key"),
        (str(station.pk), "The board was changed"),
        (str(adopted.pk), "first key"),
    ]
    assert StationKey.objects.visible_to(system).filter(station=station).count() == 2


@pytest.mark.parametrize(("secret", "overlap_h"), [("short", 0), ("", 721), ("", -1)])
def test_weak_keys_and_odd_overlaps_are_refused(ours, system, secret, overlap_h):
    with pytest.raises(ValidationError):
        services.issue_station_key(
            actor=system, station=ours.station, why="lost", now=NOW, secret=secret, overlap_h=overlap_h
        )


def test_who_may_only_look_issues_no_key_and_adopts_nothing(ours):
    viewer, technician = person(ours, Role.VIEWER), person(ours, Role.TECHNICIAN)
    with pytest.raises(PermissionDenied):
        services.issue_station_key(actor=viewer, station=ours.station, why="lost", now=NOW)
    with pytest.raises(PermissionDenied):
        services.adopt_refusal(actor=viewer, refusal=refusal(ours), location=ours.location, now=NOW)
    with pytest.raises(PermissionDenied):
        services.rotate_operator_key(actor=technician, now=NOW)
    assert services.issue_station_key(actor=technician, station=ours.station, why="lost", now=NOW)


def test_a_refused_charger_is_adopted_with_a_fresh_key(ours, system):
    unknown, elsewhere = refusal(ours), refusal(ours, address="192.0.2.2", identity="new-1")
    assert selectors.describe_refusals([unknown])[0].adoptable
    station, secret = services.adopt_refusal(actor=system, refusal=unknown, location=ours.location, now=NOW)
    assert (station.identity, station.location) == ("NEW-1", ours.location)
    assert opened_by(ours, "NEW-1", secret)
    for one in (unknown, elsewhere):
        one.refresh_from_db()
        assert one.station == station
        assert not selectors.describe_refusals([one])[0].adoptable


def test_a_charger_is_not_adopted_twice_nor_under_an_impossible_identity(ours, system):
    services.adopt_refusal(actor=system, refusal=refusal(ours), location=ours.location, now=NOW)
    again = refusal(ours, address="192.0.2.2")
    impossible = refusal(ours, identity="a�b")
    for one in (again, impossible):
        with pytest.raises(ValidationError):
            services.adopt_refusal(actor=system, refusal=one, location=ours.location, now=NOW)
    assert ChargingStation.objects.visible_to(system).filter(identity="NEW-1").count() == 1


def test_a_refusal_is_not_adopted_into_another_operators_location(ours, rival, system):
    with pytest.raises((ValidationError, PermissionDenied)):
        services.adopt_refusal(actor=system, refusal=refusal(ours), location=rival.location, now=NOW)


def test_another_operators_refusal_is_not_adopted_nor_its_charger_given_a_key(ours, rival, system):
    with pytest.raises(PermissionDenied):
        services.issue_station_key(actor=system, station=rival.station, why="lost", now=NOW)
    with pytest.raises(PermissionDenied):
        services.adopt_refusal(actor=system, refusal=refusal(rival), location=ours.location, now=NOW)


def test_every_reason_has_words_and_a_remedy(ours):
    rows = selectors.describe_refusals([refusal(ours, reason=reason, address=reason) for reason in handshake.Reason])
    assert all(row.reason and row.remedy and row.reason != row.remedy for row in rows)
    assert [row.code for row in rows if row.adoptable] == ["unknown_station"]


def test_a_new_operator_gets_a_url_key_and_only_one(db):
    operator = OperatorFactory()
    events.publish(account_events.OPERATOR_CREATED, operator_id=operator.pk)
    calls = [SignedPackage.loads(task.payload)["args"] for task in OrmQ.objects.all()]
    assert any("make_operator_keys" in args[0] for args in calls)
    for _ in range(2):
        tasks.make_operator_keys([{"operator_id": operator.pk}])
    key = OperatorKey.objects.unscoped("test").get(operator=operator)
    assert len(key.key) == 12


def test_an_operators_new_url_key_lets_the_old_one_live_for_a_while(ours, system):
    old = services.ensure_operator_key(operator_id=ours.operator.pk)
    new = services.rotate_operator_key(actor=system, now=NOW)
    old.refresh_from_db()
    assert old.valid_until == NOW + services.URL_KEY_OVERLAP
    assert new.valid_until is None
    assert new.key in selectors.charger_url(operator_id=ours.operator.pk, identity="X", now=NOW)
    assert AuditEntry.objects.visible_to(system).filter(action="operator_key.rotated").exists()


def test_refusals_are_forgotten_after_30_days_and_beyond_the_cap(ours, monkeypatch):
    monkeypatch.setattr(services, "MAX_REFUSALS", 3)
    for day in range(5):
        refusal(ours, identity=f"D{day}", last_at=NOW - dt.timedelta(days=day))
        StrangerRefusal.objects.create(
            key="k", identity=f"D{day}", address="a", first_at=NOW, last_at=NOW - dt.timedelta(days=day)
        )
    refusal(ours, identity="OLD", last_at=NOW - dt.timedelta(days=31))
    assert services.clean_refusals(now=NOW) == 5
    kept = HandshakeRefusal.objects.unscoped("test").order_by("identity").values_list("identity", flat=True)
    assert list(kept) == ["D0", "D1", "D2"]
    assert StrangerRefusal.objects.count() == 3


def test_sweeping_and_cleaning_are_scheduled():
    assert schedules._minutes["apps.ocpp.tasks.sweep_leases"] == 1
    assert schedules._minutes["apps.ocpp.tasks.clean_refusals"] == 60
