"""Changes to cards. A card blocked here is answered Blocked at its next Authorize: `charging` reads its state anew."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from apps.accounts.services import record_audit
from apps.cards.models import Token, TokenState
from apps.core.actor import Actor

_USABLE_FROM = (TokenState.ORDERED, TokenState.SHIPPED, TokenState.BLOCKED, TokenState.LOST)


def create_token(*, actor: Actor, uid: str, **fields: Any) -> Token:
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


def activate_token(*, actor: Actor, token: Token, why: str) -> Token:
    """From the next Authorize on, the card is accepted. Raises ValidationError where it is active already."""
    if not actor.can("cards.change_token"):
        raise PermissionDenied
    if token.state not in _USABLE_FROM:
        raise ValidationError(_("This card is active already."))
    return _set_state(actor, token, TokenState.ACTIVE, why)


def block_token(*, actor: Actor, token: Token, why: str) -> Token:
    """From the next Authorize on, the card is answered Blocked. Blocking a blocked card changes nothing."""
    _require_block(actor, token)
    return token if token.state == TokenState.BLOCKED else _set_state(actor, token, TokenState.BLOCKED, why)


def report_lost(*, actor: Actor, token: Token, why: str) -> Token:
    """The same for a card that nobody has any more."""
    _require_block(actor, token)
    return token if token.state == TokenState.LOST else _set_state(actor, token, TokenState.LOST, why)


def _require_block(actor: Actor, token: Token) -> None:
    rights = ("cards.block_token", "cards.change_token")
    if not any(actor.can(right, organisation_id=token.organisation_id) for right in rights):
        raise PermissionDenied


def _set_state(actor: Actor, token: Token, state: str, why: str) -> Token:
    if not why.strip():
        raise ValidationError({"why": _("Say why: this is kept with your name.")})
    before, token.state = token.state, state
    with transaction.atomic():
        token.save(update_fields=["state"])
        record_audit(
            actor=actor,
            action=f"token.{state}",
            target=token,
            before={"state": before},
            after={"state": state},
            why=why.strip(),
        )
    return token
