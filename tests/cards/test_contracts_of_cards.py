"""Which contract a card charges on: one a day, by period, and what moves it."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connections

from apps.accounts.models import AuditEntry
from apps.accounts.permissions import Role, of_role
from apps.cards import events as card_events
from apps.cards import services
from apps.cards.models import Token, TokenContract
from apps.contracts.models import Contract
from apps.core import events
from apps.core.actor import Actor, Kind
from tests.factories.accounts import OrganisationFactory
from tests.factories.cards import TokenFactory
from tests.factories.cast import Tenant, make_tenant
from tests.factories.contracts import create_contract, make_contract

DAY = dt.date(2026, 11, 1)
TODAY = dt.date(2026, 11, 21)


def day(number: int) -> dt.date:
    return DAY + dt.timedelta(days=number)


@pytest.fixture
def contract(ours) -> Contract:
    """The fleet's, with no card on it; the tenant's card has none."""
    return free(ours)


def free(tenant: Tenant) -> Contract:
    made = make_contract(tenant, bind=False)
    TokenContract.everything.filter(token=tenant.token).delete()
    return made


def bind(
    system: Actor, token: Token, contract: Contract, first: int, last: int | None = None, **given
) -> TokenContract:
    return services.assign_contract(
        actor=system,
        token=token,
        contract=contract,
        valid_from=day(first),
        valid_to=None if last is None else day(last),
        why="agreed",
        **given,
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("first", "last", "fits"),
    [(-9, -1, True), (-9, 0, False), (5, None, False), (10, 12, False), (11, None, True), (-9, None, False)],
)
def test_two_contracts_of_a_card_never_overlap(ours, system, contract, first, last, fits):
    bind(system, ours.token, contract, 0, 10)
    if fits:
        bind(system, ours.token, contract, first, last)
        return
    with pytest.raises(ValidationError, match="bound to contract"):
        bind(system, ours.token, contract, first, last)


@pytest.mark.django_db
def test_the_refusal_names_what_is_in_the_way(ours, system, contract):
    bind(system, ours.token, contract, 0)
    with pytest.raises(ValidationError, match=f"{contract.number}.* since Nov. 1, 2026, without an end"):
        bind(system, ours.token, create_contract(ours.operator, organisation=ours.fleet), 3, 4)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"first": 3, "last": 2}, "end before it starts"),
        ({"first": -1}, "starts on Nov. 1, 2026"),
        ({"first": 31}, "ends on Nov. 30, 2026"),
    ],
)
def test_a_card_is_bound_while_the_contract_runs(ours, system, given, text):
    contract = make_contract(ours, bind=False, starts_on=DAY, ends_on=day(29))
    with pytest.raises(ValidationError, match=text):
        bind(system, ours.token, contract, **given)


@pytest.mark.django_db
def test_an_organisation_s_card_is_on_a_contract_of_the_organisation(ours, system, contract):
    other = OrganisationFactory(operator=ours.operator, name="Alster Taxi")
    theirs = TokenFactory(operator=ours.operator, organisation=other, contract=False)
    with pytest.raises(ValidationError, match=f"belongs to Alster Taxi, contract {contract.number} to {ours.fleet}"):
        bind(system, theirs, contract, 0)
    nobodys = create_contract(ours.operator)
    with pytest.raises(ValidationError, match=f"{nobodys.account.party} with contract .* to no organisation"):
        bind(system, theirs, nobodys, 0)
    bind(system, theirs, create_contract(ours.operator, organisation=other), 0)


@pytest.mark.django_db
def test_a_card_without_organisation_is_on_any_contract(ours, system, contract):
    for found in (contract, create_contract(ours.operator)):
        bind(system, TokenFactory(operator=ours.operator, contract=False), found, 0)


@pytest.mark.django_db
def test_another_contract_takes_over_from_a_day_on(ours, system, contract):
    other = create_contract(ours.operator, organisation=ours.fleet)
    bind(system, ours.token, contract, 0)
    bind(system, ours.token, other, 10, replacing=True)
    rows = TokenContract.objects.visible_to(system).filter(token=ours.token).order_by("valid_from")
    assert [(row.contract, row.valid_from, row.valid_to) for row in rows] == [
        (contract, day(0), day(9)),
        (other, day(10), None),
    ]
    with pytest.raises(ValidationError):  # what begins on the same day is not ended before it began
        bind(system, ours.token, contract, 10, replacing=True)


@pytest.mark.django_db
def test_a_card_that_is_on_the_contract_already_stays_as_it_is(ours, system, contract):
    bind(system, ours.token, contract, 0)
    with pytest.raises(ValidationError, match="on this contract then already"):
        bind(system, ours.token, contract, 10, replacing=True)


@pytest.mark.django_db
def test_binding_is_told_to_those_who_price_held_sessions(ours, system, contract, monkeypatch):
    heard: list[dict] = []
    monkeypatch.setattr(services, "publish", lambda name, **payload: heard.append({"name": name, **payload}))
    bind(system, ours.token, contract, 0)
    assert heard == [
        {"name": card_events.CONTRACT_ASSIGNED, "token_ids": [ours.token.pk], "operator_id": ours.operator.pk}
    ]
    events.publish(card_events.CONTRACT_ASSIGNED, token_ids=[], operator_id=ours.operator.pk)


@pytest.mark.django_db
def test_binding_is_audited_at_the_card_with_its_reason(ours, system, contract):
    bind(system, ours.token, contract, 0)
    entry = AuditEntry.objects.visible_to(system).get(action="token.contract_assigned")
    assert entry.object_id == str(ours.token.pk)
    assert entry.why == "agreed"
    assert entry.after == {"contract": str(contract), "valid_from": "2026-11-01", "valid_to": None}


@pytest.mark.django_db
def test_binding_needs_a_reason_and_the_permission(ours, system, contract):
    given = {"token": ours.token, "contract": contract, "valid_from": DAY}
    with pytest.raises(ValidationError):
        services.assign_contract(actor=system, **given, why=" ")
    manager = Actor(
        kind=Kind.SESSION,
        operator_id=ours.operator.pk,
        user=ours.manager,
        organisations={ours.fleet.pk: of_role(Role.MANAGER)},
    )
    with pytest.raises(PermissionDenied):
        services.assign_contract(actor=manager, **given, why="mine")


@pytest.mark.django_db
def test_a_contract_or_card_of_another_operator_is_not_found(ours, rival, system, contract):
    with pytest.raises(Contract.DoesNotExist):
        bind(system, ours.token, make_contract(rival, bind=False), 0)
    with pytest.raises(PermissionDenied):
        bind(system, rival.token, contract, 0)
    assert not TokenContract.everything.filter(contract=contract).exists()


@pytest.mark.django_db
class TestEnding:
    @pytest.fixture
    def row(self, ours, system, contract) -> TokenContract:
        return bind(system, ours.token, contract, 0)

    def end(self, system: Actor, row: TokenContract, last: int, today: dt.date = TODAY) -> TokenContract | None:
        return services.end_assignment(actor=system, assignment=row, last_day=day(last), today=today, why="left")

    def test_the_last_day_is_in(self, ours, system, contract, row):
        ended = self.end(system, row, 5)
        assert ended is not None
        assert ended.valid_to == day(5)
        bind(system, ours.token, contract, 6)

    def test_it_does_not_reach_into_the_next(self, ours, system, contract, row):
        self.end(system, row, 5)
        bind(system, ours.token, contract, 8)
        self.end(system, row, 7)
        with pytest.raises(ValidationError, match="bound to contract"):
            self.end(system, row, 8)

    def test_what_has_begun_is_not_taken_back(self, system, row):
        with pytest.raises(ValidationError, match="began on"):
            self.end(system, row, -1)

    def test_what_has_not_begun_yet_is_taken_back_whole(self, ours, system, contract, row):
        assert self.end(system, row, -1, today=DAY) is None
        assert not TokenContract.everything.filter(token=ours.token).exists()
        bind(system, ours.token, contract, 0)


@pytest.mark.django_db
class TestMany:
    @pytest.fixture
    def cards(self, ours) -> list[Token]:
        return [TokenFactory(operator=ours.operator, label=f"Van {n}", contract=False) for n in range(30)]

    def test_the_preview_says_what_becomes_of_each_and_changes_nothing(self, system, contract, cards):
        bind(system, cards[3], contract, 0)
        before = TokenContract.everything.count()
        found = services.preview_assignments(actor=system, tokens=cards, binding=services.Binding(contract, day(5)))
        assert [one.token.label for one in found if one.refusal] == ["Van 3"]
        assert TokenContract.everything.count() == before

    def test_those_that_can_be_bound_are(self, system, contract, cards):
        bind(system, cards[3], contract, 0)
        done = services.assign_contracts(
            actor=system, tokens=cards, binding=services.Binding(contract, day(5)), why="new fleet"
        )
        assert sum(not one.refusal for one in done) == 29
        assert TokenContract.everything.filter(contract=contract, valid_from=day(5)).count() == 29

    def test_a_new_contract_takes_over_all_of_them(self, ours, system, contract, cards):
        new = create_contract(ours.operator)
        services.assign_contracts(actor=system, tokens=cards, binding=services.Binding(contract, day(0)), why="old")
        binding = services.Binding(new, day(5), replacing=True)
        done = services.assign_contracts(actor=system, tokens=cards, binding=binding, why="new")
        assert [one.refusal for one in done] == [""] * 30
        assert TokenContract.everything.filter(contract=contract, valid_to=day(4)).count() == 30


def test_of_two_who_bind_a_card_at_once_one_is_refused(own_database):
    tenant = make_tenant("Amber")
    system = Actor.system(tenant.operator)
    contracts = [free(tenant), create_contract(tenant.operator, organisation=tenant.fleet)]

    def try_to_bind(contract: Contract) -> str:
        try:
            bind(system, tenant.token, contract, 0)
        except ValidationError as refusal:
            return str(refusal.messages[0])
        finally:
            connections.close_all()
        return ""

    with ThreadPoolExecutor(2) as pool:
        refusals = list(pool.map(try_to_bind, contracts))
    assert sorted(map(bool, refusals)) == [False, True]
    assert TokenContract.everything.filter(token=tenant.token).count() == 1
