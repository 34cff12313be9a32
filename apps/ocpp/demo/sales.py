"""What the demo sells: registrations, two tariffs, the fleet's contract and one for everybody else."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from apps.accounts.models import Operator, Organisation, Seller, SellerRegistration
from apps.cards.models import Token
from apps.cards.services import assign_contract
from apps.contracts.models import Contract
from apps.contracts.services import create_account, create_contract, create_party
from apps.core.actor import Actor
from apps.ocpp.demo.cast import REGISTERED_DAYS_AGO, Tenant
from apps.tariffs.models import Tariff
from apps.tariffs.services import add_statutory_rates, create_tariff, publish_version, save_draft

WHY = "demo data"
# Numbers whose check digits are right; nobody is meant.
VAT_IDS = {"DE": "DE123456788", "NL": "NL123456782B90", "FR": "FR11123456782"}
WORKING_DAYS = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY"]


def _price(dimension: str, price: str, step: int = 1) -> dict[str, Any]:
    return {"type": dimension, "price": price, "step_size": step, "vat_class": "standard"}


DEPOT = [
    {
        "price_components": [_price("ENERGY", "0.36")],
        "restrictions": {"start_time": "07:00", "end_time": "20:00", "day_of_week": WORKING_DAYS},
    },
    {"price_components": [_price("ENERGY", "0.27")], "restrictions": {}},
]
PUBLIC = [
    {
        "price_components": [_price("PARKING_TIME", "3.00", 60)],
        "restrictions": {"start_time": "08:00", "end_time": "22:00"},
    },
    {"price_components": [_price("ENERGY", "0.49"), _price("FLAT", "0.35")], "restrictions": {}},
]


@dataclass(frozen=True, slots=True)
class Sales:
    """The contracts that the demo's cards are on."""

    actor: Actor
    since: dt.date
    fleet: Contract
    public: Contract

    def bind(self, token: Token) -> None:
        contract = self.public if token.organisation_id is None else self.fleet
        assign_contract(actor=self.actor, token=token, contract=contract, valid_from=self.since, why=WHY)


def make_sales(actor: Actor, tenant: Tenant, operator: Operator, fleet: Organisation, now: dt.datetime) -> Sales:
    """Everything that a card needs to be billed, since before the demo's month."""
    since = (now - dt.timedelta(days=REGISTERED_DAYS_AGO)).date()
    _register(actor, operator, tenant, since)
    add_statutory_rates(operator_id=operator.pk)
    depot, public = (_tariff(actor, name, found, since) for name, found in (("Depot", DEPOT), ("Public", PUBLIC)))
    return Sales(
        actor=actor,
        since=since,
        fleet=_contract(actor, 1, fleet.name, depot, since, organisation=fleet, base_fee=Decimal("49.00")),
        public=_contract(actor, 2, f"{operator.name} card holders", public, since),
    )


def _register(actor: Actor, operator: Operator, tenant: Tenant, since: dt.date) -> None:
    """For VAT in each country where the tenant has a place."""
    seller = Seller.objects.visible_to(actor).get(is_default=True)
    seller.email = f"billing@{operator.slug}.example"
    seller.save(update_fields=["email"])
    for country in sorted({place.country for place in tenant.places}):
        registration = SellerRegistration(
            operator=operator,
            seller=seller,
            country=country,
            vat_id=VAT_IDS[country],
            number_prefix=country,
            valid_from=since,
        )
        registration.full_clean()
        registration.save()


def _tariff(actor: Actor, name: str, elements: list[Any], since: dt.date) -> Tariff:
    tariff = create_tariff(actor=actor, name=name, currency="EUR")
    draft = save_draft(actor=actor, tariff=tariff, elements=elements, fee_after_minutes=5)
    publish_version(actor=actor, version=draft, valid_from=since, today=since, why=WHY)
    return tariff


def _contract(
    actor: Actor,
    number: int,
    name: str,
    tariff: Tariff,
    since: dt.date,
    *,
    organisation: Organisation | None = None,
    base_fee: Decimal = Decimal(0),
) -> Contract:
    language = organisation.language if organisation is not None else "en"
    domain = "".join(character for character in name.lower() if character.isalnum())
    party = create_party(actor=actor, name=name, organisation=organisation)
    account = create_account(
        actor=actor,
        party=party,
        number=f"C-{number:04}",
        name=name,
        street="Speicherstraße 12",
        postal_code="20457",
        city="Hamburg",
        country="DE",
        language=language,
        email=f"invoices@{domain}.example",
    )
    return create_contract(
        actor=actor,
        account=account,
        number=f"V-{number:04}",
        currency="EUR",
        starts_on=since,
        tariff=tariff,
        base_fee=base_fee,
    )
