"""An organisation's cards."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import OuterRef, Prefetch, QuerySet, Subquery
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import Membership, Organisation, User
from apps.cards.models import Token, TokenContract, TokenState
from apps.charging.models import Session
from apps.core.actor import Actor

VIEW, ORDER, BLOCK = "cards.view_token", "cards.order_token", "cards.block_token"
EXPIRED = "expired"
CARD_STATES = {**dict(TokenState.choices), EXPIRED: _("expired")}
# State → a status that parts.status_chip knows by icon and tone.
_LOOKS: dict[str, str] = {
    TokenState.ACTIVE: "Available",
    TokenState.ORDERED: "awaiting",
    TokenState.SHIPPED: "awaiting",
}


@dataclass(frozen=True, slots=True)
class CardRow:
    """A card. `state` is a key of `CARD_STATES`, `look` a status of that tone; `zone` is the operator's."""

    public_id: UUID
    name: str
    number: str
    holder: str
    organisation: str
    state: str
    state_word: str
    look: str
    contract: str
    expires_at: dt.datetime | None
    last_used: dt.datetime | None
    zone: str
    may_block: bool
    may_report: bool


def sees_cards(actor: Actor) -> bool:
    """Whether the actor looks after cards: a driver does not, whose sessions name them."""
    return VIEW in actor.permissions.union(*_rights_of_staff(actor))


def ordering_organisations(actor: Actor) -> QuerySet[Organisation]:
    """The organisations for which the actor orders cards as one of them; the operator's people have the back office."""
    ids = [pk for pk, held in actor.organisations.items() if ORDER in held]
    rows: QuerySet[Organisation] = Organisation.objects.visible_to(actor).active().filter(pk__in=ids).order_by("name")
    return rows


def orders_cards(actor: Actor) -> bool:
    """Whether there are any such organisations: no query."""
    return any(ORDER in held for held in actor.organisations.values())


def possible_holders(actor: Actor) -> list[User]:
    """The people of those organisations, by name."""
    members = Membership.objects.visible_to(actor).current().filter(organisation__in=ordering_organisations(actor))
    people = User.objects.visible_to(actor).filter(pk__in=members.values("user"))
    return sorted(people, key=lambda user: user.get_full_name().casefold())


def visible_cards(actor: Actor, *, today: dt.date) -> QuerySet[Token]:
    """The actor's cards, each with `last_used` and today's contracts."""
    contracts = TokenContract.objects.visible_to(actor).in_force(today).select_related("contract")
    sessions = Session.objects.unscoped("joined to cards that are scoped").filter(
        token=OuterRef("pk"), organisation=OuterRef("organisation")
    )
    rows: QuerySet[Token] = Token.objects.visible_to(actor)
    if not actor.operator_wide:
        rows = rows.exclude(organisation__in=actor.driver_of)
    return (
        rows.select_related("holder", "organisation", "operator")
        .prefetch_related(Prefetch("contracts", queryset=contracts))
        .annotate(last_used=Subquery(sessions.order_by("-started_at").values("started_at")[:1]))
        .order_by("label", "visual_number", "pk")
    )


def card_rows(actor: Actor, cards: Iterable[Any], *, now: dt.datetime) -> list[CardRow]:
    """Typed rows of a page of `visible_cards`, without a query of their own."""
    return [_card_row(actor, card, now) for card in cards]


def _card_row(actor: Actor, card: Any, now: dt.datetime) -> CardRow:
    state = EXPIRED if card.state == TokenState.ACTIVE and card.is_expired(now) else card.state
    bound = card.contracts.all()
    may = actor.can(BLOCK, organisation_id=card.organisation_id)
    return CardRow(
        public_id=card.public_id,
        name=str(card),
        number=card.visual_number or card.uid or "",
        holder=card.holder.get_full_name() if card.holder else "",
        organisation=str(card.organisation or ""),
        state=state,
        state_word=str(CARD_STATES[state]),
        look=_LOOKS.get(state, "Unavailable"),
        contract=str(bound[0].contract) if bound else "",
        expires_at=card.expires_at,
        last_used=card.last_used,
        zone=card.operator.time_zone,
        may_block=may and card.state not in (TokenState.BLOCKED, TokenState.LOST),
        may_report=may and card.state not in (TokenState.ORDERED, TokenState.LOST),
    )


def _rights_of_staff(actor: Actor) -> list[frozenset[str]]:
    return [held for pk, held in actor.organisations.items() if pk not in actor.driver_of]
