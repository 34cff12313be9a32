"""What a session costs, as far as the visitor may know it, or why there is no price."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, fields
from decimal import Decimal
from fractions import Fraction
from typing import Any

from django.db.models import Prefetch
from django.utils.dateparse import parse_datetime
from django.utils.formats import date_format
from django.utils.translation import gettext_lazy as _

from apps.billing.totals import Totals, totals
from apps.cards.selectors import Step
from apps.charging.models import Cdr, HoldReason, RatedItem, Session, SessionState, Settlement, SettlementState
from apps.charging.selectors import SessionRow, is_own_card, session_rows
from apps.core import money
from apps.core.actor import Actor
from apps.reports.selectors import SEES_PRICES
from apps.tariffs.elements import Dimension

# What each state of a settlement means for whoever pays.
MEANING = {
    SettlementState.WAITING: _("Not priced yet. A session is priced some minutes after its end."),
    SettlementState.FREE: _("Free of charge: this location lets every card charge."),
    SettlementState.VOID: _("The session does not count: nothing is charged for it."),
}


@dataclass(frozen=True, slots=True)
class PriceStep:
    """One line of why: what was asked (of a country, on a day), and what was found."""

    asked: str
    of: str
    found: str


@dataclass(frozen=True, slots=True)
class PricePeriod:
    """A stretch of a session at one price: Wh, seconds or 1, and `price` a kWh, an hour or a session."""

    since: dt.datetime
    until: dt.datetime
    billed: Decimal
    price: Decimal


@dataclass(frozen=True, slots=True)
class PriceItem:
    """All of one dimension and VAT class: Wh, seconds or 1 as measured and as billed in steps, and its amount, net."""

    dimension: str
    word: str
    measured: Decimal
    billed: Decimal
    amount: Decimal
    vat_percent: Decimal
    periods: tuple[PricePeriod, ...]

    @property
    def one_price(self) -> Decimal | None:
        """The unit price, where all of it has the same."""
        prices = {one.price for one in self.periods}
        return prices.pop() if len(prices) == 1 else None


@dataclass(frozen=True, slots=True)
class Price:
    """Where a session stands: `state` is a `SettlementState`, or empty before its end and where it is not the
    visitor's to know. Amounts are there once it is priced."""

    state: str = ""
    word: str = ""
    why: str = ""
    currency: str = ""
    sums: Totals | None = None
    items: tuple[PriceItem, ...] = ()
    steps: tuple[PriceStep, ...] = ()
    corrected: bool = False
    interpolated: bool = False

    @property
    def net(self) -> Decimal | None:
        return self.sums.net if self.sums else None

    @property
    def vat(self) -> Decimal | None:
        return self.sums.vat if self.sums else None

    @property
    def gross(self) -> Decimal | None:
        return self.sums.gross if self.sums else None


NO_PRICE = Price()


@dataclass(frozen=True, slots=True)
class PricedRow(SessionRow):
    """A session with its price. `with_vat` is what a driver is told, who gets no invoice."""

    price: Price
    with_vat: bool

    @property
    def amount(self) -> Decimal | None:
        return self.price.gross if self.with_vat else self.price.net


def sees_prices(actor: Actor) -> bool:
    """Whether there are prices for this visitor at all."""
    return SEES_PRICES in actor.all_permissions


def is_driver_only(actor: Actor) -> bool:
    """Whether all that the visitor is here is a driver, whose prices are with VAT."""
    return not actor.operator_wide and frozenset(actor.organisations) == actor.driver_of


def priced_rows(actor: Actor, sessions: Iterable[Session]) -> list[PricedRow]:
    """`session_rows` with prices: three queries more, whatever their number."""
    page = list(sessions)
    prices = prices_of(actor, page)
    with_vat = is_driver_only(actor)
    return [
        PricedRow(
            **{one.name: getattr(row, one.name) for one in fields(SessionRow)},
            price=prices.get(session.pk, NO_PRICE),
            with_vat=with_vat,
        )
        for row, session in zip(session_rows(actor, page), page, strict=True)
    ]


def prices_of(actor: Actor, sessions: Iterable[Session]) -> dict[int, Price]:
    """Prices by session id, of those sessions whose price is the visitor's to know."""
    told = [session for session in sessions if _may_know(actor, session)]
    ids = [session.pk for session in told]
    settlements = {one.pk: one for one in Settlement.objects.visible_to(actor).filter(pk__in=ids)} if ids else {}
    cdrs = _standing_cdrs(actor, ids) if ids else {}
    return {session.pk: _price(session, settlements.get(session.pk), cdrs.get(session.pk)) for session in told}


def _may_know(actor: Actor, session: Session) -> bool:
    return is_own_card(actor, session) and actor.can(SEES_PRICES, organisation_id=session.organisation_id)


def _standing_cdrs(actor: Actor, sessions: list[int]) -> dict[int, Cdr]:
    items = RatedItem.objects.visible_to(actor).order_by("pk")
    found = Cdr.objects.visible_to(actor).standing().filter(session__in=sessions)
    return {one.session_id: one for one in found.prefetch_related(Prefetch("items", queryset=items))}


def _price(session: Session, settlement: Settlement | None, cdr: Cdr | None) -> Price:
    if cdr is not None:
        return _price_of(cdr)
    if session.state in (SessionState.ACTIVE, SessionState.AWAITING):
        return NO_PRICE
    if session.state == SessionState.VOID:
        state: str = SettlementState.VOID
    else:
        state = settlement.state if settlement is not None else SettlementState.WAITING
    if settlement is not None and state == SettlementState.HELD:
        return Price(state=state, word=settlement.get_state_display(), why=str(HoldReason(settlement.reason).label))
    if state == SettlementState.PRICED:  # its CDR was taken back, and the next one is still to come
        state = SettlementState.WAITING
    return Price(state=state, word=str(SettlementState(state).label), why=str(MEANING[SettlementState(state)]))


def _price_of(cdr: Cdr) -> Price:
    items = tuple(_item(one) for one in cdr.items.all())
    return Price(
        state=SettlementState.PRICED,
        word=str(SettlementState.PRICED.label),
        currency=cdr.currency,
        sums=totals(((one.vat_percent, one.amount) for one in items), cdr.currency),
        items=items,
        steps=tuple(_step(one) for one in cdr.explanation if isinstance(one, dict)),
        corrected=cdr.version > 1,
        interpolated=cdr.interpolated,
    )


def _step(told: dict[str, str]) -> PriceStep:
    country, _space, day = told["of"].rpartition(" ")
    shown = date_format(dt.date.fromisoformat(day)) if day else ""
    asked = Step(told["code"], told["found"]).asked
    return PriceStep(asked, " ".join(filter(None, [country, shown])), told["found"])


def _item(item: RatedItem) -> PriceItem:
    return PriceItem(
        dimension=item.dimension,
        word=str(Dimension(item.dimension).label),
        measured=item.quantity,
        billed=item.billed,
        amount=item.amount,
        vat_percent=item.vat_percent,
        periods=tuple(_period(one) for one in item.periods if isinstance(one, dict) and "price" in one),
    )


def _period(told: dict[str, Any]) -> PricePeriod:
    since, until = parse_datetime(told["since"]), parse_datetime(told["until"])
    assert since is not None
    assert until is not None
    return PricePeriod(
        since=since,
        until=until,
        billed=_decimal(told["billed"]),
        price=Decimal(told["price"]),
    )


def _decimal(text: str) -> Decimal:
    """A whole number, a decimal or a fraction as text, with the places that a page can show."""
    return money.half_up(Fraction(text), money.EXACT_DIGITS)
