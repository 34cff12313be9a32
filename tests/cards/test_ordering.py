"""Cards that a fleet orders: without a UID until they are sent, refused until they are activated."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import DatabaseError, transaction

from apps.accounts.models import AuditEntry
from apps.accounts.permissions import Role, of_role
from apps.cards import services
from apps.cards.models import Token, TokenState
from apps.core.actor import Actor, Kind
from tests.factories.accounts import OrganisationFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def manager(ours) -> Actor:
    return Actor(
        kind=Kind.SESSION,
        operator_id=ours.operator.pk,
        user=ours.manager,
        organisations={ours.fleet.pk: of_role(Role.MANAGER)},
        label=ours.manager.email,
    )


def order(actor: Actor, organisation, *cards: dict, **given) -> list[Token]:
    given = {"address": "Quay 7\n20457 Hamburg", "why": "two new drivers", **given}
    return services.order_tokens(actor=actor, organisation=organisation, cards=cards, **given)


def test_a_fleet_orders_and_the_operator_sends_and_activates(ours, manager, system):
    first, second = order(manager, ours.fleet, {"label": "Van 1", "holder": ours.driver}, {"label": "Van 2"})
    assert [first.uid, second.uid, first.state, first.order] == [None, None, TokenState.ORDERED, second.order]
    assert first.order.address == "Quay 7\n20457 Hamburg"
    assert first.order.ordered_by == ours.manager
    assert set(Token.objects.visible_to(manager)) >= {first, second}
    with pytest.raises(ValidationError, match="UID of this card is not known"):
        services.activate_token(actor=system, token=first, why="early")
    sent = services.ship_token(actor=system, token=first, uid="04:a2:b3:c4", visual_number="NL-1")
    assert [sent.uid, sent.visual_number, sent.state] == ["04A2B3C4", "NL-1", TokenState.SHIPPED]
    services.activate_token(actor=system, token=sent, why="it arrived")
    assert [entry.action for entry in AuditEntry.objects.visible_to(system).filter(object_id=first.pk).order_by("pk")][
        -3:
    ] == ["token.ordered", "token.shipped", "token.active"]


def test_a_card_is_sent_once_and_with_a_uid_of_its_own(ours, manager, system):
    first, second = order(manager, ours.fleet, {"label": "1"}, {"label": "2"})
    services.ship_token(actor=system, token=first, uid="04A2B3C4")
    with pytest.raises(ValidationError, match="Only a card that was ordered"):
        services.ship_token(actor=system, token=first, uid="04A2B3C5")
    with pytest.raises(ValidationError, match="a card with this UID already"):
        services.ship_token(actor=system, token=second, uid="04-a2-b3-c4")
    with pytest.raises(ValidationError, match="UID is missing"):
        services.ship_token(actor=system, token=second, uid=" ")


def test_an_order_can_be_called_off_before_it_is_sent(ours, manager):
    [card] = order(manager, ours.fleet, {"label": "Van 1"})
    services.block_token(actor=manager, token=card, why="not needed any more")
    assert card.state == TokenState.BLOCKED


def test_an_order_that_was_called_off_is_sent_after_all(ours, manager, system):
    [card] = order(manager, ours.fleet, {"label": "Van 1"})
    services.block_token(actor=manager, token=card, why="not needed any more")
    sent = services.ship_token(actor=system, token=card, uid="04A2B3C4")
    assert sent.state == TokenState.SHIPPED
    entry = AuditEntry.objects.visible_to(system).get(action="token.shipped")
    assert entry.before == {"state": "blocked"}
    services.block_token(actor=manager, token=sent, why="lorry sold")
    with pytest.raises(ValidationError, match="Only a card that was ordered"):
        services.ship_token(actor=system, token=sent, uid="04A2B3C5")


def test_a_card_that_was_not_sent_yet_is_not_lost(ours, manager):
    [card] = order(manager, ours.fleet, {"label": "Van 1"})
    with pytest.raises(ValidationError, match="not sent yet"):
        services.report_lost(actor=manager, token=card, why="where is it?")
    assert Token.objects.visible_to(manager).get(pk=card.pk).state == TokenState.ORDERED


def test_a_card_without_a_uid_cannot_be_active(ours, manager):
    [card] = order(manager, ours.fleet, {"label": "Van 1"})
    with pytest.raises(DatabaseError), transaction.atomic():
        Token.everything.filter(pk=card.pk).update(state=TokenState.ACTIVE)


def test_only_for_an_own_organisation_and_its_people(ours, rival, manager):
    with pytest.raises(PermissionDenied):
        order(manager, OrganisationFactory(operator=ours.operator), {"label": "x"})
    with pytest.raises(PermissionDenied):
        order(manager, rival.fleet, {"label": "x"})
    for holder in (rival.driver, ours.owner):
        with pytest.raises(ValidationError, match="somebody of the organisation"):
            order(manager, ours.fleet, {"label": "x", "holder": holder})
    driver = Actor(kind=Kind.SESSION, operator_id=ours.operator.pk, organisations={ours.fleet.pk: of_role(Role.DRIVER)})
    with pytest.raises(PermissionDenied):
        order(driver, ours.fleet, {"label": "x"})


@pytest.mark.parametrize("cards", [[], [{"label": "x"}] * 201])
def test_an_order_has_a_sensible_size(ours, manager, cards):
    with pytest.raises(ValidationError, match="1 to 200"):
        order(manager, ours.fleet, *cards)


def test_an_order_needs_an_address(ours, manager):
    with pytest.raises(ValidationError):
        order(manager, ours.fleet, {"label": "x"}, address=" ")
