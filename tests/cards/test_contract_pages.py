"""Cards and contracts in the back office: binding, ending, many at once, what a card pays, orders that are sent."""

from __future__ import annotations

import datetime as dt

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.accounts.models import Membership, Organisation
from apps.accounts.permissions import Role
from apps.accounts.selectors import operator_today
from apps.cards import services
from apps.cards.models import CardOrder, Token, TokenContract, TokenState
from apps.contracts.models import Contract
from apps.installations.services import change_imported
from tests.factories.accounts import MembershipFactory, OrganisationFactory, UserFactory
from tests.factories.cards import TokenFactory
from tests.factories.clients import desk_of
from tests.factories.contracts import bind_card, create_contract, make_contract
from tests.factories.forms import filled_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def contract(ours) -> Contract:
    return make_contract(ours, bind=False)


@pytest.fixture
def card(ours) -> Token:
    return TokenFactory(operator=ours.operator, organisation=ours.fleet, label="Van 1", contract=False)


def url_of(card: Token, action: str = "change") -> str:
    return reverse(f"admin:cards_token_{action}", args=[card.pk])


def wanted(contract: Contract, first: str = "2026-11-01", **given) -> dict:
    return {"contract": contract.pk, "valid_from": first, "valid_to": "", "why": "agreed", **given}


def seen_in(page: str) -> str:
    return filled_in(page)["seen"][0]


def test_a_card_is_bound_on_its_page_and_shows_its_history(desk, contract, card):
    assert "on no contract" in desk.get(url_of(card)).content.decode()
    assert desk.post(url_of(card, "bind"), wanted(contract)).status_code == 302
    page = desk.get(url_of(card)).content.decode()
    assert contract.number in page
    assert "Nov. 1, 2026" in page
    assert "agreed" in desk.get(url_of(card, "history")).content.decode()


def test_what_is_in_the_way_is_said_in_the_form(ours, desk, contract, card):
    desk.post(url_of(card, "bind"), wanted(contract))
    other = create_contract(ours.operator, organisation=ours.fleet)
    page = desk.post(url_of(card, "bind"), wanted(other, "2026-12-01")).content.decode()
    assert f"bound to contract {contract}" in page


class TestWhoseItIs:
    """A card follows its organisation; one that is on a contract cannot leave it behind."""

    @pytest.fixture
    def other(self, ours) -> Organisation:
        return OrganisationFactory(operator=ours.operator, name="Alster Taxi")

    def edit(self, desk: Client, card: Token, organisation: Organisation | None):
        fields = {"uid": card.uid, "byte_order": "as_printed", "label": card.label, "type": "RFID"}
        return desk.post(url_of(card), {**fields, "organisation": organisation.pk if organisation else ""})

    @pytest.mark.parametrize("begins_in", [-30, 30])
    def test_a_card_on_a_contract_keeps_its_organisation(self, desk, contract, card, other, begins_in):
        bind_card(card, contract, operator_today(card.operator_id) + dt.timedelta(days=begins_in))
        page = self.edit(desk, card, other)
        [said] = page.context["adminform"].form.errors["organisation"]
        assert said == f"The card belongs to Alster Taxi, contract {contract} to Amber Logistics."

    def test_one_whose_contract_is_over_or_anybody_s_may_go(self, desk, contract, card, other, system):
        bind_card(card, contract, dt.date(2025, 1, 1), dt.date(2025, 12, 31))
        for owner in (other, None):
            assert self.edit(desk, card, owner).status_code == 302
            assert Token.objects.visible_to(system).get(pk=card.pk).organisation == owner

    def test_it_keeps_an_organisation_and_a_holder_that_are_no_choice_any_more(self, ours, rival, desk, card, system):
        card.holder = ours.driver
        card.save()
        Organisation.everything.filter(pk=ours.fleet.pk).update(archived_at=timezone.now())
        Membership.everything.filter(user=ours.driver).update(ended_at=timezone.now())
        posted = filled_in(desk.get(url_of(card)).content.decode()) | {"label": ["Van 2"]}
        assert desk.post(url_of(card), posted).status_code == 302
        found = Token.objects.visible_to(system).get(pk=card.pk)
        assert (found.label, found.organisation, found.holder) == ("Van 2", ours.fleet, ours.driver)
        for name, foreign in (("organisation", rival.fleet), ("holder", rival.driver), ("holder", UserFactory())):
            refused = desk.post(url_of(card), posted | {name: [foreign.pk]})
            assert name in refused.context["adminform"].form.errors

    def test_a_file_does_not_move_it_either(self, ours, contract, card, other, system):
        bind_card(card, contract)
        card.organisation = other
        with pytest.raises(ValidationError, match="belongs to Alster Taxi"):
            change_imported(actor=system, row=card, values={"organisation": other}, before={"organisation": ours.fleet})


def test_a_binding_is_ended(ours, desk, contract, card, system):
    row = services.assign_contract(
        actor=system, token=card, contract=contract, valid_from=dt.date(2026, 1, 1), why="agreed"
    )
    desk.post(url_of(card, "unbind"), {"assignment": row.pk, "last_day": "2026-06-30", "why": "left"})
    assert TokenContract.objects.visible_to(system).get(pk=row.pk).valid_to == dt.date(2026, 6, 30)
    foreign = TokenContract.objects.visible_to(system).exclude(token=card).first()
    page = desk.post(url_of(card, "unbind"), {"assignment": foreign.pk, "last_day": "2026-06-30", "why": "x"})
    assert page.status_code == 200


def test_contracts_and_cards_of_another_operator_are_no_choice(rival, desk, card):
    page = desk.post(url_of(card, "bind"), wanted(make_contract(rival, bind=False)))
    assert "contract" in page.context["form"].errors
    assert not TokenContract.everything.filter(token=card).exists()


class TestMany:
    @pytest.fixture
    def cards(self, ours) -> list[Token]:
        return [TokenFactory(operator=ours.operator, label=f"Lorry {n}", contract=False) for n in range(3)]

    def ask(self, desk: Client, cards: list[Token], **given):
        data = {"action": "bind_selected", "_selected_action": [card.pk for card in cards], **given}
        return desk.post("/cards/token/", data)

    def test_first_what_then_a_preview_then_it_is_done(self, desk, contract, cards, system):
        asked = self.ask(desk, cards).content.decode()
        assert "3 cards are chosen" in asked
        assert ">Bind them</button>" not in asked
        services.assign_contract(
            actor=system, token=cards[1], contract=contract, valid_from=dt.date(2026, 11, 9), why="before"
        )
        preview = self.ask(desk, cards, **wanted(contract)).content.decode()
        assert "2 cards are bound:" in preview
        assert "1 card stays as it is:" in preview
        assert "since Nov. 9, 2026" in preview
        assert TokenContract.everything.filter(contract=contract).count() == 1
        other = self.ask(desk, cards, **wanted(contract, "2026-11-02"), confirmed="1", seen=seen_in(preview))
        assert "2 cards are bound:" in other.content.decode()  # something else than what was looked at
        assert TokenContract.everything.filter(contract=contract).count() == 1
        done = self.ask(desk, cards, **wanted(contract), confirmed="1", seen=seen_in(preview))
        assert done.status_code == 302
        assert TokenContract.everything.filter(contract=contract).count() == 3
        told = desk.get("/cards/token/").content.decode()
        assert "2 cards are bound." in told
        assert "1 card stays as it was." in told

    def test_without_a_reason_nothing_is_previewed(self, desk, contract, cards):
        page = self.ask(desk, cards, **wanted(contract, why=""))
        assert page.context["form"].errors
        assert not page.context["previewed"]

    def test_another_operator_s_cards_are_left_alone(self, desk, contract, cards, rival):
        preview = self.ask(desk, [rival.token, cards[0]], **wanted(contract)).content.decode()
        self.ask(desk, [rival.token, cards[0]], **wanted(contract), confirmed="1", seen=seen_in(preview))
        assert list(TokenContract.everything.filter(contract=contract).values_list("token", flat=True)) == [cards[0].pk]

    def test_support_may_not(self, ours, contract, cards):
        support = UserFactory()
        MembershipFactory(operator=ours.operator, user=support, role=Role.SUPPORT)
        self.ask(desk_of(support), cards, **wanted(contract), confirmed="1")
        assert not TokenContract.everything.filter(contract=contract).exists()


class TestPrice:
    """The explain box: what does this card pay here?"""

    def steps(self, desk: Client, card: Token, **asked) -> list[str]:
        return [step.found for step in desk.get(url_of(card), asked).context["price_path"].steps]

    def test_the_way_to_the_price_is_shown_with_the_price(self, ours, desk):
        contract = make_contract(ours)
        page = desk.get(url_of(ours.token))
        path = page.context["price_path"]
        assert path.missing == ""
        assert path.contract == contract
        assert "€0.49 per kWh" in page.content.decode()

    def test_a_day_and_a_place_are_asked_for(self, ours, desk):
        make_contract(ours)
        place = ours.location.pk
        assert len(self.steps(desk, ours.token, place=place, on="2026-11-20")) >= 4
        before = desk.get(url_of(ours.token), {"place": place, "on": "2020-01-01"})
        assert before.context["price_path"].missing == "no_contract"
        assert "would be held until this is put right" in before.content.decode()

    def test_a_foreign_place_or_a_wrong_day_has_no_answer(self, ours, rival, desk):
        for asked in ({"place": rival.location.pk, "on": "2026-11-20"}, {"place": ours.location.pk, "on": "soon"}):
            page = desk.get(url_of(ours.token), asked)
            assert page.status_code == 200
            assert "price_path" not in page.context


def test_the_list_finds_cards_without_a_contract(ours, desk, card):
    def shown(bound: str) -> set[str]:
        found = desk.get("/cards/token/", {"bound": bound}).context["cl"].result_list
        return {token.label for token in found}

    assert shown("no") == {"Van 1"}
    assert shown("yes") == {"Amber card"}
    assert shown("") == {"Van 1", "Amber card"}


def test_a_card_whose_contract_ended_has_none(ours, desk, card):
    yesterday = operator_today(ours.operator.pk) - dt.timedelta(days=1)
    ended = make_contract(ours, bind=False, ends_on=yesterday)
    bind_card(card, ended)
    [found] = desk.get("/cards/token/", {"bound": "no"}).context["cl"].result_list
    assert (found.label, found.bound_today) == ("Van 1", [])
    assert ">past<" in "".join(desk.get(url_of(card)).content.decode().split())


def test_an_order_is_seen_sent_and_activated(ours, desk, system):
    [card] = services.order_tokens(
        actor=system, organisation=ours.fleet, cards=[{"label": "Van 7"}], address="Quay 7", why="new driver"
    )
    order = CardOrder.objects.visible_to(system).get()
    assert "Van 7" in desk.get(reverse("admin:cards_cardorder_change", args=[order.pk])).content.decode()
    page = desk.get("/cards/cardorder/").content.decode()
    assert str(order) in page
    refused = desk.post(url_of(card, "activate"), {"why": "early"})
    assert refused.status_code == 302  # no button for that, and no effect
    desk.post(url_of(card, "ship"), {"uid": "04:99:88:77", "visual_number": "NL-7", "why": ""})
    card = Token.objects.visible_to(system).get(pk=card.pk)
    assert (card.uid, card.visual_number, card.state) == ("04998877", "NL-7", TokenState.SHIPPED)
    desk.post(url_of(card, "activate"), {"why": "it arrived"})
    assert Token.objects.visible_to(system).get(pk=card.pk).state == TokenState.ACTIVE


def test_a_card_that_was_called_off_is_offered_to_be_sent(ours, desk, system):
    [card] = services.order_tokens(
        actor=system, organisation=ours.fleet, cards=[{"label": "Van 7"}], address="Quay 7", why="new driver"
    )
    services.block_token(actor=system, token=card, why="not needed any more")
    page = desk.get(url_of(card)).content.decode()
    assert (url_of(card, "ship") in page, url_of(card, "report_lost") in page) == (True, False)
    desk.post(url_of(card, "ship"), {"uid": "04:99:88:77", "visual_number": "", "why": ""})
    assert Token.objects.visible_to(system).get(pk=card.pk).state == TokenState.SHIPPED


def test_an_ordered_card_is_edited_without_a_uid_and_an_active_one_is_not(ours, desk, system, card):
    [ordered] = services.order_tokens(
        actor=system, organisation=ours.fleet, cards=[{"label": "Van 7"}], address="Quay 7", why="new driver"
    )
    data = {"uid": "", "byte_order": "as_printed", "label": "Van 8", "type": "RFID", "organisation": ours.fleet.pk}
    assert desk.post(url_of(ordered), data).status_code == 302
    assert Token.objects.visible_to(system).get(pk=ordered.pk).label == "Van 8"
    refused = desk.post(url_of(card), data)
    assert "The UID is missing." in str(refused.context["adminform"].form.errors["uid"])


def test_the_operator_s_date_is_the_one_of_its_zone(ours):
    assert operator_today(ours.operator.pk) in {
        dt.datetime.now(dt.UTC).date() + dt.timedelta(days=days) for days in (0, 1)
    }
