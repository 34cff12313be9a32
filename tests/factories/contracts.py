"""Tariffs, contracts and what binds cards to them."""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
from decimal import Decimal

from django.utils import timezone

from apps.accounts.models import Operator
from apps.cards.models import Token, TokenContract
from apps.contracts.models import BillingAccount, Contract, ContractVersion, Party
from apps.tariffs.models import Tariff, TariffVersion, VatRate

LONG_AGO = dt.date(2024, 1, 1)
_numbers = itertools.count(1)

ENERGY = [{"price_components": [{"type": "ENERGY", "price": "0.49", "step_size": 1, "vat_class": "standard"}]}]


def published_version(operator: Operator, elements: list | None = None, **given) -> TariffVersion:
    """Version 1 of a new tariff, valid since 2024: 0.49 a kWh unless something else is said."""
    name, currency = given.pop("name", f"Tariff {next(_numbers)}"), given.pop("currency", "EUR")
    tariff = Tariff.everything.create(operator=operator, name=name, currency=currency)
    elements = ENERGY if elements is None else elements
    fields = {"valid_from": LONG_AGO, "published_at": timezone.now(), **given}
    sha256 = hashlib.sha256(repr(elements).encode()).hexdigest()
    return TariffVersion.everything.create(
        operator=operator, tariff=tariff, number=1, elements=elements, sha256=sha256, **fields
    )


def make_contract(tenant, *, bind: bool = True, elements: list | None = None, base_fee: str = "0", **given) -> Contract:
    """A contract of the tenant's fleet since 2024, with VAT for Germany; the tenant's card is bound to it."""
    operator, number = tenant.operator, next(_numbers)
    given = {"currency": "EUR", "starts_on": LONG_AGO, **given}
    version = published_version(operator, elements, currency=given["currency"])
    party = Party.everything.create(operator=operator, name=f"{tenant.fleet} {number}", organisation=tenant.fleet)
    account = BillingAccount.everything.create(
        operator=operator,
        party=party,
        number=f"K{number:05}",
        name=party.name,
        street="Quay 7",
        postal_code="20457",
        city="Hamburg",
        country="DE",
        email=f"invoices{number}@{operator.slug}.example",
    )
    contract = Contract.everything.create(operator=operator, account=account, number=f"V{number:05}", **given)
    ContractVersion.everything.create(
        operator=operator,
        contract=contract,
        number=1,
        valid_from=contract.starts_on,
        tariff=version.tariff,
        base_fee=Decimal(base_fee),
    )
    VatRate.everything.get_or_create(
        operator=operator, country="DE", vat_class="standard", valid_from=LONG_AGO, defaults={"percent": Decimal(19)}
    )
    if bind:
        bind_card(tenant.token, contract)
    return contract


def bind_card(token: Token, contract: Contract, valid_from: dt.date = LONG_AGO, valid_to: dt.date | None = None):
    return TokenContract.everything.create(
        operator_id=token.operator_id, token=token, contract=contract, valid_from=valid_from, valid_to=valid_to
    )
