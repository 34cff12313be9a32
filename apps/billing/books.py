"""What a run looks up again and again: registrations, and the base fees of accounts."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Container
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby

from django.utils import timezone

from apps.accounts.models import Seller, SellerRegistration
from apps.accounts.selectors import default_seller, operator_zone
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
        return next((row for row in self._rows.get((seller_id, country), ()) if row.covers(country, day)), None)


@dataclass(frozen=True, slots=True)
class Fee:
    """A contract's base fee of a month, with what its line needs."""

    contract: Contract
    month: dt.date
    seller: Seller
    amount: Decimal
    supplied_on: dt.date
    percent: Decimal | None

    def line(self) -> InvoiceLine:
        return lines.fee_line(
            self.contract,
            self.month,
            self.amount,
            supplied_on=self.supplied_on,
            country=self.seller.country,
            percent=self.percent,
        )


class FeeBook:
    """The base fees of some accounts: of each month that is over and had a run, up to the month of this one.

    The version in force on a month's first day, or on the contract's first, names the fee; the operator's default
    seller sells it, at home, with the VAT of the month's last day, or of the contract's. A fee is owed whole, also
    where the contract began or ended in the month.
    """

    def __init__(self, actor: Actor, run: BillingRun, accounts: Collection[BillingAccount]) -> None:
        self._actor = actor
        self._seller = default_seller(run.operator_id)
        self._months = _months_over(actor, run)
        self._contracts: dict[int, list[Contract]] = defaultdict(list)
        for contract in Contract.objects.visible_to(actor).filter(account__in=accounts).order_by("number"):
            self._contracts[contract.account_id].append(contract)
        versions = ContractVersion.objects.visible_to(actor).filter(contract__account__in=accounts)
        ordered = versions.order_by("contract_id", "-valid_from", "-number")
        self._versions = {pk: list(rows) for pk, rows in groupby(ordered, lambda row: row.contract_id)}
        self._rates: dict[dt.date, Decimal | None] = {}

    def due(self, account: BillingAccount, billed: Container[tuple[int, dt.date]]) -> list[Fee]:
        """What the account owes but for the `billed` (contract, month)."""
        owed = (
            self._fee(contract, month, ends_on)
            for month, ends_on in self._months.items()
            for contract in self._contracts.get(account.pk, ())
            if (contract.pk, month) not in billed
        )
        return [fee for fee in owed if fee is not None]

    def _fee(self, contract: Contract, month: dt.date, ends_on: dt.date) -> Fee | None:
        first, last = max(month, contract.starts_on), min(ends_on, contract.ends_on or ends_on)
        version = next((one for one in self._versions.get(contract.pk, ()) if one.valid_from <= first), None)
        if self._seller is None or last < first or version is None or not version.base_fee:
            return None
        return Fee(contract, month, self._seller, version.base_fee, last, self._rate(self._seller, last))

    def _rate(self, seller: Seller, day: dt.date) -> Decimal | None:
        if day not in self._rates:
            rates = vat_rates(self._actor, country=seller.country, day=day)
            self._rates[day] = rates.get(VatClass.STANDARD)
        return self._rates[day]


def _months_over(actor: Actor, run: BillingRun) -> dict[dt.date, dt.date]:
    """First and last days of the months that any run billed, this one's too once it is over for the operator.

    The earlier ones as well: a fee whose draft was stopped, or whose invoice was cancelled, is still owed.
    """
    today = timezone.localdate(run.began_at, operator_zone(run.operator_id))
    runs = BillingRun.objects.visible_to(actor).filter(period__lte=run.period).order_by("period")
    return {one.period: one.ends_on for one in runs if one.ends_on < today}
