"""From rated items and contracts to invoice lines: one a CDR and VAT class, one a contract's month."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import groupby
from typing import Any

from django.db.models import prefetch_related_objects

from apps.billing.models import InvoiceLine, LineKind, LineUnit
from apps.charging.models import Cdr, CdrKind, RatedItem
from apps.contracts.models import Contract
from apps.core import money
from apps.tariffs.elements import Dimension, VatClass

_WH_A_KWH = 1000
_SECONDS_AN_HOUR = 3600


@dataclass(slots=True)
class Sold:
    """A line that has no invoice yet, who sold it, and what it bills."""

    line: InvoiceLine
    seller_id: int
    currency: str
    items: Sequence[RatedItem] = ()


def session_lines(cdrs: Iterable[Cdr], items: Iterable[RatedItem]) -> list[Sold]:
    """One line a CDR and VAT class, in the order of the CDRs."""
    cdrs = list(cdrs)
    prefetch_related_objects(cdrs, "account__party")  # once for all: whose customer may know the charger
    by_cdr: dict[int, list[RatedItem]] = defaultdict(list)
    for item in items:
        by_cdr[item.cdr_id].append(item)
    return [
        Sold(_session_line(cdr, vat_class, group), cdr.seller_id, cdr.currency, group)
        for cdr in cdrs
        for vat_class, group in _by_class(by_cdr[cdr.pk])
    ]


def fee_line(
    contract: Contract, month: dt.date, amount: Decimal, *, supplied_on: dt.date, country: str, percent: Decimal | None
) -> InvoiceLine:
    """The base fee of a contract for a month: whole, whenever in the month the contract began or ended."""
    return InvoiceLine(
        operator_id=contract.operator_id,
        kind=LineKind.BASE_FEE,
        contract=contract,
        supplied_on=supplied_on,
        text={"contract": str(contract), "month": month.isoformat(), "parts": []},
        quantity=Decimal(1),
        unit=LineUnit.MONTH,
        net=money.rounded(amount, contract.currency),
        vat_class=VatClass.STANDARD,
        vat_percent=percent,
        country=country,
    )


def _by_class(items: list[RatedItem]) -> list[tuple[str, list[RatedItem]]]:
    ordered = sorted(items, key=lambda item: (item.vat_class, item.pk))
    return [(vat_class, list(group)) for vat_class, group in groupby(ordered, lambda item: item.vat_class)]


def _session_line(cdr: Cdr, vat_class: str, items: list[RatedItem]) -> InvoiceLine:
    sign = -1 if cdr.kind == CdrKind.CREDIT else 1
    energy = next((abs(item.quantity) for item in items if item.dimension == Dimension.ENERGY), None)
    return InvoiceLine(
        operator_id=cdr.operator_id,
        kind=LineKind.SESSION,
        cdr=cdr,
        contract_id=cdr.contract_version.contract_id,
        since=cdr.started_at,
        until=cdr.ended_at,
        supplied_on=cdr.supplied_on,
        text={**_words(cdr), "parts": [part for item in items for part in _parts(item, sign)]},
        quantity=sign * (energy / _WH_A_KWH if energy is not None else Decimal(1)),
        unit=LineUnit.KWH if energy is not None else LineUnit.SESSION,
        net=money.total((item.amount for item in items), cdr.currency),
        vat_class=vat_class,
        vat_percent=items[0].vat_percent,
        country=cdr.country,
    )


def _words(cdr: Cdr) -> dict[str, Any]:
    """What the customer reads: names as they were at the session, as far as the CDR kept them."""
    return {
        "cdr": str(cdr.public_id),
        "place": cdr.place.get("name") or cdr.location.name,
        "city": cdr.place.get("city") or cdr.location.city,
        "zone": cdr.place.get("time_zone") or cdr.location.time_zone,
        "charger": (cdr.place.get("station") or str(cdr.station)) if _is_at_home(cdr) else "",
        "card": cdr.card.get("label") or cdr.card.get("visual_number") or str(cdr.token),
        "driver": cdr.card.get("driver") or (cdr.holder.get_full_name() if cdr.holder else ""),
        "credit": cdr.kind == CdrKind.CREDIT,
        "interpolated": cdr.interpolated,
    }


def _is_at_home(cdr: Cdr) -> bool:
    """Whether the customer is the place's host: only then it may know the station (design, who owns what)."""
    return cdr.host_id is not None and cdr.host_id == cdr.account.party.organisation_id


def _parts(item: RatedItem, sign: int) -> list[dict[str, str]]:
    """How much of a dimension was billed at which unit price, in the order in which the prices came up."""
    billed: dict[str, Fraction] = {}
    for period in item.periods if isinstance(item.periods, list) else []:
        price = str(period["price"])
        billed[price] = billed.get(price, Fraction(0)) + abs(Fraction(str(period["billed"])))
    if not billed:
        billed = {"": abs(Fraction(item.billed))}
    return [
        {
            "dimension": item.dimension,
            "quantity": _plain(sign * quantity / _unit(item.dimension)),
            "price": price,
        }
        for price, quantity in billed.items()
    ]


def _unit(dimension: str) -> int:
    """In what a price is quoted: kWh, hour, or the session itself."""
    if dimension == Dimension.ENERGY:
        return _WH_A_KWH
    return 1 if dimension == Dimension.FLAT else _SECONDS_AN_HOUR


def _plain(quantity: Fraction) -> str:
    return f"{money.half_up(quantity, money.EXACT_DIGITS).normalize():f}"
