"""A card's life, and what the gateway answers at each point of it."""

from __future__ import annotations

import datetime as dt

import pytest
from django.core.exceptions import PermissionDenied, ValidationError

from apps.accounts.models import AuditEntry
from apps.cards import services
from apps.cards.models import ByteOrder, TokenState
from apps.core.actor import Actor, Kind
from tests.charging.stored import Stored
from tests.factories.cards import TokenFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def charger(ours) -> Stored:
    return Stored(ours)


def answer(charger: Stored, uid: str) -> str:
    return str(charger.send("Authorize", idTag=uid)["idTagInfo"]["status"])


def test_a_card_blocked_in_the_back_office_is_blocked_at_the_next_authorize(charger, ours, system):
    assert answer(charger, ours.token.uid) == "Accepted"
    services.block_token(actor=system, token=ours.token, why="employee left")
    assert answer(charger, ours.token.uid) == "Blocked"
    services.activate_token(actor=system, token=ours.token, why="came back")
    assert answer(charger, ours.token.uid) == "Accepted"


def test_a_lost_card_is_blocked_at_the_next_authorize(charger, ours, system):
    services.report_lost(actor=system, token=ours.token, why="lost on the train")
    assert answer(charger, ours.token.uid) == "Blocked"


@pytest.mark.parametrize("state", [TokenState.ORDERED, TokenState.SHIPPED])
def test_a_card_that_is_not_activated_yet_is_invalid_until_it_is(charger, ours, system, state):
    token = TokenFactory(operator=ours.operator, state=state)
    assert answer(charger, token.uid) == "Invalid"
    services.activate_token(actor=system, token=token, why="arrived")
    assert answer(charger, token.uid) == "Accepted"


def test_a_card_is_expired_by_its_date_alone(charger, ours):
    today = dt.datetime.now(dt.UTC)
    past = TokenFactory(operator=ours.operator, expires_at=today - dt.timedelta(seconds=1))
    future = TokenFactory(operator=ours.operator, expires_at=today + dt.timedelta(days=1))
    assert answer(charger, past.uid) == "Expired"
    told = charger.send("Authorize", idTag=future.uid)["idTagInfo"]
    assert told["status"] == "Accepted"
    assert told["expiryDate"].startswith(f"{future.expires_at:%Y-%m-%dT%H:%M:%S}")


@pytest.mark.parametrize(
    ("order", "as_printed", "turned"),
    [
        (ByteOrder.AS_PRINTED, "Accepted", "Invalid"),
        (ByteOrder.REVERSED, "Invalid", "Accepted"),
        (ByteOrder.EITHER, "Accepted", "Accepted"),
    ],
)
def test_the_byte_order_in_which_a_card_is_read_is_data_of_the_card(charger, ours, order, as_printed, turned):
    TokenFactory(operator=ours.operator, uid="04A2B3C4", byte_order=order)
    assert answer(charger, "04:a2:b3:c4") == as_printed
    assert answer(charger, "C4B3A204") == turned


def test_another_operator_s_card_is_not_known(charger, rival):
    assert answer(charger, rival.token.uid) == "Invalid"


def test_a_change_of_state_is_audited_with_its_reason(ours, system):
    services.block_token(actor=system, token=ours.token, why="employee left")
    entry = AuditEntry.objects.visible_to(system).get(action="token.blocked")
    assert (entry.before, entry.after, entry.why) == ({"state": "active"}, {"state": "blocked"}, "employee left")


def test_a_state_is_not_changed_without_a_reason_or_the_permission(ours, system):
    viewer = Actor(kind=Kind.SESSION, operator_id=ours.operator.pk, user=ours.owner, operator_wide=True)
    with pytest.raises(ValidationError):
        services.block_token(actor=system, token=ours.token, why=" ")
    with pytest.raises(PermissionDenied):
        services.block_token(actor=viewer, token=ours.token, why="spite")
    ours.token.refresh_from_db(from_queryset=type(ours.token).objects.visible_to(system))
    assert ours.token.state == "active"
