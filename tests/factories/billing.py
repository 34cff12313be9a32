"""CDRs as if priced, cheap and many, and sellers that may issue invoices: tests of billing need no charging."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal

from django.utils import timezone

from apps.accounts.models import Seller, SellerRegistration
from apps.billing import services
from apps.billing.models import BillingRun, Invoice
from apps.charging.models import Cdr, Counter, RatedItem, Session, SessionState
from apps.contracts.models import Contract
from apps.core.actor import Actor
from tests.factories.accounts import OrganisationFactory
from tests.factories.cast import Tenant
from tests.factories.contracts import LONG_AGO, make_contract
from tests.factories.installations import LocationFactory, StationFactory

MONTH = dt.date(2026, 10, 1)
NOON = dt.datetime(2026, 10, 12, 10, 0, tzinfo=dt.UTC)
VAT_ID = "DE136695976"


def make_seller(tenant: Tenant, country: str = "DE", prefix: str = "DE", **given) -> SellerRegistration:
    """The tenant's default seller with an address, registered in a country since 2024."""
    seller = tenant.location.seller
    Seller.everything.filter(pk=seller.pk).update(street="Ring 1", postal_code="20095", city="Hamburg")
    seller.refresh_from_db()
    fields = {"vat_id": VAT_ID, "valid_from": LONG_AGO, **given}
    return SellerRegistration.everything.create(
        operator=tenant.operator, seller=seller, country=country, number_prefix=prefix, **fields
    )


def make_customer(tenant: Tenant, **given) -> Contract:
    """A contract whose sessions can be billed."""
    if not SellerRegistration.everything.filter(operator=tenant.operator, country="DE").exists():
        make_seller(tenant)
    return make_contract(tenant, **given)


def make_cdr(tenant: Tenant, contract: Contract, net: str = "5.43", **given) -> Cdr:
    [cdr] = make_cdrs(tenant, contract, [net], **given)
    return cdr


def make_cdrs(
    tenant: Tenant,
    contract: Contract,
    nets: Sequence[str],
    *,
    start: dt.datetime = NOON,
    percent: str = "19",
    energy_wh: int = 11_082,
    price: str = "0.49",
    apart: dt.timedelta = dt.timedelta(hours=1),
    **given,
) -> list[Cdr]:
    """One CDR of one rated item a net amount, each so long after the one before."""
    first = Counter.draw("session", len(nets))
    starts = [start + number * apart for number in range(len(nets))]
    sessions = Session.everything.bulk_create(
        _session(tenant, first + number, at, energy_wh) for number, at in enumerate(starts)
    )
    version = contract.versions.get()
    tariff_version = version.tariff.versions.get()
    place = given.pop("location", tenant.location)
    fields = {
        "operator": tenant.operator,
        "location": place,
        "station": tenant.station,
        "seller": place.seller,
        "token": tenant.token,
        "host": place.host,
        "organisation": tenant.fleet,
        "holder": tenant.driver,
        "account": contract.account,
        "contract_version": version,
        "tariff_version": tariff_version,
        "place": {},
        "card": {},
        "energy_wh": energy_wh,
        "charging_s": 3000,
        "parking_s": 0,
        "meter_start_wh": 0,
        "meter_stop_wh": energy_wh,
        "evidence": {},
        "explanation": [],
        "country": place.country,
        "currency": contract.currency,
        "engine": "1",
        "created_at": timezone.now() - dt.timedelta(minutes=1),
        **given,
    }
    cdrs = Cdr.everything.bulk_create(
        _cdr(session, Decimal(net), fields) for session, net in zip(sessions, nets, strict=True)
    )
    RatedItem.everything.bulk_create(_item(cdr, percent, price) for cdr in cdrs)
    return cdrs


def make_cdr_elsewhere(tenant: Tenant, contract: Contract, charger: str, **given) -> Cdr:
    """The tenant's card charged at a site of another organisation, at a charger of this name."""
    host = OrganisationFactory(operator=tenant.operator, name="Harbour")
    place = LocationFactory(operator=tenant.operator, name="Harbour Quay", host=host, seller=tenant.location.seller)
    station = StationFactory(operator=tenant.operator, location=place, name=charger)
    return make_cdr(tenant, contract, location=place, station=station, place={"station": charger}, **given)


def credit_of(cdr: Cdr, **given) -> Cdr:
    """The credit that takes a CDR back, with its items."""
    names = [field.attname for field in cdr._meta.concrete_fields if field.name not in ("id", "public_id")]
    copied = {name: getattr(cdr, name) for name in names}
    credit = Cdr.everything.create(**{**copied, "kind": "credit", "credits_id": cdr.pk, "total": -cdr.total, **given})
    for item in RatedItem.everything.filter(cdr=cdr):
        item.pk, item.cdr, item.exact, item.amount = None, credit, -item.exact, -item.amount
        item.save(force_insert=True)
    return credit


def drafted(tenant: Tenant, period: dt.date = MONTH, **given) -> BillingRun:
    """A run of the month, drafted."""
    run = services.start_run(actor=Actor.system(tenant.operator), period=period, **given)
    services.continue_drafting(run_id=run.pk)
    run.refresh_from_db()
    return run


def finalised(tenant: Tenant, period: dt.date = MONTH) -> list[Invoice]:
    """The final invoices of a run of the month, in the order of their numbers."""
    run = drafted(tenant, period)
    services.finalise_run(actor=Actor.system(tenant.operator), run=run, why="month's end")
    services.continue_finalising(run_id=run.pk)
    return list(Invoice.everything.filter(run=run, state="final").order_by("number"))


def _session(tenant: Tenant, pk: int, at: dt.datetime, energy_wh: int) -> Session:
    return Session(
        id=pk,
        operator=tenant.operator,
        station=tenant.station,
        connector=tenant.connector,
        connector_number=1,
        location=tenant.location,
        host=tenant.location.host,
        token=tenant.token,
        organisation=tenant.fleet,
        holder=tenant.driver,
        uid=tenant.token.uid,
        start_key=f"billed-{pk}",
        state=SessionState.ENDED,
        started_at=at,
        start_received_at=at,
        meter_start_wh=0,
        ended_at=at + dt.timedelta(minutes=50),
        meter_stop_wh=energy_wh,
    )


def _cdr(session: Session, net: Decimal, fields: dict) -> Cdr:
    own = {"session": session, "total": net, "started_at": session.started_at, "ended_at": session.ended_at}
    return Cdr(**{"supplied_on": session.ended_at.date(), **own, **fields})


def _item(cdr: Cdr, percent: str, price: str) -> RatedItem:
    period = {"dimension": "ENERGY", "element": 1, "billed": str(cdr.energy_wh), "price": price}
    return RatedItem(
        operator=cdr.operator,
        cdr=cdr,
        dimension="ENERGY",
        vat_class="standard",
        vat_percent=Decimal(percent),
        quantity=cdr.energy_wh,
        billed=cdr.energy_wh,
        exact=cdr.total,
        amount=cdr.total,
        periods=[period],
    )
