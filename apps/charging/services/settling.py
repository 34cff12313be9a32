"""From an ended session to its CDR. A CDR is never changed: what was wrong is taken back by a credit, and made anew.

A session is due a while after its Stop was received. What holds it back is written down with its reason and looked
at again when that may have changed, and once an hour anyway.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import groupby
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q

from apps.accounts.services import record_audit
from apps.cards.selectors import PriceBook, PricePath
from apps.charging.models import (
    Cdr,
    CdrKind,
    HoldReason,
    RatedItem,
    Reading,
    ReviewCode,
    ReviewItem,
    Session,
    SessionState,
    Settlement,
    SettlementState,
)
from apps.core import money
from apps.core.actor import Actor
from apps.installations.models import StatusInterval
from apps.tariffs.rating import ENGINE, Item, Period, Rating, RatingError, Usage, rate

logger = logging.getLogger(__name__)

CHUNK = 50  # sessions a transaction: it stays far below the 200 ms that others may have to wait
AGAIN = dt.timedelta(hours=1)
LOOK_BACK = dt.timedelta(days=1)  # for the status that a connector had when its session began
_CDR_FIGURES = ("started_at", "ended_at", "meter_start_wh", "meter_stop_wh")


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


def settle_session(*, actor: Actor, session: Session, now: dt.datetime) -> Settlement:
    """Price one session now, before its time is up. Raises PermissionDenied."""
    if not actor.can("charging.repair_session"):
        raise PermissionDenied
    rows = Settlement.objects.visible_to(actor)
    with transaction.atomic():
        list(Session.objects.visible_to(actor).select_for_update(no_key=True).filter(pk=session.pk))
        _settle([session.pk], now)
    found: Settlement = rows.get(pk=session.pk)
    return found


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
        .select_related("location__seller", "station", "connector", "token", "holder", "organisation")
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
        item for cdr, (_session, verdict) in zip(cdrs, priced, strict=True) for item in _rated_items(cdr, verdict)
    )
    Settlement.objects.bulk_create(
        (_settlement(session, verdict, now) for session, verdict in zip(sessions, verdicts, strict=True)),
        update_conflicts=True,
        unique_fields=["session"],
        update_fields=["state", "reason", "since", "due_at"],
    )


@dataclass(frozen=True, slots=True)
class Judgement:
    """What becomes of a session: a state with the reason of a hold, and its price where it has one."""

    state: str
    reason: str = ""
    path: PricePath | None = None
    usage: Usage | None = None
    rating: Rating | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some sessions of one operator, with all that decides on them."""

    book: PriceBook
    doubtful: frozenset[int]
    priced: Mapping[int, bool]  # session id → whether its last CDR stands
    versions: Mapping[int, int]
    readings: Mapping[int, list[tuple[dt.datetime, int]]]
    statuses: Mapping[int, list[tuple[dt.datetime, str]]]

    @classmethod
    def load(cls, actor: Actor, sessions: Sequence[Session]) -> Chunk:
        ids = [session.pk for session in sessions]
        doubts = ReviewItem.objects.visible_to(actor).open().filter(session__in=ids, blocking=True)
        cdrs = Cdr.objects.visible_to(actor).filter(session__in=ids, kind=CdrKind.CDR).order_by("version")
        known = list(cdrs.values_list("session_id", "version", "credit"))
        readings: dict[int, list[tuple[dt.datetime, int]]] = defaultdict(list)
        rows = Reading.objects.visible_to(actor).filter(session_id__in=ids, register_wh__isnull=False)
        for session_id, at, register in rows.order_by("at").values_list("session_id", "at", "register_wh"):
            readings[session_id].append((at, register))
        return cls(
            book=PriceBook(
                actor,
                {session.token_id for session in sessions if session.token_id is not None},
                {session.location.country for session in sessions},
            ),
            doubtful=frozenset(doubts.values_list("session_id", flat=True)),
            priced={session_id: credit is None for session_id, _version, credit in known},
            versions={session_id: version for session_id, version, _credit in known},
            readings=readings,
            statuses=_statuses(actor, sessions),
        )

    def judge(self, session: Session) -> Judgement:
        if self.priced.get(session.pk):
            return Judgement(SettlementState.PRICED)
        if session.state == SessionState.VOID:
            return Judgement(SettlementState.VOID)
        if session.state != SessionState.ENDED or session.ended_at is None:
            return Judgement(SettlementState.WAITING)
        if session.pk in self.doubtful:
            return _held(HoldReason.REVIEW)
        if session.free_by_policy:
            return Judgement(SettlementState.FREE)
        if session.meter_start_wh is None or session.meter_stop_wh is None:
            return _held(HoldReason.NO_METER)
        return self._price(session, session.ended_at, session.meter_start_wh, session.meter_stop_wh)

    def _price(self, session: Session, ended_at: dt.datetime, meter_start: int, meter_stop: int) -> Judgement:
        path = self.book.path(session.token, session.location, session.started_at, ended_at)
        if path.missing or path.tariff_version is None:
            return _held(HoldReason(path.missing))
        usage = Usage(
            started_at=session.started_at,
            ended_at=ended_at,
            meter_start=meter_start,
            meter_stop=meter_stop,
            zone=session.location.time_zone,
            readings=self.readings.get(session.pk, ()),
            statuses=self.statuses.get(session.pk, ()),
        )
        try:
            rating = rate(usage, path.tariff_version.terms, path.vat_rates)
        except RatingError as error:
            return _held(HoldReason.NO_VAT if error.code == "vat" else HoldReason.IMPOSSIBLE)
        except Exception:  # our own fault on one session must not hold the others back
            logger.exception("session %s could not be rated", session.pk)
            return _held(HoldReason.FAILED)
        return Judgement(SettlementState.PRICED, path=path, usage=usage, rating=rating)

    def cdr(self, session: Session, verdict: Judgement, now: dt.datetime) -> Cdr:
        path, usage, rating = verdict.path, verdict.usage, verdict.rating
        assert path is not None
        assert usage is not None
        assert rating is not None
        assert path.contract is not None
        assert path.supplied_on is not None
        place = session.location
        return Cdr(
            operator_id=session.operator_id,
            session=session,
            version=self.versions.get(session.pk, 0) + 1,
            location=place,
            station=session.station,
            seller=place.seller,
            token=session.token,
            host_id=session.host_id,
            organisation_id=session.organisation_id,
            holder_id=session.holder_id,
            account=path.contract.account,
            contract_version=path.contract_version,
            tariff_version=path.tariff_version,
            place=_place_as_it_was(session),
            card=_card_as_it_was(session),
            started_at=usage.started_at,
            ended_at=usage.ended_at,
            energy_wh=int(usage.meter_stop - usage.meter_start),
            charging_s=rating.charging_s,
            parking_s=rating.parking_s,
            meter_start_wh=int(usage.meter_start),
            meter_stop_wh=int(usage.meter_stop),
            evidence=_evidence(session, usage),
            explanation=[{"code": step.code, "of": step.of, "found": step.found} for step in path.steps],
            interpolated=rating.interpolated,
            country=path.country,
            supplied_on=path.supplied_on,
            currency=rating.currency,
            total=rating.total,
            engine=ENGINE,
            created_at=now,
        )


def _held(reason: str) -> Judgement:
    return Judgement(SettlementState.HELD, reason)


def _settlement(session: Session, verdict: Judgement, now: dt.datetime) -> Settlement:
    return Settlement(
        session=session,
        operator_id=session.operator_id,
        state=verdict.state,
        reason=verdict.reason,
        since=now,
        due_at=now + AGAIN if verdict.state == SettlementState.HELD else None,
    )


def _statuses(actor: Actor, sessions: Sequence[Session]) -> dict[int, list[tuple[dt.datetime, str]]]:
    """The statuses of each session's connector while it ran, and the last one before."""
    windows = Q(pk__in=())
    for session in sessions:
        if session.ended_at is not None:
            since = session.started_at - LOOK_BACK
            place = {"station_id": session.station_id, "connector_number": session.connector_number}
            windows |= Q(**place, at__range=(since, session.ended_at))
    rows = StatusInterval.objects.visible_to(actor).filter(windows).order_by("at", "sequence")
    by_connector: dict[tuple[int, int], list[tuple[dt.datetime, str]]] = defaultdict(list)
    for station_id, number, at, status in rows.values_list("station_id", "connector_number", "at", "status"):
        by_connector[station_id, number].append((at, status))
    found = {}
    for session in sessions:
        of_connector = by_connector.get((session.station_id, session.connector_number), [])
        before = [one for one in of_connector if one[0] <= session.started_at][-1:]
        end = session.ended_at or session.started_at
        found[session.pk] = before + [one for one in of_connector if session.started_at < one[0] <= end]
    return found


# --- rows -------------------------------------------------------------------------------------------------------------


def _place_as_it_was(session: Session) -> dict[str, Any]:
    place = session.location
    named = {name: getattr(place, name) for name in ("name", "street", "postal_code", "city", "country", "time_zone")}
    return named | {"station": str(session.station), "connector": session.connector_number}


def _card_as_it_was(session: Session) -> dict[str, Any]:
    token, holder = session.token, session.holder
    assert token is not None
    return {
        "uid": session.uid,
        "label": token.label,
        "visual_number": token.visual_number,
        "driver": holder.get_full_name() if holder is not None else "",
        "organisation": session.organisation.name if session.organisation is not None else "",
    }


def _evidence(session: Session, usage: Usage) -> dict[str, Any]:
    """What the figures come from: both ends as sent, the readings with a fingerprint, the statuses."""
    readings = sorted(usage.readings)
    told = "\n".join(f"{at.isoformat()} {wh}" for at, wh in readings)
    received = session.stop_received_at
    return {
        "start": {
            "sent": session.started_sent,
            "meter_sent": session.meter_start_sent,
            "received_at": session.start_received_at.isoformat(),
            "generation": session.start_generation,
        },
        "stop": {
            "sent": session.ended_sent,
            "meter_sent": session.meter_stop_sent,
            "received_at": received.isoformat() if received is not None else None,
            "reason": session.stop_reason,
        },
        "readings": {
            "count": len(readings),
            "first_at": readings[0][0].isoformat() if readings else None,
            "last_at": readings[-1][0].isoformat() if readings else None,
            "sha256": hashlib.sha256(told.encode()).hexdigest(),
        },
        "statuses": [[at.isoformat(), status] for at, status in usage.statuses],
    }


def _rated_items(cdr: Cdr, verdict: Judgement) -> Iterable[RatedItem]:
    assert verdict.rating is not None
    for item in verdict.rating.items:
        periods = [
            one for one in verdict.rating.periods if (one.dimension, one.vat_class) == (item.dimension, item.vat_class)
        ]
        yield _rated_item(cdr, item, periods)


def _rated_item(cdr: Cdr, item: Item, periods: Sequence[Period]) -> RatedItem:
    return RatedItem(
        operator_id=cdr.operator_id,
        cdr=cdr,
        dimension=item.dimension,
        vat_class=item.vat_class,
        vat_percent=item.vat_rate,
        quantity=_six(item.quantity),
        billed=_six(item.billed),
        exact=_six(item.exact),
        amount=item.amount,
        periods=[_period(one) for one in periods],
    )


def _period(period: Period) -> dict[str, Any]:
    registers = period.registers and [str(_six(one)) for one in period.registers]
    return {
        "element": period.element,
        "since": period.since.isoformat(),
        "until": period.until.isoformat(),
        "quantity": str(_six(period.quantity)),
        "billed": str(_six(period.billed)),
        "price": str(period.price),
        "step": period.step,
        "exact": str(_six(period.exact)),
        "registers": registers,
        "interpolated": period.interpolated,
    }


def _six(exact: Fraction) -> Decimal:
    return money.half_up(exact, money.EXACT_DIGITS)


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
    """The doubt that a CDR leaves whose session was changed."""
    before = {name: _plain(getattr(cdr, name)) for name in _CDR_FIGURES}
    after = {name: _plain(getattr(session, name)) for name in _CDR_FIGURES}
    return ReviewItem(
        operator_id=session.operator_id,
        station_id=session.station_id,
        session=session,
        code=ReviewCode.CDR_OUTDATED,
        blocking=False,
        key=f"cdr_outdated:{cdr.pk}:{now.timestamp():.0f}",
        evidence={"cdr": str(cdr.public_id), "cdr_says": before, "session_says": after, "state": session.state},
        opened_at=now,
    )


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, dt.datetime) else value
