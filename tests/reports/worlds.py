"""Sessions with their CDRs and the invoices that bill them, as rows: what runs and settling would leave behind."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.test import RequestFactory
from django.utils import timezone

from apps.accounts.models import Brand, Seller, SellerRegistration, User
from apps.accounts.selectors import actor_of_request
from apps.billing import snapshots
from apps.billing.models import BilledFee, BilledItem, Invoice, InvoiceKind, InvoiceLine, InvoiceState
from apps.billing.totals import totals
from apps.charging.models import Cdr, CdrKind, RatedItem, Session, SessionState, Settlement, SettlementState
from apps.contracts.models import Contract
from apps.core import money
from apps.core.actor import Actor
from tests.factories.cast import Tenant
from tests.factories.charging import make_session

UTC = dt.UTC


def actor_on(brand: Brand, user: User) -> Actor:
    """Who somebody is on a brand's host."""
    request = RequestFactory().get("/", headers={"host": brand.host})
    request.user, request.brand, request.session = user, brand, {}
    return actor_of_request(request)


def at(month: int, day: int, hour: int = 10, minute: int = 0) -> dt.datetime:
    return dt.datetime(2026, month, day, hour, minute, tzinfo=UTC)


def ended_session(tenant: Tenant, start: dt.datetime, *, energy_wh: int = 10_000, **given) -> Session:
    """An hour's session that ended."""
    return make_session(
        tenant,
        started_at=start,
        ended_at=start + dt.timedelta(hours=1),
        meter_start_wh=1_000,
        meter_stop_wh=1_000 + energy_wh,
        state=SessionState.ENDED,
        **given,
    )


def settle(session: Session, state: str, reason: str = "") -> Settlement:
    return Settlement.everything.update_or_create(
        session=session,
        defaults={"operator_id": session.operator_id, "state": state, "reason": reason, "since": timezone.now()},
    )[0]


def price(session: Session, contract: Contract, *, per_kwh: str = "0.49", version: int = 1, percent: str = "19") -> Cdr:
    """The session's CDR with one item of energy."""
    terms = contract.versions.get()
    energy = session.meter_stop_wh - session.meter_start_wh
    exact = Decimal(energy) / 1000 * Decimal(per_kwh)
    amount = money.rounded(exact, contract.currency)
    settle(session, SettlementState.PRICED)
    cdr = Cdr.everything.create(
        operator_id=session.operator_id,
        session=session,
        version=version,
        location=session.location,
        station=session.station,
        seller=session.location.seller,
        token=session.token,
        host=session.host,
        organisation=session.organisation,
        holder=session.holder,
        account=contract.account,
        contract_version=terms,
        tariff_version=terms.tariff.versions.get(),
        place={"name": session.location.name, "station": str(session.station)},
        card={"label": session.token.label, "driver": session.holder.get_full_name() if session.holder else ""},
        started_at=session.started_at,
        ended_at=session.ended_at,
        energy_wh=energy,
        charging_s=3600,
        parking_s=0,
        meter_start_wh=session.meter_start_wh,
        meter_stop_wh=session.meter_stop_wh,
        evidence={},
        explanation=[
            {"code": "card", "of": "", "found": str(session.token)},
            {"code": "contract", "of": f"{session.started_at:%Y-%m-%d}", "found": str(contract)},
            {"code": "vat", "of": f"DE {session.ended_at:%Y-%m-%d}", "found": f"{percent} %"},
        ],
        country="DE",
        supplied_on=session.ended_at.astimezone(ZoneInfo(session.location.time_zone)).date(),
        currency=contract.currency,
        total=amount,
        engine="1",
        created_at=session.ended_at,
    )
    period = {
        "element": 1,
        "since": session.started_at.isoformat(),
        "until": session.ended_at.isoformat(),
        "quantity": str(energy),
        "billed": str(energy),
        "price": per_kwh,
        "step": 1,
        "exact": str(exact),
        "registers": None,
        "interpolated": False,
    }
    RatedItem.everything.create(
        operator_id=session.operator_id,
        cdr=cdr,
        dimension="ENERGY",
        vat_class="standard",
        vat_percent=Decimal(percent),
        quantity=energy,
        billed=energy,
        exact=exact,
        amount=amount,
        periods=[period],
    )
    return cdr


def credit(cdr: Cdr) -> Cdr:
    """What takes the CDR back."""
    items = list(cdr.items.all())
    taken = Cdr.everything.get(pk=cdr.pk)
    taken.pk, taken.public_id = None, Cdr._meta.get_field("public_id").get_default()
    taken.kind, taken.credits, taken.total = CdrKind.CREDIT, cdr, -cdr.total
    taken._state.adding = True
    taken.save(force_insert=True)
    for item in items:
        item.pk, item.cdr, item.exact, item.amount = None, taken, -item.exact, -item.amount
    RatedItem.everything.bulk_create(items)
    return taken


def registration_of(seller: Seller) -> SellerRegistration:
    return SellerRegistration.everything.get_or_create(
        operator_id=seller.operator_id,
        seller=seller,
        country="DE",
        defaults={
            "vat_id": "DE136695976",
            "number_prefix": f"DE{seller.pk}",
            "valid_from": dt.date(2024, 1, 1),
        },
    )[0]


def bill(
    contract: Contract, cdrs: Sequence[Cdr], *, number: str, month: int, fee: str = "", final: bool = True
) -> Invoice:
    """An invoice of a month of 2026 with these CDRs and perhaps a base fee; a draft where it is not `final`."""
    seller = cdrs[0].seller
    now = timezone.now() if final else None
    first = dt.date(2026, month, 1)
    lines = [_session_line(number, cdr) for number, cdr in enumerate(cdrs, 1)]
    if fee:
        lines.append(_fee_line(len(lines) + 1, contract, first, Decimal(fee)))
    invoice = Invoice(
        operator_id=contract.operator_id,
        account=contract.account,
        seller=seller,
        country="DE",
        registration=registration_of(seller),
        currency=contract.currency,
        period_from=first,
        period_to=(first + dt.timedelta(days=31)).replace(day=1) - dt.timedelta(days=1),
    )
    if final:
        _finish(invoice, lines, number, (first + dt.timedelta(days=31)).replace(day=1))
    invoice.save(force_insert=True)
    for line in lines:
        line.invoice, line.finalised_at = invoice, now
        line.save(force_insert=True)
        _link(line, first)
    return invoice


def cancel(invoice: Invoice, *, number: str) -> Invoice:
    """The credit note that takes the invoice back; what it billed is free again."""
    now = timezone.now()
    note = Invoice(
        operator_id=invoice.operator_id,
        kind=InvoiceKind.CREDIT_NOTE,
        cancels=invoice,
        **{
            name: getattr(invoice, name)
            for name in ("account", "seller", "country", "registration", "currency", "period_from", "period_to")
        },
    )
    lines = list(invoice.lines.order_by("position"))
    for line in lines:
        line.pk, line.net, line.quantity = None, -line.net, -line.quantity
    _finish(note, lines, number, invoice.issue_date)
    note.save(force_insert=True)
    for line in lines:
        line.invoice, line.finalised_at, line._state.adding = note, now, True
        line.save(force_insert=True)
    for links in (BilledItem, BilledFee):
        links.everything.filter(line__invoice=invoice).update(released_at=now)
    return note


def _finish(invoice: Invoice, lines: Sequence[InvoiceLine], number: str, issued_on: dt.date) -> None:
    sums = totals(((line.vat_percent, line.net) for line in lines), invoice.currency)
    invoice.state, invoice.finalised_at = InvoiceState.FINAL, timezone.now()
    invoice.number, invoice.issue_date = number, issued_on
    invoice.net, invoice.vat, invoice.gross = sums.net, sums.vat, sums.gross
    brand = {"name": "", "accent": "", "logo": None}
    frozen = snapshots.snapshot_of(invoice, invoice.registration, lines, sums, brand)
    invoice.snapshot = snapshots.numbered(frozen, invoice)


def _session_line(position: int, cdr: Cdr) -> InvoiceLine:
    return InvoiceLine(
        operator_id=cdr.operator_id,
        position=position,
        kind="session",
        cdr=cdr,
        since=cdr.started_at,
        until=cdr.ended_at,
        supplied_on=cdr.supplied_on,
        quantity=Decimal(cdr.energy_wh) / 1000,
        unit="kwh",
        net=cdr.total,
        vat_class="standard",
        vat_percent=cdr.items.get().vat_percent,
        country="DE",
    )


def _fee_line(position: int, contract: Contract, month: dt.date, amount: Decimal) -> InvoiceLine:
    return InvoiceLine(
        operator_id=contract.operator_id,
        position=position,
        kind="base_fee",
        contract=contract,
        supplied_on=month,
        quantity=Decimal(1),
        unit="month",
        net=amount,
        vat_class="standard",
        vat_percent=Decimal(19),
        country="DE",
    )


def _link(line: InvoiceLine, month: dt.date) -> None:
    if line.cdr is None:
        BilledFee.everything.create(operator_id=line.operator_id, contract=line.contract, month=month, line=line)
    else:
        for item in line.cdr.items.all():
            BilledItem.everything.create(operator_id=line.operator_id, item=item, line=line)
