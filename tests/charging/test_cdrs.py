"""A session's way to its CDR: when, at what price, what holds it back, and how a wrong one is put right."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from apps.accounts.models import AuditEntry
from apps.cards.models import TokenContract
from apps.cards.services import assign_contract
from apps.charging import services
from apps.charging.models import Cdr, RatedItem, Settlement
from apps.charging.services import CannotRepair, repair_item, settling
from apps.contracts.models import ContractVersion
from apps.core.actor import Actor, Kind
from apps.installations.models import UnknownCardPolicy
from apps.tariffs.models import TariffVersion, VatRate
from tests.charging.stored import Stored
from tests.factories.contracts import make_contract, published_version
from tests.factories.tasks import run_tasks
from tests.tariffs.worlds import element
from tests.tariffs.worlds import price as price_of

pytestmark = pytest.mark.django_db
DELAY = dt.timedelta(minutes=15)


@pytest.fixture
def contract(ours):
    return make_contract(ours)


@pytest.fixture
def charger(ours) -> Stored:
    return Stored(ours)


def charge(charger: Stored, ours, wh: int = 10_000, minutes: int = 60, **given) -> int:
    """A session of so many Wh and minutes; its events are delivered."""
    begun = charger.start(card=given.pop("card", ours.token.uid), **given)
    charger.wait(minutes=minutes)
    charger.stop(begun, meter=1000 + wh)
    run_tasks()
    return begun


def settle(charger: Stored, after: dt.timedelta = DELAY) -> int:
    return services.settle_due(now=charger.now + after)


def settlement(charger: Stored, begun: int) -> tuple[str, str]:
    row = Settlement.objects.visible_to(charger.actor).get(session=charger.session(begun))
    return row.state, row.reason


def cdrs(charger: Stored) -> list[Cdr]:
    return list(Cdr.objects.visible_to(charger.actor).order_by("pk"))


def test_a_session_is_priced_fifteen_minutes_after_its_stop_was_received(charger, ours, contract):
    begun = charge(charger, ours)
    assert settle(charger, DELAY - dt.timedelta(seconds=1)) == 0
    assert settlement(charger, begun) == ("waiting", "")
    assert settle(charger) == 1
    assert settlement(charger, begun) == ("priced", "")
    (cdr,) = cdrs(charger)
    assert (cdr.energy_wh, cdr.total, cdr.currency, cdr.country) == (10_000, Decimal("4.90"), "EUR", "DE")
    assert (cdr.charging_s, cdr.parking_s) == (3600, 0)
    assert cdr.account == contract.account
    assert settle(charger, DELAY * 10) == 0


def test_a_cdr_holds_its_evidence_and_says_how_its_price_came_about(charger, ours, contract):
    begun = charger.start(card=ours.token.uid)
    for register in (3000, 6000):
        charger.wait(minutes=10)
        charger.measure(register, transaction=begun)
    charger.wait(minutes=10)
    charger.stop(begun, meter=9000)
    run_tasks()
    settle(charger)
    (cdr,) = cdrs(charger)
    session = charger.session(begun)
    assert cdr.evidence["start"]["sent"] == session.started_sent
    assert cdr.evidence["stop"]["meter_sent"] == session.meter_stop_sent
    assert cdr.evidence["readings"]["count"] == 2
    assert [step["code"] for step in cdr.explanation] == ["card", "contract", "tariff", "vat"]
    assert cdr.place["name"] == ours.location.name
    item = RatedItem.objects.visible_to(charger.actor).get(cdr=cdr)
    assert (item.dimension, item.quantity, item.amount) == ("ENERGY", 8000, Decimal("3.92"))
    assert item.vat_percent == 19
    assert item.periods[0]["registers"] == ["1000.000000", "9000.000000"]


@pytest.mark.parametrize("table", ["charging_cdr", "charging_rateditem"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET operator_id = operator_id", "DELETE FROM {}"])
def test_a_cdr_is_never_changed_also_not_by_raw_sql(charger, ours, contract, table, statement):
    charge(charger, ours)
    settle(charger)
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement.format(table))


def test_without_contract_authorize_says_invalid_and_what_happened_waits_for_one(charger, ours, contract):
    TokenContract.everything.filter(token=ours.token).delete()
    assert charger.send("Authorize", idTag=ours.token.uid)["idTagInfo"]["status"] == "Invalid"
    begun = charge(charger, ours)
    settle(charger)
    assert settlement(charger, begun) == ("held", "no_contract")
    assert charger.codes() == []
    assign_contract(
        actor=charger.actor,
        token=ours.token,
        contract=contract,
        valid_from=charger.session(begun).started_at.date() - dt.timedelta(days=1),
        valid_to=None,
        why="forgotten",
    )
    run_tasks()
    services.settle_due(now=dt.datetime.now(dt.UTC) + DELAY)
    assert settlement(charger, begun) == ("priced", "")


def test_a_contract_that_ends_in_mid_session_prices_all_of_it(charger, ours, contract):
    day = charger.now.date()
    TokenContract.everything.filter(token=ours.token).update(valid_to=day)
    begun = charge(charger, ours, minutes=26 * 60)
    settle(charger)
    assert settlement(charger, begun) == ("priced", "")
    assert cdrs(charger)[0].total == Decimal("4.90")


def test_an_unknown_card_that_may_charge_free_gets_no_cdr(charger, ours, contract):
    ours.location.unknown_cards = UnknownCardPolicy.ACCEPT_FREE
    ours.location.save()
    begun = charge(charger, ours, card="04AAAAAAAAAAAA")
    for item in [charger.item("unknown_card")] if charger.codes() else []:
        repair_item(item=item, repair="accept_as_is", actor=charger.actor)
    settle(charger, DELAY * 10)
    assert settlement(charger, begun) == ("free", "")
    assert cdrs(charger) == []


def test_an_open_doubt_holds_the_cdr_back_and_its_repair_releases_it(charger, ours, contract):
    ours.token.state = "blocked"
    ours.token.save()
    begun = charge(charger, ours)
    settle(charger)
    assert settlement(charger, begun) == ("held", "review")
    repair_item(item=charger.item("refused_card"), repair="accept_as_is", actor=charger.actor, why="our own")
    services.settle_due(now=dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1))
    assert settlement(charger, begun) == ("priced", "")


def test_a_missing_vat_rate_is_no_zero(charger, ours, contract):
    VatRate.everything.filter(operator=ours.operator).delete()
    begun = charge(charger, ours)
    settle(charger)
    assert settlement(charger, begun) == ("held", "no_vat")


def test_vat_is_that_of_the_local_date_of_the_end(charger, ours, contract):
    end = charger.now.date() + dt.timedelta(days=1)
    VatRate.everything.create(operator=ours.operator, country="DE", percent=16, valid_from=end)
    charge(charger, ours, minutes=24 * 60)
    settle(charger)
    assert RatedItem.objects.visible_to(charger.actor).get().vat_percent == 16


def test_a_tariff_without_a_version_for_the_day_holds(charger, ours):
    make_contract(ours, tariff_from=charger.now.date() + dt.timedelta(days=1))
    begun = charge(charger, ours)
    settle(charger)
    assert settlement(charger, begun) == ("held", "no_tariff")


def test_what_is_published_after_a_session_began_does_not_price_it(charger, ours, contract):
    """Also where it holds from the same day on."""
    tariff = contract.versions.get().tariff
    day = charger.now.date()

    def publish(number: int, price: str, at: dt.datetime) -> None:
        TariffVersion.everything.create(
            operator=ours.operator,
            tariff=tariff,
            number=number,
            valid_from=day,
            elements=[element(price_of("ENERGY", price))],
            published_at=at,
            sha256="0" * 64,
        )

    publish(2, "0.10", charger.now - dt.timedelta(hours=1))
    publish(3, "0.90", charger.now + dt.timedelta(minutes=5))
    charge(charger, ours)
    settle(charger)
    assert cdrs(charger)[0].total == Decimal("1.00")


def test_terms_that_are_agreed_after_a_session_began_do_not_price_it(charger, ours, contract):
    """Of a contract written afterwards, the first terms do: somebody forgot it."""
    dear = published_version(ours.operator, [element(price_of("ENERGY", "0.90"))])
    later = ContractVersion.everything.create(
        operator=ours.operator, contract=contract, number=2, valid_from=charger.now.date(), tariff=dear.tariff
    )
    assert later.created_at > charger.now
    charge(charger, ours)
    settle(charger)
    assert cdrs(charger)[0].total == Decimal("4.90")


def test_a_void_session_has_no_cdr(charger, ours, contract):
    ours.token.state = "blocked"
    ours.token.save()
    begun = charge(charger, ours)
    repair_item(item=charger.item("refused_card"), repair="void_session", actor=charger.actor, why="test drive")
    settle(charger, DELAY * 10)
    assert settlement(charger, begun) == ("void", "")
    assert cdrs(charger) == []


# --- corrections ------------------------------------------------------------------------------------------------------


@pytest.fixture
def second_end(charger, ours, contract) -> int:
    """A priced session of 10 kWh whose charger then says that it were 12."""
    begun = charge(charger, ours)
    settle(charger)
    charger.wait(minutes=30)
    charger.stop(begun, meter=13_000)
    run_tasks()
    return begun


def test_a_later_end_changes_no_cdr_but_opens_the_way_to_correct_it(charger, second_end):
    assert charger.codes() == ["second_stop"]
    repair_item(item=charger.item("second_stop"), repair="attach_orphan_stop", actor=charger.actor)
    assert charger.codes() == ["cdr_outdated"]
    assert [cdr.total for cdr in cdrs(charger)] == [Decimal("4.90")]
    repair_item(item=charger.item("cdr_outdated"), repair="correct_cdr", actor=charger.actor, why="second end")
    first, credit, new = cdrs(charger)
    assert (credit.kind, credit.credits, credit.total) == ("credit", first, Decimal("-4.90"))
    assert (new.kind, new.version, new.energy_wh, new.total) == ("cdr", 2, 12_000, Decimal("5.88"))
    assert list(Cdr.objects.visible_to(charger.actor).standing()) == [new]
    assert [item.amount for item in credit.items.all()] == [Decimal("-4.90")]
    assert [item.quantity for item in credit.items.all()] == [10_000]
    assert AuditEntry.objects.visible_to(charger.actor).filter(action="cdr.credited", why="second end").exists()
    assert charger.codes() == []


def test_a_session_voided_after_its_cdr_is_credited_and_not_priced_again(charger, second_end):
    repair_item(item=charger.item("second_stop"), repair="void_session", actor=charger.actor, why="was a test")
    repair_item(item=charger.item("cdr_outdated"), repair="correct_cdr", actor=charger.actor, why="was a test")
    assert [cdr.kind for cdr in cdrs(charger)] == ["cdr", "credit"]
    assert settlement(charger, second_end) == ("void", "")


def test_a_correction_needs_a_reason_and_the_right(charger, second_end):
    repair_item(item=charger.item("second_stop"), repair="attach_orphan_stop", actor=charger.actor)
    item = charger.item("cdr_outdated")
    with pytest.raises(CannotRepair):
        repair_item(item=item, repair="correct_cdr", actor=charger.actor, why=" ")
    rights = frozenset({"charging.repair_session"})
    technician = Actor(kind=Kind.SESSION, operator_id=charger.actor.operator_id, operator_wide=True, permissions=rights)
    with pytest.raises(PermissionDenied):
        repair_item(item=item, repair="correct_cdr", actor=technician, why="no right")
    assert len(cdrs(charger)) == 1


def test_late_readings_are_stored_and_change_nothing(charger, ours, contract):
    begun = charge(charger, ours)
    settle(charger)
    charger.wait(minutes=5)
    charger.measure(4000, transaction=begun)
    assert charger.codes() == []
    assert len(cdrs(charger)) == 1


# --- many, and what was missed ----------------------------------------------------------------------------------------


def test_a_session_that_no_event_told_of_is_found(charger, ours, contract):
    begun = charger.start(card=ours.token.uid)
    charger.wait(minutes=10)
    charger.stop(begun, meter=2000)
    assert services.find_unsettled(now=charger.now) == 1
    assert settle(charger) == 1
    assert services.find_unsettled(now=charger.now) == 0


def test_a_session_that_cannot_be_rated_holds_no_other_one_back(charger, ours, contract, monkeypatch):
    bad, good = charge(charger, ours, wh=1), charge(charger, ours)
    real = settling.rate

    def rate(usage, *rest):
        if usage.meter_stop - usage.meter_start == 1:
            raise ZeroDivisionError
        return real(usage, *rest)

    monkeypatch.setattr(settling, "rate", rate)
    settle(charger)
    assert (settlement(charger, bad), settlement(charger, good)) == (("held", "failed"), ("priced", ""))


def test_a_chunk_makes_a_handful_of_queries_however_many_sessions(charger, ours, contract):
    def queries(count: int) -> int:
        for _ in range(count):
            charge(charger, ours, minutes=10)
        with CaptureQueriesContext(connection) as found:
            settle(charger)
        return len(found)

    assert queries(1) == queries(6)
