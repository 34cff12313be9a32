"""What a run looks up again and again, read once: registrations, and the base fees of accounts."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby

from apps.accounts.models import Seller, SellerRegistration
from apps.accounts.selectors import default_seller
from apps.billing import lines
from apps.billing.models import BillingRun, InvoiceLine
from apps.contracts.models import BillingAccount, Contract, ContractVersion
from apps.core.actor import Actor
from apps.tariffs.elements import VatClass
from apps.tariffs.selectors import vat_rates


class RegistrationBook:
    """All VAT registrations of an operator's sellers."""

    def __init__(self, actor: Actor) -> None:
        self._rows: dict[tuple[int, str], list[SellerRegistration]] = defaultdict(list)
        for row in SellerRegistration.objects.visible_to(actor).order_by("valid_from"):
            self._rows[row.seller_id, row.country].append(row)

    def of(self, seller_id: int, country: str, day: dt.date) -> SellerRegistration | None:
        """The one in force on the date of a supply."""
        for row in self._rows.get((seller_id, country), ()):
            if row.valid_from <= day and (row.valid_to is None or day <= row.valid_to):
                return row
        return None


@dataclass(frozen=True, slots=True)
class Fee:
    """A contract's base fee of a month, with what its line needs."""

    contract: Contract
    seller: Seller
    amount: Decimal
    supplied_on: dt.date
    percent: Decimal | None

    def line(self, month: dt.date) -> InvoiceLine:
        return lines.fee_line(
            self.contract,
            month,
            self.amount,
            supplied_on=self.supplied_on,
            country=self.seller.country,
            percent=self.percent,
        )


class FeeBook:
    """The base fees that some accounts owe for a run's month, which is over: three queries, whatever their number.

    The version in force on the month's first day, or on the contract's first, names the fee; the operator's default
    seller sells it, at home. A fee is owed whole, also where the contract began or ended in the month.
    """

    def __init__(self, actor: Actor, run: BillingRun, accounts: Collection[BillingAccount]) -> None:
        self._by_account: dict[int, list[Fee]] = defaultdict(list)
        seller = default_seller(run.operator_id)
        if seller is None or run.began_at.date() <= run.ends_on:
            return
        contracts = (
            Contract.objects.visible_to(actor)
            .filter(account__in=accounts, starts_on__lte=run.ends_on)
            .exclude(ends_on__lt=run.period)
            .order_by("number")
        )
        versions = ContractVersion.objects.visible_to(actor).filter(contract__in=contracts)
        ordered = versions.order_by("contract_id", "-valid_from", "-number")
        known = {pk: list(rows) for pk, rows in groupby(ordered, lambda row: row.contract_id)}
        rates: dict[dt.date, Decimal | None] = {}
        for contract in contracts:
            first = max(run.period, contract.starts_on)
            version = next((one for one in known.get(contract.pk, []) if one.valid_from <= first), None)
            if version is None or not version.base_fee:
                continue
            day = min(run.ends_on, contract.ends_on or run.ends_on)
            if day not in rates:
                rates[day] = vat_rates(actor, country=seller.country, day=day).get(VatClass.STANDARD)
            self._by_account[contract.account_id].append(Fee(contract, seller, version.base_fee, day, rates[day]))

    def due(self, account: BillingAccount) -> list[Fee]:
        return self._by_account.get(account.pk, [])
