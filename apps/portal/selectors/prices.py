"""What a session costs, as far as the visitor may know it, or why there is no price."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from decimal import Decimal

from django.db.models import Prefetch
from django.utils.translation import gettext_lazy as _

from apps.billing.totals import Totals, totals
from apps.charging.models import Cdr, HoldReason, RatedItem, Session, SessionState, Settlement, SettlementState
from apps.charging.prices import PriceItem, PriceStep, price_items, price_steps
from apps.charging.selectors import SessionRow, is_own_card, session_rows
from apps.core.actor import Actor
from apps.reports.selectors import SEES_PRICES

# What each state of a settlement means for whoever pays.
MEANING = {
    SettlementState.WAITING: _("Not priced yet. A session is priced some minutes after its end."),
    SettlementState.FREE: _("Free of charge: this location lets every card charge."),
    SettlementState.VOID: _("The session does not count: nothing is charged for it."),
}


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
    items = price_items(cdr)
    return Price(
        state=SettlementState.PRICED,
        word=str(SettlementState.PRICED.label),
        currency=cdr.currency,
        sums=totals(((one.vat_percent, one.amount) for one in items), cdr.currency),
        items=items,
        steps=price_steps(cdr),
        corrected=cdr.version > 1,
        interpolated=cdr.interpolated,
    )
