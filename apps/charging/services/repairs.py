"""Repairs of doubtful sessions. Each is one transaction, locks the session, and leaves an audit entry.

Facts that chargers sent (`*_sent`, readings, frames) are never changed. What a message would have done is done by
the same decisions, as if it had come with what it lacked.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection, transaction
from django.db.models import OuterRef, Subquery
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apps.accounts.services import record_audit
from apps.charging import decisions, events, store
from apps.charging.facts import Ended, Facts, Message, Moment
from apps.charging.models import Cdr, Reading, ReviewCode, ReviewItem, ReviewState, Session, SessionLive, SessionState
from apps.charging.services import settling
from apps.core.actor import Actor
from apps.core.events import publish
from apps.installations.models import StationState

NO_STOP_AFTER = dt.timedelta(hours=24)
WAITING = (ReviewCode.NO_STOP, ReviewCode.REPLACED)  # doubts that an end settles
_WATCHED = ("state", "started_at", "meter_start_wh", "ended_at", "meter_stop_wh")


class CannotRepair(ValidationError):
    """The repair does not fit the item or its session. The message says why, for the person who asked."""


@dataclass(slots=True)
class Case:
    """A review item with its session, both locked, and who repairs."""

    item: ReviewItem
    session: Session | None
    other: Session | None
    actor: Actor
    why: str
    now: dt.datetime

    @property
    def its_session(self) -> Session:
        if self.session is None:
            raise CannotRepair(_("This item has no session."))
        return self.session


@dataclass(frozen=True, slots=True)
class Repair:
    """A repair as pages offer it. `needs` names the one value that it takes besides the reason."""

    name: str
    title: Promise | str
    run: Callable[..., ReviewItem]
    needs: str = ""
    needs_why: bool = False


def repair_item(*, item: ReviewItem, repair: str, actor: Actor, why: str = "", **values: Any) -> ReviewItem:
    """Run a repair by its name, if it fits the item. Raises CannotRepair, PermissionDenied, ReviewItem.DoesNotExist."""
    for one in REPAIRS[ReviewCode(item.code)]:
        if one.name == repair:
            return one.run(item=item, actor=actor, why=why, **values)
    raise CannotRepair(_("This repair does not fit the item."))


def accept_as_is(*, item: ReviewItem, actor: Actor, why: str = "") -> ReviewItem:
    """The figures are right as they are."""
    with _case(item, actor, why, "accept_as_is") as case:
        return case.item


def void_session(*, item: ReviewItem, actor: Actor, why: str) -> ReviewItem:
    """The session never was: it is kept, counts for nothing, and its other doubts are settled with it."""
    if not why.strip():
        raise CannotRepair({"why": _("Say why the session is void.")})
    with _case(item, actor, why, "void_session") as case:
        session = case.its_session
        session.state = SessionState.VOID
        session.save(update_fields=["state"])
        _settle_others(case, "void_session")
        return case.item


def close_at_last_reading(*, item: ReviewItem, actor: Actor, why: str = "") -> ReviewItem:
    """End a session that has no end at the last reading that shows the meter."""
    with _case(item, actor, why, "close_at_last_reading") as case:
        session = case.its_session
        if session.ended_at is not None:
            raise CannotRepair(_("The session has its end."))
        reading = _last_reading(session)
        if reading is None:
            raise CannotRepair(_("No reading of this session shows the meter."))
        session.ended_at, session.meter_stop_wh = reading.at, reading.register_wh
        session.state = SessionState.ENDED
        session.save(update_fields=["ended_at", "meter_stop_wh", "state"])
        SessionLive.objects.unscoped("live figures of the locked session").filter(session=session).update(power_w=0)
        _settle_others(case, "close_at_last_reading", codes=WAITING)
        publish(events.SESSION_ENDED, **_ids(session))
        return case.item


def attach_orphan_stop(*, item: ReviewItem, actor: Actor, session: Session | None = None, why: str = "") -> ReviewItem:
    """End a session with the end that the item keeps: that of an end without session, or the second one of its own."""
    with _case(item, actor, why, "attach_orphan_stop", session) as case:
        _end_again(case)
        return case.item


def merge_duplicates(*, item: ReviewItem, actor: Actor, why: str = "") -> ReviewItem:
    """Two sessions are one. The one with an end stays, else the newer, which the charger speaks of; it takes the
    earlier start and the readings, the other one is void."""
    with _case(item, actor, why, "merge_duplicates", also=item.evidence.get("other")) as case:
        kept, other = case.its_session, case.other
        if other is None:
            raise CannotRepair(_("The other session is not known."))
        if kept.ended_at is not None and other.ended_at is not None:
            raise CannotRepair(_("Both sessions have an end."))
        if SessionState.VOID in (kept.state, other.state):
            raise CannotRepair(_("One of the sessions is void."))
        if other.ended_at is not None:
            kept, other = other, kept
        first = min(kept, other, key=lambda session: session.start_received_at)
        kept.started_at, kept.meter_start_wh = first.started_at, first.meter_start_wh
        kept.save(update_fields=["started_at", "meter_start_wh"])
        other.state = SessionState.VOID
        other.save(update_fields=["state"])
        _readings(other).update(session_id=kept.pk)
        _update_live_energy(kept)
        record_audit(actor=actor, action="session.merged", target=other, after={"into": kept.pk}, why=why)
        return case.item


def set_start_meter(*, item: ReviewItem, actor: Actor, meter_wh: int, why: str = "") -> ReviewItem:
    """Correct the meter at the start, in Wh; what the charger sent is kept beside it."""
    with _case(item, actor, why, "set_start_meter") as case:
        session = case.its_session
        if session.meter_stop_wh is not None and meter_wh > session.meter_stop_wh:
            raise CannotRepair({"meter_wh": _("The session would have used less than nothing.")})
        session.meter_start_wh = meter_wh
        session.save(update_fields=["meter_start_wh"])
        _update_live_energy(session)
        return case.item


def bridge_meters(*, item: ReviewItem, actor: Actor, why: str = "") -> ReviewItem:
    """The meter was replaced: what the old one counted is taken over, by setting the meter at the start lower by the
    step between the two. The figure may be negative; the energy is that of both meters."""
    with _case(item, actor, why, "bridge_meters") as case:
        session, evidence = case.its_session, case.item.evidence
        if session.meter_start_wh is None or "before_at" not in evidence:
            raise CannotRepair(_("It is not known what the old and the new meter showed at the change."))
        session.meter_start_wh -= evidence["before_wh"] - evidence["after_wh"]
        session.save(update_fields=["meter_start_wh"])
        _update_live_energy(session)
        return case.item


def shift_times(*, item: ReviewItem, actor: Actor, why: str = "") -> ReviewItem:
    """Correct an ended session's times by the offset that the charger's clock had; what it sent is kept beside them."""
    with _case(item, actor, why, "shift_times") as case:
        session = case.its_session
        if session.ended_at is None:
            raise CannotRepair(_("The session has no end yet."))
        if case.item.evidence.get("at") == "start" and session.started_at != session.start_received_at:
            session.started_at -= dt.timedelta(seconds=session.start_offset_s or 0)
        if _is_off(session.stop_offset_s) and session.ended_at != session.stop_received_at:
            session.ended_at -= dt.timedelta(seconds=session.stop_offset_s or 0)
        if session.ended_at < session.started_at:
            raise CannotRepair(_("The session would end before it begins."))
        session.save(update_fields=["started_at", "ended_at"])
        return case.item


def correct_cdr(*, item: ReviewItem, actor: Actor, why: str) -> ReviewItem:
    """Take the session's CDR back, and price the session as it is now."""
    if not why.strip():
        raise CannotRepair({"why": _("Say why the CDR is corrected.")})
    with _case(item, actor, why, "correct_cdr") as case:
        settling.correct_cdr(actor=actor, session=case.its_session, why=why, now=case.now)
        return case.item


def replace_cdr(*, actor: Actor, cdr: Cdr, why: str) -> None:
    """Take back a CDR whose session nobody doubts, and price the session by the contract, tariff and VAT rate that
    its day has now. Raises CannotRepair where it was taken back already, or the new one would say the same."""
    outdated = ReviewItem.objects.visible_to(actor).open().filter(session=cdr.session_id, code=ReviewCode.CDR_OUTDATED)
    if (item := outdated.first()) is not None:
        correct_cdr(item=item, actor=actor, why=why)
        return
    if not why.strip():
        raise CannotRepair({"why": _("Say why the CDR is corrected.")})
    with transaction.atomic():
        session = _lock_sessions(actor, cdr.session_id)[cdr.session_id]
        standing = settling.standing_cdr(actor, session)
        if standing != cdr:
            raise CannotRepair(_("This CDR was taken back already."))
        settling.correct_cdr(actor=actor, session=session, why=why, now=dt.datetime.now(dt.UTC))
        new = settling.standing_cdr(actor, session)
        if new is not None and settling.says_the_same(new, cdr):
            raise CannotRepair(_("The new CDR would say the same. Put contract, tariff or VAT rate right first."))


def await_vanished_sessions(*, now: dt.datetime) -> int:
    """Sessions whose charger has been offline and silent for 24 hours wait for their final data since it went: their
    cards are free to charge elsewhere. Returns how many."""
    limit = now - NO_STOP_AFTER
    state = StationState.objects.unscoped("joined to the sessions").filter(station=OuterRef("station"))
    vanished = (
        Session.objects.unscoped("scheduled, over all operators")
        .filter(state=SessionState.ACTIVE, start_received_at__lte=limit)
        .filter(station__state__online=False, station__state__disconnected_at__lte=limit)
        .exclude(live__reading_at__gt=limit)
    )
    rows = Session.objects.unscoped("the same").filter(pk__in=list(vanished.values_list("pk", flat=True)[:1000]))
    return rows.filter(state=SessionState.ACTIVE).update(
        state=SessionState.AWAITING, awaiting_since=Subquery(state.values("disconnected_at"))
    )


def open_no_stop_items(*, now: dt.datetime) -> int:
    """Put sessions to review that have waited for their final data for 24 hours. Returns how many."""
    waiting = (
        Session.objects.unscoped("scheduled, over all operators")
        .filter(state=SessionState.AWAITING, awaiting_since__lte=now - NO_STOP_AFTER)
        .exclude(review_items__code=ReviewCode.NO_STOP)
    )
    items = [
        ReviewItem(
            operator_id=session.operator_id,
            station_id=session.station_id,
            session=session,
            code=ReviewCode.NO_STOP,
            key=f"no_stop:{session.pk}",
            evidence={"awaiting_since": session.awaiting_since and session.awaiting_since.isoformat()},
            opened_at=now,
        )
        for session in waiting[:1000]
    ]
    ReviewItem.objects.bulk_create(items, ignore_conflicts=True)
    return len(items)


def settle_waiting_items(*, session_ids: set[int], now: dt.datetime) -> None:
    """The end of these sessions came after all."""
    ReviewItem.objects.unscoped("sessions of one batch").filter(
        session_id__in=session_ids, code__in=WAITING, state=ReviewState.OPEN, session__state=SessionState.ENDED
    ).update(state=ReviewState.RESOLVED, resolution="ended", resolved_at=now)


# --- what repairs share ---


@contextmanager
def _case(
    item: ReviewItem, actor: Actor, why: str, repair: str, session: Session | None = None, also: int | None = None
) -> Iterator[Case]:
    """Lock the item and its session (and one more), let the repair work, then resolve and audit."""
    if not actor.can("charging.repair_session"):
        raise PermissionDenied
    items = ReviewItem.objects.visible_to(actor)
    with transaction.atomic():
        # As the gateway does: the charger's live row, then sessions in key order, then the item.
        list(StationState.objects.visible_to(actor).select_for_update(no_key=True).filter(station=item.station_id))
        session_id = session.pk if session is not None else items.values_list("session_id", flat=True).get(pk=item.pk)
        sessions = _lock_sessions(actor, session_id, also)
        locked = sessions[session_id] if session_id is not None else None
        found = items.select_for_update(no_key=True).get(pk=item.pk)
        if found.state != ReviewState.OPEN:
            raise CannotRepair(_("This item is resolved already."))
        before = _figures(locked)
        case = Case(found, locked, sessions.get(also), actor, why, dt.datetime.now(dt.UTC))
        yield case
        _resolve(found, case, repair)
        if locked is not None:
            locked.refresh_from_db(from_queryset=Session.objects.visible_to(actor))
        for session in filter(None, (locked, case.other)):
            settling.follow_repair(actor=actor, session=session, now=case.now)
        target = locked if locked is not None else found
        evidence = {"item": found.pk, "code": found.code}
        record_audit(
            actor=actor,
            action=f"session.{repair}",
            target=target,
            before=before,
            after=_figures(locked) | evidence,
            why=why,
        )


def _lock_sessions(actor: Actor, *session_ids: int | None) -> dict[int | None, Session]:
    """The sessions by id. Raises Session.DoesNotExist where the actor does not see one of them."""
    wanted = sorted({pk for pk in session_ids if pk is not None})
    rows = Session.objects.visible_to(actor).select_for_update(no_key=True).filter(pk__in=wanted).order_by("pk")
    found: dict[int | None, Session] = {session.pk: session for session in rows}
    if len(found) < len(wanted):
        raise Session.DoesNotExist
    return found


def _resolve(item: ReviewItem, case: Case, repair: str) -> None:
    item.state, item.resolution, item.resolved_at = ReviewState.RESOLVED, repair, case.now
    item.resolved_by_id, item.why = case.actor.user_id, case.why
    if item.session_id is None and case.session is not None:
        item.session = case.session
    item.save(update_fields=["state", "resolution", "resolved_at", "resolved_by", "why", "session"])


def _settle_others(case: Case, repair: str, codes: tuple[str, ...] = ()) -> None:
    """Resolve the session's other open items that the repair settles too: all, or those of `codes`."""
    others = ReviewItem.objects.visible_to(case.actor).open().filter(session=case.its_session).exclude(pk=case.item.pk)
    for other in others.filter(code__in=codes) if codes else others:
        _resolve(other, case, repair)


def _figures(session: Session | None) -> dict[str, Any]:
    values = {name: getattr(session, name) for name in _WATCHED} if session is not None else {}
    return {name: value.isoformat() if isinstance(value, dt.datetime) else value for name, value in values.items()}


def _end_again(case: Case) -> None:
    """Decide the kept end once more, now as that of the case's session."""
    evidence, session = case.item.evidence, case.its_session
    if session.transaction_id is None or session.station_id != case.item.station_id:
        raise CannotRepair(_("The end and the session are of different chargers."))
    message = _kept_end(evidence, session)
    facts = store.load_facts(connection, [message], new_session_id=_no_id, new_transaction_id=_no_id)
    known = facts.sessions_by_transaction[session.transaction_id]
    if case.item.session_id is None and known.ended_at is not None:
        raise CannotRepair(_("The session has its end."))
    known.ended_at, known.state = None, SessionState.AWAITING
    facts.stations[session.station_id].clock_offset_s = evidence["offset_s"]
    _write(message, facts, case)
    Reading.objects.unscoped("readings that came with the kept end").filter(
        station_id=session.station_id,
        generation=evidence["generation"],
        sequence=evidence["sequence"],
        session_id=None,
    ).update(session_id=session.pk)


def _kept_end(evidence: Mapping[str, Any], session: Session) -> Message:
    assert session.transaction_id is not None
    at = dt.datetime.fromisoformat(evidence["at"]) if evidence["at"] else None
    body = Ended(
        transaction_id=session.transaction_id,
        uid=evidence["uid"],
        at=Moment(evidence["sent"], at),
        meter_wh=evidence["meter_wh"],
        meter_sent=evidence["meter_sent"],
        reason=evidence["reason"],
    )
    received_at = dt.datetime.fromisoformat(evidence["received_at"])
    origin = (session.station_id, session.operator_id, evidence["generation"], evidence["sequence"])
    return Message(*origin, received_at, body)


def _write(message: Message, facts: Facts, case: Case) -> None:
    decision = decisions.decide(message, facts, case.now)
    decision = replace(decision, doubts=tuple(doubt for doubt in decision.doubts if doubt.code != case.item.code))
    facts.apply(decision, message.station_id)
    store.write_decisions(connection, facts, [(message, decision)], case.now)


def _no_id() -> int:
    raise AssertionError("an end draws no id")


def _is_off(offset_s: float | None) -> bool:
    return offset_s is not None and abs(offset_s) > decisions.OFFSET_LIMIT_S


def _readings(session: Session) -> Any:
    return Reading.objects.unscoped("readings of a locked session").filter(session_id=session.pk)


def _last_reading(session: Session) -> Reading | None:
    found: Reading | None = _readings(session).exclude(register_wh=None).order_by("-at").first()
    return found


def _update_live_energy(session: Session) -> None:
    live = SessionLive.objects.unscoped("live figures of the locked session").get(session=session)
    if live.register_wh is not None and session.meter_start_wh is not None:
        live.energy_wh = live.register_wh - session.meter_start_wh
        live.save(update_fields=["energy_wh"])


def _ids(session: Session) -> dict[str, int]:
    return {"session_id": session.pk, "station_id": session.station_id, "operator_id": session.operator_id}


# --- which repairs fit which doubt ---

_ACCEPT = Repair("accept_as_is", _("Accept as it is"), accept_as_is)
_VOID = Repair("void_session", _("Void the session"), void_session, needs_why=True)
_CLOSE = Repair("close_at_last_reading", _("End it at the last reading"), close_at_last_reading)
_ATTACH = Repair("attach_orphan_stop", _("End a session with it"), attach_orphan_stop, needs="session")
_TAKE = Repair("attach_orphan_stop", _("Take the second end"), attach_orphan_stop)
_MERGE = Repair("merge_duplicates", _("Merge the two sessions"), merge_duplicates)
_METER = Repair("set_start_meter", _("Set the meter at the start"), set_start_meter, needs="meter_wh")
_BRIDGE = Repair("bridge_meters", _("Add up the old and the new meter"), bridge_meters)
_CORRECT = Repair("correct_cdr", _("Correct the CDR"), correct_cdr, needs_why=True)
_SHIFT = Repair("shift_times", _("Shift its times by the offset"), shift_times)

REPAIRS: Mapping[ReviewCode, tuple[Repair, ...]] = {
    ReviewCode.UNKNOWN_CARD: (_ACCEPT, _VOID),
    ReviewCode.REFUSED_CARD: (_ACCEPT, _VOID),
    ReviewCode.CLOCK_OFFSET: (_SHIFT, _ACCEPT, _VOID),
    ReviewCode.BAD_TIME: (_ACCEPT, _VOID),
    ReviewCode.METER_BACKWARDS: (_METER, _ACCEPT, _VOID),
    ReviewCode.METER_JUMP: (_METER, _ACCEPT, _VOID),
    ReviewCode.METER_CHANGED: (_BRIDGE, _METER, _ACCEPT, _VOID),
    ReviewCode.NO_STOP: (_CLOSE, _VOID),
    ReviewCode.ORPHAN_STOP: (_ATTACH, _ACCEPT),
    ReviewCode.MAYBE_SAME_START: (_MERGE, _ACCEPT, _VOID),
    ReviewCode.SECOND_STOP: (_ACCEPT, _TAKE, _VOID),
    ReviewCode.STUB: (_METER, _VOID),
    ReviewCode.QUARANTINE: (_ACCEPT,),
    ReviewCode.FAILED: (_ACCEPT,),
    ReviewCode.REPLACED: (_CLOSE, _ACCEPT, _VOID),
    ReviewCode.CDR_OUTDATED: (_CORRECT, _ACCEPT),
}
