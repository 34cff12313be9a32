"""Contracts whose terms change at a date."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.core.exceptions import PermissionDenied, ValidationError

from apps.accounts.models import AuditEntry
from apps.accounts.permissions import Role, of_role
from apps.contracts import selectors, services
from apps.contracts.models import BillingAccount, Contract, ContractVersion
from apps.core.actor import Actor, Kind
from tests.factories.contracts import published_version

pytestmark = pytest.mark.django_db
START, TODAY = dt.date(2026, 1, 1), dt.date(2026, 11, 21)


@pytest.fixture
def account(ours, system) -> BillingAccount:
    party = services.create_party(actor=system, name="Elbe Freight GmbH", organisation=ours.fleet)
    return services.create_account(
        actor=system,
        party=party,
        number="K00007",
        name=party.name,
        street="Quay 7",
        city="Hamburg",
        country="DE",
        email="ap@elbe.example",
    )


@pytest.fixture
def tariff(ours):
    return published_version(ours.operator, name="Depot").tariff


@pytest.fixture
def contract(system, account, tariff) -> Contract:
    return create(system, account, tariff)


def create(system: Actor, account: BillingAccount, tariff, **given) -> Contract:
    given = {"number": "V00012", "currency": "EUR", "starts_on": START, "base_fee": Decimal("9.90"), **given}
    return services.create_contract(actor=system, account=account, tariff=tariff, **given)


def change(system: Actor, contract: Contract, tariff, valid_from: dt.date, fee: str = "0", **given) -> ContractVersion:
    given = {"today": TODAY, "why": "renegotiated", **given}
    return services.add_version(
        actor=system, contract=contract, valid_from=valid_from, tariff=tariff, base_fee=Decimal(fee), **given
    )


def terms_on(system: Actor, contract: Contract, day: dt.date) -> ContractVersion | None:
    found: ContractVersion | None = (
        ContractVersion.objects.visible_to(system).filter(contract=contract).in_force(day).first()
    )
    return found


def test_a_contract_begins_with_its_first_terms(system, contract, tariff):
    terms = terms_on(system, contract, TODAY)
    assert terms is not None
    assert (terms.number, terms.valid_from, terms.tariff, terms.base_fee) == (1, START, tariff, Decimal("9.90"))
    assert terms_on(system, contract, START - dt.timedelta(days=1)) is None


def test_terms_change_at_a_date_and_the_end_of_a_version_follows_from_the_next(ours, system, contract, tariff):
    other = published_version(ours.operator, name="Depot 2027").tariff
    change(system, contract, other, dt.date(2027, 1, 1))
    assert terms_on(system, contract, dt.date(2026, 12, 31)).tariff == tariff
    assert terms_on(system, contract, dt.date(2027, 1, 1)).tariff == other
    history = [
        (one.version.number, one.until, one.state(TODAY)) for one in selectors.history_of_terms(system, contract)
    ]
    assert history == [(2, None, "future"), (1, dt.date(2026, 12, 31), "present")]


def test_a_mistake_is_followed_by_terms_of_the_same_date(system, contract, tariff):
    for fee in ("5", "7"):
        change(system, contract, tariff, dt.date(2027, 1, 1), fee)
    assert terms_on(system, contract, dt.date(2027, 6, 1)).base_fee == 7
    states = [one.state(TODAY) for one in selectors.history_of_terms(system, contract)]
    assert states == ["future", "replaced", "present"]


def test_terms_written_later_for_an_earlier_day_hold_until_the_next(system, contract, tariff):
    change(system, contract, tariff, dt.date(2027, 3, 1), "3")
    change(system, contract, tariff, dt.date(2027, 2, 1), "2")
    history = [(one.version.base_fee, one.until) for one in selectors.history_of_terms(system, contract)]
    assert history == [
        (Decimal(3), None),
        (Decimal(2), dt.date(2027, 2, 28)),
        (Decimal("9.90"), dt.date(2027, 1, 31)),
    ]


def test_what_was_charged_is_not_priced_anew(system, contract, tariff):
    with pytest.raises(ValidationError, match="today at the earliest"):
        change(system, contract, tariff, TODAY - dt.timedelta(days=1))
    assert change(system, contract, tariff, TODAY).number == 2


def test_a_tariff_in_another_currency_is_refused(ours, system, account, contract):
    francs = published_version(ours.operator, currency="CHF").tariff
    with pytest.raises(ValidationError, match="in CHF, the contract in EUR"):
        change(system, contract, francs, TODAY)
    with pytest.raises(ValidationError, match="in CHF, the contract in EUR"):
        create(system, account, francs, number="V00013")
    assert not Contract.objects.visible_to(system).filter(number="V00013").exists()


def test_an_archived_tariff_is_refused(system, contract, tariff):
    tariff.archived_at = dt.datetime.now(dt.UTC)
    tariff.save()
    with pytest.raises(ValidationError, match="archived"):
        change(system, contract, tariff, TODAY)


class TestEnding:
    def end(self, system: Actor, contract: Contract, last_day: dt.date | None, today: dt.date = TODAY) -> Contract:
        return services.end_contract(actor=system, contract=contract, last_day=last_day, today=today, why="sold")

    def test_the_last_day_is_in(self, system, contract):
        ended = self.end(system, contract, TODAY)
        assert [ended.covers(TODAY), ended.covers(TODAY + dt.timedelta(days=1))] == [True, False]
        assert selectors.history_of_terms(system, ended)[0].until == TODAY

    def test_not_before_today(self, system, contract):
        with pytest.raises(ValidationError, match=r"Nov. 21, 2026 at the earliest"):
            self.end(system, contract, TODAY - dt.timedelta(days=1))

    def test_an_end_to_come_can_be_taken_back_and_a_past_one_not(self, system, contract):
        self.end(system, contract, TODAY)
        assert self.end(system, contract, None).ends_on is None
        self.end(system, contract, TODAY)
        with pytest.raises(ValidationError, match="has ended"):
            self.end(system, contract, None, today=TODAY + dt.timedelta(days=1))

    def test_no_terms_after_the_end(self, system, contract, tariff):
        ended = self.end(system, contract, TODAY)
        with pytest.raises(ValidationError, match=r"ends on Nov. 21, 2026"):
            change(system, ended, tariff, TODAY + dt.timedelta(days=1))

    def test_who_has_a_running_contract_stays_in_use(self, system, contract):
        party = contract.account.party
        with pytest.raises(ValidationError, match="not over yet"):
            services.archive_party(actor=system, party=party, today=TODAY, why="gone")
        with pytest.raises(ValidationError, match="not over yet"):
            services.archive_account(actor=system, account=contract.account, today=TODAY, why="gone")
        self.end(system, contract, TODAY)
        services.archive_party(actor=system, party=party, today=TODAY + dt.timedelta(days=1), why="gone")
        assert not BillingAccount.objects.visible_to(system).active().filter(party=party).exists()


def test_everything_is_audited_at_the_contract(system, contract, tariff):
    change(system, contract, tariff, TODAY, "12")
    services.end_contract(actor=system, contract=contract, last_day=TODAY, today=TODAY, why="sold")
    entries = AuditEntry.objects.visible_to(system).filter(object_type="contracts.contract", object_id=contract.pk)
    assert [(entry.action, entry.why) for entry in entries.order_by("pk")] == [
        ("contract.created", ""),
        ("contract.version_added", ""),
        ("contract.version_added", "renegotiated"),
        ("contract.ended", "sold"),
    ]


def test_only_those_who_may(ours, contract, account, tariff):
    for role in (Role.SUPPORT, Role.VIEWER, Role.TECHNICIAN):
        actor = Actor(
            kind=Kind.SESSION, operator_id=ours.operator.pk, operator_wide=True, permissions=of_role(role), label=role
        )
        with pytest.raises(PermissionDenied):
            create(actor, account, tariff, number="V2")
        with pytest.raises(PermissionDenied):
            change(actor, contract, tariff, TODAY)
        with pytest.raises(PermissionDenied):
            services.end_contract(actor=actor, contract=contract, last_day=TODAY, today=TODAY, why="x")


def test_nothing_of_another_operator(rival, ours, contract, account, tariff):
    foreign = Actor.system(rival.operator)
    with pytest.raises(ValidationError, match="belongs to another operator"):
        create(foreign, account, tariff, number="V2")
    with pytest.raises(Contract.DoesNotExist):
        change(foreign, contract, tariff, TODAY)
    assert terms_on(foreign, contract, TODAY) is None


def test_numbers_are_offered_in_the_form_of_the_last_one(system, contract):
    assert selectors.next_number(system, Contract) == "V00013"
    assert selectors.next_number(system, BillingAccount) == "K00008"
