"""From an ended session to its CDR. A CDR is never changed: what was wrong is taken back by a credit, and made anew.

A session is due a while after its Stop was received. What holds it back is written down with its reason and looked
at again when that may have changed, and once an hour anyway.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Collection, Sequence
from itertools import groupby
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q

from apps.accounts.services import record_audit
from apps.charging.models import (
    Cdr,
    CdrKind,
    RatedItem,
    ReviewCode,
    ReviewItem,
    Session,
    SessionState,
    Settlement,
    SettlementState,
)
from apps.charging.services.judging import Chunk, Judgement, rated_items
from apps.core.actor import Actor

CHUNK = 50  # sessions a transaction: it stays far below the 200 ms that others may have to wait
AGAIN = dt.timedelta(hours=1)
_CDR_FIGURES = ("started_at", "ended_at", "meter_start_wh", "meter_stop_wh")
_CDR_TERMS = ("account_id", "contract_version_id", "tariff_version_id", "currency")


def await_settlement(*, session_ids: Collection[int], now: dt.datetime, patience: dt.timedelta | None = None) -> None:
    """These sessions have their end: they are looked at once `patience` has passed since it was received, which is
    `CDR_DELAY_MINUTES` unless something else is said."""
    patience = dt.timedelta(minutes=settings.CDR_DELAY_MINUTES) if patience is None else patience
    sessions = Session.objects.unscoped("ended just now, of all operators").filter(pk__in=session_ids)
    Settlement.objects.bulk_create(
        (
            Settlement(
                session_id=session.pk,
                operator_id=session.operator_id,
                since=session.stop_received_at or now,
                due_at=(session.stop_received_at or now) + patience,
            )
            for session in sessions.exclude(settlement__state=SettlementState.PRICED)
        ),
        update_conflicts=True,
        unique_fields=["session"],
        update_fields=["due_at"],
    )


def find_unsettled(*, now: dt.datetime, patience: dt.timedelta | None = None, limit: int = 5000) -> int:
    """Ended sessions that no event told of: the task cluster was away for longer than its tasks live. Returns how
    many, at most `limit`."""
    ended = Session.objects.unscoped("scheduled, over all operators").filter(
        state__in=(SessionState.ENDED, SessionState.VOID), settlement=None
    )
    found = list(ended.values_list("pk", flat=True)[:limit])
    await_settlement(session_ids=found, now=now, patience=patience)
    return len(found)


def look_again(*, sessions: Q, now: dt.datetime) -> int:
    """Held sessions that match are due now: what held them may have changed."""
    held = Settlement.objects.unscoped("named by what changed").filter(state=SettlementState.HELD)
    return held.filter(pk__in=Session.objects.unscoped("the same").filter(sessions).values("pk")).update(due_at=now)


def settle_due(*, now: dt.datetime) -> int:
    """Settle all sessions that are due, a chunk a transaction. Two processes share the work. Returns how many."""
    done = 0
    while count := _settle_chunk(now):
        done += count
    return done


def correct_cdr(*, actor: Actor, session: Session, why: str, now: dt.datetime) -> Cdr | None:
    """Take the session's CDR back by a credit, and price what the session says now. Returns the credit, or None where
    there is no CDR to correct. The caller holds the session's lock. Raises PermissionDenied."""
    if not actor.can("charging.correct_cdr"):
        raise PermissionDenied
    wrong = standing_cdr(actor, session)
    if wrong is None:
        return None
    credit = _credit(wrong, now)
    record_audit(
        actor=actor,
        action="cdr.credited",
        target=wrong,
        before={"total": str(wrong.total)},
        after={"credit": str(credit.public_id)},
        why=why,
    )
    _settle([session.pk], now)
    return credit


def says_the_same(one: Cdr, other: Cdr) -> bool:
    """Whether two CDRs of a session bill the same to the same."""
    return _billed(one) == _billed(other)


def standing_cdr(actor: Actor, session: Session) -> Cdr | None:
    """The CDR of a session that no credit took back."""
    found: Cdr | None = Cdr.objects.visible_to(actor).standing().filter(session=session).first()
    return found


def follow_repair(*, actor: Actor, session: Session, now: dt.datetime) -> None:
    """A repaired session is looked at again; where its CDR no longer says what it says, that is a doubt of its own."""
    cdr = standing_cdr(actor, session)
    if cdr is None:
        look_again(sessions=Q(pk=session.pk), now=now)
    elif is_outdated(cdr, session):
        ReviewItem.objects.bulk_create([_outdated_item(session, cdr, now)], ignore_conflicts=True)


def is_outdated(cdr: Cdr, session: Session) -> bool:
    """Whether the session no longer says what its CDR says."""
    return session.state == SessionState.VOID or any(
        getattr(cdr, name) != getattr(session, name) for name in _CDR_FIGURES
    )


# --- a chunk ----------------------------------------------------------------------------------------------------------


def _settle_chunk(now: dt.datetime) -> int:
    due = Settlement.objects.unscoped("scheduled, over all operators").filter(due_at__lte=now).order_by("due_at")
    with transaction.atomic():
        # Sessions before their settlements, as the repairs do.
        ids = list(due.values_list("pk", flat=True)[:CHUNK])
        rows = Session.objects.unscoped("those due").filter(pk__in=ids).order_by("pk")
        locked = list(rows.select_for_update(skip_locked=True, no_key=True).values_list("pk", flat=True))
        still = due.filter(pk__in=locked).select_for_update(skip_locked=True, no_key=True)
        return _settle(list(still.values_list("pk", flat=True)), now)


def _settle(session_ids: Sequence[int], now: dt.datetime) -> int:
    """Judge these sessions, whose rows are locked, and write what follows: a handful of queries an operator."""
    sessions = (
        Session.objects.unscoped("locked, grouped by operator below")
        .filter(pk__in=session_ids)
        .select_related("location", "station", "connector", "token", "holder", "organisation", "settlement")
        .order_by("operator_id", "pk")
    )
    for operator_id, group in groupby(sessions, key=lambda session: session.operator_id):
        _settle_of_operator(operator_id, list(group), now)
    return len(session_ids)


def _settle_of_operator(operator_id: int, sessions: Sequence[Session], now: dt.datetime) -> None:
    chunk = Chunk.load(Actor.system(operator_id), sessions)
    verdicts = [chunk.judge(session) for session in sessions]
    priced = [(session, verdict) for session, verdict in zip(sessions, verdicts, strict=True) if verdict.rating]
    cdrs = [chunk.cdr(session, verdict, now) for session, verdict in priced]
    Cdr.objects.bulk_create(cdrs)
    RatedItem.objects.bulk_create(
        item for cdr, (_session, verdict) in zip(cdrs, priced, strict=True) for item in rated_items(cdr, verdict)
    )
    Settlement.objects.bulk_create(
        (_settlement(session, verdict, now) for session, verdict in zip(sessions, verdicts, strict=True)),
        update_conflicts=True,
        unique_fields=["session"],
        update_fields=["state", "reason", "since", "due_at"],
    )


def _settlement(session: Session, verdict: Judgement, now: dt.datetime) -> Settlement:
    known: Settlement | None = getattr(session, "settlement", None)
    unchanged = known is not None and (known.state, known.reason) == (verdict.state, verdict.reason)
    return Settlement(
        session=session,
        operator_id=session.operator_id,
        state=verdict.state,
        reason=verdict.reason,
        since=known.since if known is not None and unchanged else now,
        due_at=now + AGAIN if verdict.state == SettlementState.HELD else None,
    )


# --- rows -------------------------------------------------------------------------------------------------------------


def _billed(cdr: Cdr) -> list[Any]:
    items = cdr.items.order_by("dimension", "vat_class")
    amounts = items.values_list("dimension", "vat_class", "vat_percent", "billed", "amount")
    return [*(getattr(cdr, name) for name in (*_CDR_FIGURES, *_CDR_TERMS)), *amounts]


def _credit(wrong: Cdr, now: dt.datetime) -> Cdr:
    """A copy of the CDR that takes its amounts back; the quantities stay what they were."""
    items = list(wrong.items.all())
    credit: Cdr = Cdr.objects.unscoped("a row in hand").get(pk=wrong.pk)
    credit.pk, credit.public_id = None, Cdr._meta.get_field("public_id").get_default()
    credit.kind, credit.credits, credit.total, credit.created_at = CdrKind.CREDIT, wrong, -wrong.total, now
    credit._state.adding = True
    credit.save(force_insert=True)
    for item in items:
        item.pk, item.cdr, item.exact, item.amount = None, credit, -item.exact, -item.amount
    RatedItem.objects.bulk_create(items)
    return credit


def _outdated_item(session: Session, cdr: Cdr, now: dt.datetime) -> ReviewItem:
    """The doubt that a CDR leaves whose session was changed: once for what the session says now, so that one that was
    accepted is not opened again."""
    before = {name: _plain(getattr(cdr, name)) for name in _CDR_FIGURES}
    after = {name: _plain(getattr(session, name)) for name in _CDR_FIGURES}
    said = hashlib.sha256(json.dumps([after, session.state]).encode()).hexdigest()
    return ReviewItem(
        operator_id=session.operator_id,
        station_id=session.station_id,
        session=session,
        code=ReviewCode.CDR_OUTDATED,
        blocking=False,
        key=f"cdr_outdated:{cdr.pk}:{said[:32]}",
        evidence={"cdr": str(cdr.public_id), "cdr_says": before, "session_says": after, "state": session.state},
        opened_at=now,
    )


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, dt.datetime) else value
