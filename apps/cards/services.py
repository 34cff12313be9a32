"""Changes to cards. A card blocked here is answered Blocked at its next Authorize: `charging` reads its state anew."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from apps.accounts.models import Membership, Organisation
from apps.accounts.services import record_audit
from apps.cards.events import CONTRACT_ASSIGNED
from apps.cards.models import CardOrder, Token, TokenContract, TokenState
from apps.contracts.models import Contract
from apps.core.actor import Actor, Kind
from apps.core.events import publish, publish_many
from apps.core.guards import require_reason

MAX_CARDS_AN_ORDER = 200
CHUNK = 25  # cards bound in one transaction
_USABLE_FROM = (TokenState.ORDERED, TokenState.SHIPPED, TokenState.BLOCKED, TokenState.LOST)


def create_token(*, actor: Actor, uid: str | None, **fields: Any) -> Token:
    """Make a card; `fields` are further columns of it, and its UID is kept in its normal form. Raises ValidationError
    (a UID known already, a foreign organisation), PermissionDenied."""
    if actor.operator_id is None or not actor.can("cards.add_token"):
        raise PermissionDenied
    token = Token(operator_id=actor.operator_id, uid=uid, **fields)
    with transaction.atomic():
        token.full_clean()
        token.save(force_insert=True)
        record_audit(actor=actor, action="token.created", target=token, after={"uid": token.uid, "state": token.state})
    return token


# --- ordering ---------------------------------------------------------------------------------------------------------
def order_tokens(
    *, actor: Actor, organisation: Organisation, cards: Sequence[Mapping[str, Any]], address: str, why: str
) -> list[Token]:
    """Order cards for an organisation: each of `cards` has a `label` and a `holder` (User or none). They have no UID
    until they are sent. Raises ValidationError, PermissionDenied."""
    if actor.operator_id is None or not actor.can("cards.order_token", organisation_id=organisation.pk):
        raise PermissionDenied
    if not 1 <= len(cards) <= MAX_CARDS_AN_ORDER:
        raise ValidationError(_("An order has 1 to %(most)d cards.") % {"most": MAX_CARDS_AN_ORDER})
    _require_members(organisation, [card["holder"].pk for card in cards if card.get("holder")])
    order = CardOrder(
        operator_id=actor.operator_id,
        organisation=organisation,
        address=address.strip(),
        ordered_by_id=actor.user_id if actor.kind is Kind.SESSION else None,
    )
    with transaction.atomic():
        order.full_clean(exclude=["ordered_by"])
        order.save(force_insert=True)
        tokens = [_ordered(order, card) for card in cards]
        after = {"cards": len(tokens), "address": order.address}
        record_audit(actor=actor, action="cardorder.placed", target=order, after=after, why=why.strip())
        for token in tokens:
            record_audit(actor=actor, action="token.ordered", target=token, after={"state": token.state})
    return tokens


def _require_members(organisation: Organisation, holders: Sequence[int]) -> None:
    members = Membership.objects.unscoped("people of the organisation that orders").current()
    people = set(members.filter(organisation=organisation, user__in=holders).values_list("user", flat=True))
    if not people.issuperset(holders):
        raise ValidationError(_("A card is held by somebody of the organisation."))


def _ordered(order: CardOrder, card: Mapping[str, Any]) -> Token:
    token = Token(
        operator_id=order.operator_id,
        order=order,
        organisation=order.organisation,
        label=str(card.get("label") or "").strip(),
        holder=card.get("holder"),
        state=TokenState.ORDERED,
    )
    token.full_clean()
    token.save(force_insert=True)
    return token


def ship_token(*, actor: Actor, token: Token, uid: str, visual_number: str = "", why: str = "") -> Token:
    """An ordered card is on its way: this is its UID and what is printed on it. One that was blocked before it had a
    UID is sent after all. Raises ValidationError."""
    if not actor.can("cards.change_token"):
        raise PermissionDenied
    with transaction.atomic():
        token = Token.objects.visible_to(actor).select_for_update(no_key=True).get(pk=token.pk)
        if not token.is_to_send:
            raise ValidationError(_("Only a card that was ordered can be sent."))
        before = {"state": token.state}
        token.uid, token.visual_number, token.state = uid, visual_number.strip(), TokenState.SHIPPED
        token.full_clean()
        token.save(update_fields=["uid", "visual_number", "state"])
        after = {"state": token.state, "uid": token.uid, "visual_number": token.visual_number}
        record_audit(
            actor=actor,
            action="token.shipped",
            target=token,
            before=before,
            after=after,
            why=why.strip(),
        )
    return token


# --- state ------------------------------------------------------------------------------------------------------------
def activate_token(*, actor: Actor, token: Token, why: str) -> Token:
    """From the next Authorize on, the card is accepted. Raises ValidationError where it is active already, or was not
    sent yet."""
    if not actor.can("cards.change_token"):
        raise PermissionDenied
    if token.state not in _USABLE_FROM:
        raise ValidationError(_("This card is active already."))
    if token.uid is None:
        raise ValidationError(_("The UID of this card is not known yet. Send it first: the UID is entered there."))
    return _set_state(actor, token, TokenState.ACTIVE, why)


def block_token(*, actor: Actor, token: Token, why: str) -> Token:
    """From the next Authorize on, the card is answered Blocked. Blocking a blocked card changes nothing."""
    _require_block(actor, token)
    return token if token.state == TokenState.BLOCKED else _set_state(actor, token, TokenState.BLOCKED, why)


def report_lost(*, actor: Actor, token: Token, why: str) -> Token:
    """The same for a card that nobody has any more. Raises ValidationError where nobody has it yet."""
    _require_block(actor, token)
    if token.is_to_send:
        raise ValidationError(_("This card was not sent yet, so that it cannot be lost."))
    return token if token.state == TokenState.LOST else _set_state(actor, token, TokenState.LOST, why)


def _require_block(actor: Actor, token: Token) -> None:
    rights = ("cards.block_token", "cards.change_token")
    if not any(actor.can(right, organisation_id=token.organisation_id) for right in rights):
        raise PermissionDenied


def _set_state(actor: Actor, token: Token, state: str, why: str) -> Token:
    why = require_reason(why)
    before, token.state = token.state, state
    with transaction.atomic():
        token.save(update_fields=["state"])
        record_audit(
            actor=actor,
            action=f"token.{state}",
            target=token,
            before={"state": before},
            after={"state": state},
            why=why,
        )
    return token


# --- which contract a card charges on ---------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Binding:
    """What is wanted of a card: its contract from one day to another, both in; without an end if `valid_to` is None.
    `replacing`: what it is bound to until then ends the day before."""

    contract: Contract
    valid_from: dt.date
    valid_to: dt.date | None = None
    replacing: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of one card: bound, or refused for this reason. `ends` is the binding that ends for it."""

    token: Token
    refusal: str = ""
    ends: TokenContract | None = None


def assign_contract(
    *,
    actor: Actor,
    token: Token,
    contract: Contract,
    valid_from: dt.date,
    valid_to: dt.date | None = None,
    replacing: bool = False,
    why: str,
) -> TokenContract:
    """Bind a card to a contract for a period. It may lie in the past: sessions that are held for want of a contract
    are priced then. Raises ValidationError where the card is bound already, PermissionDenied."""
    _require_assign(actor)
    why = require_reason(why)
    binding = Binding(contract, valid_from, valid_to, replacing)
    with transaction.atomic():
        outcome = next(iter(_outcomes(actor, [token.pk], binding, lock=True)), None)
        if outcome is None:
            raise PermissionDenied
        if outcome.refusal:
            raise ValidationError(outcome.refusal)
        row = _bind(actor, outcome, binding, why)
        publish(CONTRACT_ASSIGNED, token_ids=[token.pk], operator_id=row.operator_id)
    return row


def preview_assignments(*, actor: Actor, tokens: Collection[Token], binding: Binding) -> list[Outcome]:
    """What `assign_contracts` would do now, card by card. Changes nothing."""
    _require_assign(actor)
    return _outcomes(actor, [token.pk for token in tokens], binding)


def assign_contracts(*, actor: Actor, tokens: Collection[Token], binding: Binding, why: str) -> list[Outcome]:
    """Bind many cards, a few in a transaction; those that cannot be bound are left as they are, with the reason."""
    _require_assign(actor)
    why = require_reason(why)
    wanted, found = [token.pk for token in tokens], []
    for start in range(0, len(wanted), CHUNK):
        with transaction.atomic():
            outcomes = _outcomes(actor, wanted[start : start + CHUNK], binding, lock=True)
            bound = [_bind(actor, one, binding, why) for one in outcomes if not one.refusal]
            if bound:
                token_ids = [row.token_id for row in bound]
                publish_many(CONTRACT_ASSIGNED, [{"token_ids": token_ids, "operator_id": bound[0].operator_id}])
        found += outcomes
    return found


def end_assignment(
    *, actor: Actor, assignment: TokenContract, last_day: dt.date, today: dt.date, why: str
) -> TokenContract | None:
    """Set the last day on which a card charges on a contract. One before the first day takes the whole period back,
    as long as none of it is past. What was priced stays as it is. Raises ValidationError, PermissionDenied."""
    _require_assign(actor)
    why = require_reason(why)
    with transaction.atomic():
        _lock(actor, [assignment.token_id])
        rows = TokenContract.objects.visible_to(actor).select_related("token", "contract")
        row: TokenContract = rows.get(pk=assignment.pk)
        before = {"contract": str(row.contract), "valid_from": str(row.valid_from), "valid_to": _day(row.valid_to)}
        kept = last_day >= row.valid_from
        if not kept and row.valid_from < today:
            raise ValidationError(
                {"last_day": _("It began on %(day)s already.") % {"day": date_format(row.valid_from)}}
            )
        others = _overlapping(actor, [row.token_id], Binding(row.contract, row.valid_from, last_day))
        if kept and (other := next((one for one in others if one.pk != row.pk), None)) is not None:
            raise ValidationError({"last_day": _taken(other)})
        record_audit(
            actor=actor,
            action="token.contract_ended" if kept else "token.contract_withdrawn",
            target=row.token,
            before=before,
            after={"valid_to": str(last_day)} if kept else {},
            why=why,
        )
        publish(CONTRACT_ASSIGNED, token_ids=[row.token_id], operator_id=row.operator_id)
        if not kept:
            row.delete()
            return None
        row.valid_to = last_day
        row.save(update_fields=["valid_to"])
        return row


def _require_assign(actor: Actor) -> None:
    if not actor.can("cards.assign_contract"):
        raise PermissionDenied


def _lock(actor: Actor, tokens: Iterable[int]) -> list[Token]:
    """The cards, locked in one order: two who bind the same ones at once wait for each other."""
    return list(_cards(actor, tokens).select_for_update(no_key=True, of=("self",)))


def _cards(actor: Actor, tokens: Iterable[int]) -> QuerySet[Token]:
    rows: QuerySet[Token] = Token.objects.visible_to(actor).filter(pk__in=list(tokens)).order_by("pk")
    return rows.select_related("organisation")


def _outcomes(actor: Actor, tokens: Sequence[int], binding: Binding, *, lock: bool = False) -> list[Outcome]:
    contracts = Contract.objects.visible_to(actor).select_related("account__party__organisation")
    binding = replace(binding, contract=contracts.get(pk=binding.contract.pk))
    wrong = _fault_of(binding)
    rows = _lock(actor, tokens) if lock else list(_cards(actor, tokens))
    taken: dict[int, list[TokenContract]] = {}
    for row in _overlapping(actor, tokens, binding):
        taken.setdefault(row.token_id, []).append(row)
    return [Outcome(token, wrong) if wrong else _outcome(token, taken.get(token.pk, []), binding) for token in rows]


def _outcome(token: Token, taken: Sequence[TokenContract], binding: Binding) -> Outcome:
    if refusal := token.refusal_of(binding.contract):
        return Outcome(token, refusal)
    in_the_way = [one for one in taken if not binding.replacing or one.valid_from >= binding.valid_from]
    if len(taken) == 1 and taken[0].contract_id == binding.contract.pk and _holds_throughout(taken[0], binding):
        return Outcome(token, _("The card is on this contract then already."))
    if in_the_way:
        return Outcome(token, _taken(in_the_way[0]))
    return Outcome(token, ends=taken[0] if taken else None)


def _holds_throughout(row: TokenContract, binding: Binding) -> bool:
    begun = row.valid_from <= binding.valid_from
    return begun and (row.valid_to is None or (binding.valid_to is not None and binding.valid_to <= row.valid_to))


def _fault_of(binding: Binding) -> str:
    """Why nobody can be bound like this."""
    contract = binding.contract
    if binding.valid_to is not None and binding.valid_to < binding.valid_from:
        return _("It would end before it starts.")
    if binding.valid_from < contract.starts_on:
        return _("The contract starts on %(day)s.") % {"day": date_format(contract.starts_on)}
    if contract.ends_on is not None and binding.valid_from > contract.ends_on:
        return _("The contract ends on %(day)s.") % {"day": date_format(contract.ends_on)}
    return ""


def _overlapping(actor: Actor, tokens: Collection[int], binding: Binding) -> list[TokenContract]:
    rows = TokenContract.objects.visible_to(actor).filter(token__in=tokens).select_related("contract")
    rows = rows.filter(Q(valid_to=None) | Q(valid_to__gte=binding.valid_from))
    if binding.valid_to is not None:
        rows = rows.filter(valid_from__lte=binding.valid_to)
    return list(rows.order_by("token_id", "valid_from"))


def _taken(row: TokenContract) -> str:
    words = {"contract": row.contract, "first": date_format(row.valid_from)}
    if row.valid_to is None:
        return _("The card is bound to contract %(contract)s since %(first)s, without an end. End that first.") % words
    words["last"] = date_format(row.valid_to)
    return _("The card is bound to contract %(contract)s from %(first)s to %(last)s.") % words


def _bind(actor: Actor, outcome: Outcome, binding: Binding, why: str) -> TokenContract:
    token, ended = outcome.token, outcome.ends
    before: dict[str, Any] = {}
    if ended is not None:
        before = {"contract": str(ended.contract), "valid_to": _day(ended.valid_to)}
        ended.valid_to = binding.valid_from - dt.timedelta(days=1)
        ended.save(update_fields=["valid_to"])
    row = TokenContract(
        operator_id=token.operator_id,
        token=token,
        contract=binding.contract,
        valid_from=binding.valid_from,
        valid_to=binding.valid_to,
    )
    row.full_clean()
    row.save(force_insert=True)
    after = {
        "contract": str(binding.contract),
        "valid_from": str(binding.valid_from),
        "valid_to": _day(binding.valid_to),
    }
    record_audit(actor=actor, action="token.contract_assigned", target=token, before=before, after=after, why=why)
    return row


def _day(day: dt.date | None) -> str | None:
    return day.isoformat() if day is not None else None
