"""A session's way to its CDR: when, at what price, what holds it back, and how a wrong one is put right."""

from __future__ import annotations

import datetime as dt
import importlib
from decimal import Decimal

import pytest
from django.apps import apps as django_apps
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.accounts.models import AuditEntry
from apps.accounts.permissions import Role
from apps.cards.models import TokenContract
from apps.cards.services import assign_contract
from apps.charging import services
from apps.charging.models import Cdr, RatedItem, Session, Settlement
from apps.charging.services import CannotRepair, judging, repair_item
from apps.contracts.models import ContractVersion
from apps.core.actor import Actor, Kind
from apps.installations.models import UnknownCardPolicy
from apps.tariffs.models import TariffVersion, VatRate
from tests.charging.stored import Stored
from tests.factories.accounts import MembershipFactory, OrganisationFactory, SellerFactory, UserFactory
from tests.factories.clients import desk_of
from tests.factories.contracts import bind_card, create_contract, make_contract, published_version
from tests.factories.tasks import run_tasks
from tests.tariffs.worlds import element
from tests.tariffs.worlds import price as price_of

pytestmark = pytest.mark.django_db
DELAY = dt.timedelta(minutes=15)
migration = importlib.import_module("apps.charging.migrations.0005_sellers_of_sessions")


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


def test_who_sold_the_power_when_the_session_began_sells_all_of_it(charger, ours, contract):
    begun, before = charger.start(card=ours.token.uid), ours.location.seller
    ours.location.seller = SellerFactory(operator=ours.operator)
    ours.location.save()
    charger.wait(minutes=60)
    charger.stop(begun, meter=11_000)
    run_tasks()
    settle(charger)
    assert cdrs(charger)[0].seller == before


def test_a_session_of_before_gets_the_seller_of_its_place(charger, ours, contract):
    begun = charge(charger, ours)
    Session.objects.visible_to(charger.actor).update(seller=None)
    migration.take_sellers_of_locations(django_apps, None)
    assert charger.session(begun).seller == ours.location.seller


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


def test_a_session_is_not_billed_to_another_organisation_than_the_card_s_then(charger, ours, contract):
    """A card that changed hands, and is bound for the days before as well."""
    theirs = OrganisationFactory(operator=ours.operator)
    TokenContract.everything.filter(token=ours.token).delete()
    begun = charge(charger, ours)
    bind_card(ours.token, create_contract(ours.operator, organisation=theirs))
    settle(charger)
    assert settlement(charger, begun) == ("held", "no_contract")


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


def test_a_session_is_held_since_its_reason_arose_however_often_it_is_looked_at(charger, ours, contract):
    TokenContract.everything.filter(token=ours.token).delete()
    begun = charge(charger, ours)
    rows = Settlement.objects.visible_to(charger.actor).filter(session=charger.session(begun))
    settle(charger)
    first = rows.get().since
    assert settle(charger, DELAY + dt.timedelta(hours=1)) == 1
    assert rows.get().since == first
    bind_card(ours.token, contract)
    VatRate.everything.filter(operator=ours.operator).delete()
    settle(charger, DELAY + dt.timedelta(hours=2))
    assert (rows.get().reason, rows.get().since) == ("no_vat", first + dt.timedelta(hours=2))


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


def test_of_first_terms_that_were_put_right_at_once_the_later_written_price(charger, ours, contract):
    dear = published_version(ours.operator, [element(price_of("ENERGY", "0.90"))])
    first = contract.versions.get()
    ContractVersion.everything.create(
        operator=ours.operator, contract=contract, number=2, valid_from=first.valid_from, tariff=dear.tariff
    )
    charge(charger, ours)
    settle(charger)
    assert cdrs(charger)[0].total == Decimal("9.00")


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


def test_a_cdr_that_was_accepted_as_it_is_stays_so_until_its_session_changes_again(charger, second_end):
    repair_item(item=charger.item("second_stop"), repair="attach_orphan_stop", actor=charger.actor)
    repair_item(item=charger.item("cdr_outdated"), repair="accept_as_is", actor=charger.actor, why="our own")
    assert charger.codes() == []
    charger.wait(minutes=30)
    charger.stop(second_end, meter=14_000)
    [again] = charger.open_items("second_stop")
    repair_item(item=again, repair="attach_orphan_stop", actor=charger.actor)
    [newer] = charger.open_items("cdr_outdated")
    assert newer.evidence["session_says"]["meter_stop_wh"] == 14_000


def test_a_correction_is_sold_where_and_by_whom_the_wrong_one_was(ours, charger, second_end):
    before = ours.location.seller
    ours.location.seller = SellerFactory(operator=ours.operator)
    ours.location.name, ours.location.country, ours.location.time_zone = "Moved", "NL", "America/New_York"
    ours.location.save()
    Session.objects.visible_to(charger.actor).update(seller=None)
    repair_item(item=charger.item("second_stop"), repair="attach_orphan_stop", actor=charger.actor)
    repair_item(item=charger.item("cdr_outdated"), repair="correct_cdr", actor=charger.actor, why="second end")
    first, _credit, new = cdrs(charger)
    assert (new.seller, new.country, new.place) == (before, "DE", first.place)
    assert new.supplied_on == first.supplied_on


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


class TestOneThatIsWrongItself:
    """Its session is right, and its contract or its VAT rate was not."""

    @pytest.fixture
    def wrong(self, charger, ours, contract) -> Cdr:
        charge(charger, ours)
        settle(charger)
        [cdr] = cdrs(charger)
        return cdr

    def url(self, cdr: Cdr) -> str:
        return reverse("admin:charging_cdr_correct", args=[cdr.pk])

    def test_its_page_offers_to_correct_it_once(self, charger, ours, wrong, desk):
        page = reverse("backoffice:session", args=[wrong.session_id])
        assert self.url(wrong) in desk.get(page).content.decode()
        TokenContract.everything.filter(token=ours.token).delete()
        right = make_contract(ours)
        VatRate.everything.filter(operator=ours.operator).update(percent=16)
        answer = desk.post(self.url(wrong), {"why": "wrong contract"}, follow=True)
        first, credit, new = cdrs(charger)
        assert (credit.credits, credit.total, new.account) == (first, -first.total, right.account)
        assert [item.vat_percent for item in new.items.all()] == [16]
        assert AuditEntry.objects.visible_to(charger.actor).filter(action="cdr.credited", why="wrong contract").exists()
        shown = answer.content.decode()
        assert (self.url(first) in shown, self.url(credit) in shown, self.url(new) in shown) == (False, False, True)

    def test_not_where_the_new_one_would_say_the_same(self, charger, wrong, desk):
        page = desk.post(self.url(wrong), {"why": "just so"})
        assert "would say the same" in page.content.decode()
        assert cdrs(charger) == [wrong]
        assert settlement(charger, wrong.session.transaction_id) == ("priced", "")

    def test_a_cdr_without_a_contract_any_more_is_taken_back_and_its_session_waits(self, charger, ours, wrong, desk):
        TokenContract.everything.filter(token=ours.token).delete()
        desk.post(self.url(wrong), {"why": "not ours"})
        assert [cdr.kind for cdr in cdrs(charger)] == ["cdr", "credit"]
        assert settlement(charger, wrong.session.transaction_id) == ("held", "no_contract")

    def test_a_doubt_about_it_is_settled_with_it(self, charger, ours, wrong):
        charger.wait(minutes=30)
        charger.stop(wrong.session.transaction_id, meter=13_000)
        repair_item(item=charger.item("second_stop"), repair="attach_orphan_stop", actor=charger.actor)
        services.replace_cdr(actor=charger.actor, cdr=wrong, why="second end")
        assert (charger.codes(), cdrs(charger)[-1].energy_wh) == ([], 12_000)

    def test_it_needs_the_right(self, ours, charger, wrong):
        support = UserFactory()
        MembershipFactory(operator=ours.operator, user=support, role=Role.SUPPORT)
        client = desk_of(support)
        assert client.post(self.url(wrong), {"why": "please"}).status_code == 403
        page = client.get(reverse("backoffice:session", args=[wrong.session_id])).content.decode()
        assert self.url(wrong) not in page
        assert cdrs(charger) == [wrong]


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
    real = judging.rate

    def rate(usage, *rest):
        if usage.meter_stop - usage.meter_start == 1:
            raise ZeroDivisionError
        return real(usage, *rest)

    monkeypatch.setattr(judging, "rate", rate)
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
