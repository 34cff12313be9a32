"""How a CDR's price came about, as lines for pages: what was measured, billed, at which price, by which element."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.utils.formats import date_format

from apps.cards.selectors import Step
from apps.charging.models import Cdr, RatedItem
from apps.tariffs.elements import Dimension


@dataclass(frozen=True, slots=True)
class PriceStep:
    """One line of why: what was asked (of a country, on a day), and what was found."""

    asked: str
    of: str
    found: str


@dataclass(frozen=True, slots=True)
class PricePeriod:
    """A stretch of a session at one price: Wh, seconds or 1, `price` a kWh, an hour or a session, `exact` before
    rounding. `element` is the tariff's, from 1; `interpolated` says that the meter there was not read but computed."""

    since: dt.datetime
    until: dt.datetime
    measured: Decimal
    billed: Decimal
    price: Decimal
    exact: Decimal
    element: int
    interpolated: bool


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


def price_items(cdr: Cdr) -> tuple[PriceItem, ...]:
    """The lines of a price. Prefetch `items` where there are many CDRs."""
    return tuple(_item(one) for one in sorted(cdr.items.all(), key=lambda item: item.pk))


def price_steps(cdr: Cdr) -> tuple[PriceStep, ...]:
    """Which card, contract, tariff and VAT it was."""
    return tuple(_step(one) for one in cdr.explanation)


def _step(told: Mapping[str, str]) -> PriceStep:
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
        periods=tuple(_period(one) for one in item.periods),
    )


def _period(told: Mapping[str, Any]) -> PricePeriod:
    return PricePeriod(
        since=dt.datetime.fromisoformat(told["since"]),
        until=dt.datetime.fromisoformat(told["until"]),
        measured=Decimal(told["quantity"]),
        billed=Decimal(told["billed"]),
        price=Decimal(told["price"]),
        exact=Decimal(told["exact"]),
        element=told["element"],
        interpolated=told["interpolated"],
    )
