"""What becomes of each of some sessions: held back with a reason, free, or priced with the CDR that says so."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from django.db.models import Q

from apps.cards.selectors import PriceBook, PricePath, Where
from apps.charging.models import (
    Cdr,
    CdrKind,
    HoldReason,
    RatedItem,
    Reading,
    ReviewItem,
    Session,
    SessionState,
    SettlementState,
)
from apps.contracts.models import Contract
from apps.core import money
from apps.core.actor import Actor
from apps.installations.models import StatusInterval
from apps.tariffs.rating import ENGINE, Item, Period, Rating, RatingError, Usage, rate

logger = logging.getLogger(__name__)

LOOK_BACK = dt.timedelta(days=1)  # for the status that a connector had when its session began


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
    priced: frozenset[int]
    credited: Mapping[int, Cdr]  # session id → its last CDR, where that was taken back
    readings: Mapping[int, list[tuple[dt.datetime, int]]]
    statuses: Mapping[int, list[tuple[dt.datetime, str]]]

    @classmethod
    def load(cls, actor: Actor, sessions: Sequence[Session]) -> Chunk:
        ids = [session.pk for session in sessions]
        doubts = ReviewItem.objects.visible_to(actor).open().filter(session__in=ids, blocking=True)
        cdrs = Cdr.objects.visible_to(actor).filter(session__in=ids, kind=CdrKind.CDR).select_related("credit")
        last: dict[int, Cdr] = {cdr.session_id: cdr for cdr in cdrs.order_by("version")}
        credited = {pk: cdr for pk, cdr in last.items() if not cdr.stands}
        readings: dict[int, list[tuple[dt.datetime, int]]] = defaultdict(list)
        rows = Reading.objects.visible_to(actor).filter(session_id__in=ids, register_wh__isnull=False)
        for session_id, at, register in rows.order_by("at").values_list("session_id", "at", "register_wh"):
            readings[session_id].append((at, register))
        return cls(
            book=PriceBook(
                actor,
                {session.token_id for session in sessions if session.token_id is not None},
                {_where(session, credited.get(session.pk)).country for session in sessions},
            ),
            doubtful=frozenset(doubts.values_list("session_id", flat=True)),
            priced=frozenset(last.keys() - credited.keys()),
            credited=credited,
            readings=readings,
            statuses=_statuses(actor, sessions),
        )

    def judge(self, session: Session) -> Judgement:
        if session.pk in self.priced:
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
        where = _where(session, self.credited.get(session.pk))
        path = self.book.path(session.token, where, session.started_at, ended_at)
        if path.missing or path.tariff_version is None:
            return _held(HoldReason(path.missing))
        if path.contract is not None and _is_of_another(session, path.contract):
            return _held(HoldReason.NO_CONTRACT)
        usage = Usage(
            started_at=session.started_at,
            ended_at=ended_at,
            meter_start=meter_start,
            meter_stop=meter_stop,
            zone=where.time_zone,
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
        wrong = self.credited.get(session.pk)
        return Cdr(
            operator_id=session.operator_id,
            session=session,
            version=wrong.version + 1 if wrong is not None else 1,
            location=session.location,
            station=session.station,
            seller_id=wrong.seller_id if wrong is not None else session.seller_id or session.location.seller_id,
            token=session.token,
            host_id=session.host_id,
            organisation_id=session.organisation_id,
            holder_id=session.holder_id,
            account=path.contract.account,
            contract_version=path.contract_version,
            tariff_version=path.tariff_version,
            place=wrong.place if wrong is not None else _place_as_it_was(session),
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


def _where(session: Session, wrong: Cdr | None) -> Where:
    """The session's place; as it was then, where a CDR is corrected."""
    if wrong is not None:
        return Where(wrong.country, wrong.place["time_zone"])
    return Where(session.location.country, session.location.time_zone)


def _is_of_another(session: Session, contract: Contract) -> bool:
    """Whether its card was another organisation's then than the one that the contract bills."""
    billed = contract.account.party.organisation_id
    return None not in (billed, session.organisation_id) and billed != session.organisation_id


def _held(reason: str) -> Judgement:
    return Judgement(SettlementState.HELD, reason)


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


def rated_items(cdr: Cdr, verdict: Judgement) -> Iterable[RatedItem]:
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
