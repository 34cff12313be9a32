"""Reads across invoices: what is billed where, what is stopped, in whose look it goes out."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, OuterRef
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from apps.accounts.models import Brand, Seller
from apps.accounts.selectors import brand_for
from apps.billing import snapshots
from apps.billing.models import BilledItem, BillingRun, Delivery, Invoice, InvoiceLine, InvoiceState, RunState
from apps.contracts.models import BillingAccount
from apps.core import money
from apps.core.actor import Actor

MONTHS_BACK = 12


class Looks:
    """In which brand's look the invoices of sellers go out, each brand read once."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self._known: dict[int, dict[str, Any]] = {}

    def of(self, seller: Seller) -> dict[str, Any]:
        """A host's own brand where it sells itself, else the operator's: never that of whoever pays."""
        organisation_id = seller.organisation_id or 0
        if organisation_id not in self._known:
            brands = Brand.objects.visible_to(self._actor).order_by("pk")
            own = brands.filter(organisation=organisation_id).first() if organisation_id else None
            found = own or brands.filter(organisation=None).first()
            self._known[organisation_id] = snapshots.look_of(self._actor, found)
        return self._known[organisation_id]


def brand_of(actor: Actor, account: BillingAccount) -> Brand | None:
    """The brand on which a customer sees its invoices: its organisation's own, else the operator's."""
    organisation = account.party.organisation
    if organisation is not None:
        return brand_for(operator=account.operator, organisation=organisation)
    return Brand.objects.visible_to(actor).filter(organisation=None).order_by("pk").first()


# --- for the portal, reports and the back office ----------------------------------------------------------------------
def final_invoices(actor: Actor) -> Any:
    """Final invoices and credit notes that the actor may see, newest first."""
    rows = Invoice.objects.visible_to(actor).final().defer("snapshot")
    return rows.select_related("account", "cancels", "credit_note", "file").order_by("-issue_date", "-pk")


def invoice_of(actor: Actor, public_id: uuid.UUID | str) -> Invoice | None:
    """One final invoice or credit note with its snapshot, or None where the actor does not see it."""
    rows = Invoice.objects.visible_to(actor).final().filter(public_id=public_id)
    found: Invoice | None = rows.select_related("account", "cancels", "credit_note", "file__document").first()
    return found


@dataclass(frozen=True, slots=True)
class BilledOn:
    """The final invoice on which a CDR stands."""

    invoice_id: int
    public_id: uuid.UUID
    number: str


def invoices_of_cdrs(actor: Actor, cdrs: Collection[int]) -> dict[int, BilledOn]:
    """CDR → the final invoice that bills it now. One query; a CDR on a draft, or on no invoice, is not in it."""
    rows = (
        BilledItem.objects.visible_to(actor)
        .live()
        .filter(item__cdr__in=cdrs, line__invoice__finalised_at__isnull=False)
        .values_list("item__cdr", "line__invoice", "line__invoice__public_id", "line__invoice__number")
        .distinct()
    )
    return {cdr: BilledOn(pk, public_id, number) for cdr, pk, public_id, number in rows}


def stopped_drafts(actor: Actor) -> Any:
    """Drafts that a problem holds back, oldest first: for the attention list."""
    rows = Invoice.objects.visible_to(actor).filter(state=InvoiceState.STOPPED).defer("snapshot")
    return rows.select_related("account", "run").order_by("created_at", "pk")


def refused_deliveries(actor: Actor) -> Any:
    """Invoices whose last e-mail the mail server refused, oldest first: for the attention list."""
    later = Delivery.objects.unscoped("of an invoice that the actor sees").filter(
        invoice=OuterRef("invoice"), pk__gt=OuterRef("pk")
    )
    rows = Delivery.objects.visible_to(actor).refused().exclude(Exists(later))
    return rows.select_related("invoice__account", "mail").defer("invoice__snapshot").order_by("at", "pk")


def open_run(actor: Actor) -> BillingRun | None:
    """The newest run that is not final, if any."""
    found: BillingRun | None = (
        BillingRun.objects.visible_to(actor).exclude(state=RunState.FINALISED).order_by("-period", "-number").first()
    )
    return found


def months_to_bill(today: dt.date) -> list[tuple[str, str]]:
    """The months that a run may bill, as choices: the last one that is over first, then earlier ones, then this one."""
    first = today.replace(day=1)
    months = [first]
    for _number in range(MONTHS_BACK):
        months.append((months[-1] - dt.timedelta(days=1)).replace(day=1))
    running = _("%(month)s, which is not over") % {"month": month_in_words(first)}
    return [*((one.isoformat(), month_in_words(one)) for one in months[1:]), (first.isoformat(), running)]


def month_in_words(month: dt.date) -> str:
    """`October 2026` in the reader's language."""
    return date_format(month, "YEAR_MONTH_FORMAT")


# --- the bookkeeper's file --------------------------------------------------------------------------------------------
LEDGER_HEAD = (
    "invoice", "kind", "issue_date", "cancels", "customer", "customer_name", "customer_vat_id", "seller",
    "seller_vat_id", "position", "line", "supplied_on", "start", "end", "place", "charger", "card", "contract",
    "quantity", "unit", "net", "vat_percent", "currency", "supply_country",
)  # fmt: skip


def ledger_rows(actor: Actor, run: BillingRun) -> Iterable[tuple[Any, ...]]:
    """All lines of a run's final invoices, and of the credit notes that took any of them back."""
    yield LEDGER_HEAD
    for path in ("invoice__run", "invoice__cancels__run"):
        rows = (
            InvoiceLine.objects.visible_to(actor)
            .filter(**{path: run, "invoice__finalised_at__isnull": False})
            .select_related("invoice__account", "invoice__seller", "invoice__registration", "invoice__cancels")
            .select_related("contract")
            .defer("invoice__snapshot", "invoice__cancels__snapshot")
            .order_by("invoice__number", "position")
        )
        for line in rows.iterator(chunk_size=500):
            yield _ledger_row(line)


def _ledger_row(line: InvoiceLine) -> tuple[Any, ...]:
    invoice, text = line.invoice, line.text
    return (
        invoice.number, invoice.kind, invoice.issue_date, invoice.cancels.number if invoice.cancels else "",
        invoice.account.number, invoice.account.name, invoice.account.vat_id, invoice.seller.legal_name,
        invoice.registration.vat_id if invoice.registration else "", line.position, line.kind, line.supplied_on,
        line.since.isoformat() if line.since else "", line.until.isoformat() if line.until else "",
        text.get("place", ""), text.get("charger", ""), text.get("card", ""),
        line.contract.number if line.contract else "", money.half_up(line.quantity, 3), line.unit, line.net,
        line.vat_percent, invoice.currency, line.country,
    )  # fmt: skip
