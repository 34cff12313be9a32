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


def standing_contract(operator: Operator) -> Contract:
    """The contract that every card of an operator has unless a test says otherwise: enough to charge on, and nothing
    in it is final, so that a test that commits can be taken back."""
    known = Contract.everything.filter(operator=operator).order_by("pk").first()
    return known or _contract(operator, None, currency="EUR", starts_on=LONG_AGO)


def make_contract(tenant, *, bind: bool = True, **given) -> Contract:
    """Another contract of the tenant's fleet, to which its card moves."""
    contract = create_contract(tenant.operator, organisation=tenant.fleet, **given)
    if bind:
        TokenContract.everything.filter(token=tenant.token).delete()
        bind_card(tenant.token, contract)
    return contract


def create_contract(
    operator: Operator,
    *,
    organisation=None,
    elements: list | None = None,
    base_fee: str = "0",
    tariff_from: dt.date = LONG_AGO,
    **given,
) -> Contract:
    """A contract since 2024 with party, account and tariff, and VAT for Germany."""
    contract = _contract(operator, organisation, **{"currency": "EUR", "starts_on": LONG_AGO, **given})
    version = published_version(operator, elements, currency=contract.currency, valid_from=tariff_from)
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
    return contract


def _contract(operator: Operator, organisation, **given) -> Contract:
    number = next(_numbers)
    party = Party.everything.create(operator=operator, name=f"{operator} customer {number}", organisation=organisation)
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
    return Contract.everything.create(operator=operator, account=account, number=f"V{number:05}", **given)


def bind_card(token: Token, contract: Contract, valid_from: dt.date = LONG_AGO, valid_to: dt.date | None = None):
    return TokenContract.everything.create(
        operator_id=token.operator_id, token=token, contract=contract, valid_from=valid_from, valid_to=valid_to
    )
