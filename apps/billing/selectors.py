"""Reads across invoices: the final ones, the stopped and the unsent, whose look they have; the bookkeeper's file."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

from django.db.models import Exists, OuterRef
from django.db.models.fields.json import KeyTextTransform
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from apps.accounts.models import Brand, Seller
from apps.accounts.selectors import brand_for
from apps.billing import snapshots
from apps.billing.models import BillingRun, Delivery, Invoice, InvoiceLine, InvoiceState
from apps.contracts.models import BillingAccount
from apps.core import money
from apps.core.actor import Actor

MONTHS_BACK = 12
MAIL_KIND = "invoice"  # of the e-mail that an invoice is there


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
    rows = Invoice.objects.visible_to(actor).final().order_by("-issue_date", "-pk")
    joined = rows.select_related("account", "cancels", "credit_note", "file")
    return joined.defer("snapshot", "cancels__snapshot", "credit_note__snapshot")


def stopped_drafts(actor: Actor) -> Any:
    """Drafts that a problem holds back, oldest first: for the attention list."""
    rows = Invoice.objects.visible_to(actor).filter(state=InvoiceState.STOPPED).defer("snapshot")
    return rows.select_related("account", "run").order_by("created_at", "pk")


def failed_deliveries(actor: Actor) -> Any:
    """Invoices whose last e-mail could not be sent, oldest first: for the attention list."""
    later = Delivery.objects.unscoped("of an invoice that the actor sees").filter(
        invoice=OuterRef("invoice"), pk__gt=OuterRef("pk")
    )
    rows = Delivery.objects.visible_to(actor).failed().exclude(Exists(later))
    return rows.select_related("invoice__account", "mail").defer("invoice__snapshot").order_by("at", "pk")


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


_OF_THE_INVOICE = (
    "pk", "number", "kind", "issue_date", "cancels__number", "currency", "snapshot__buyer", "snapshot__seller",
)  # fmt: skip


def ledger_rows(actor: Actor, run: BillingRun) -> Iterable[tuple[Any, ...]]:
    """All lines of a run's final invoices, and of the credit notes that took any of them back.

    Customer and seller are those of the documents, whatever they are called today.
    """
    yield LEDGER_HEAD
    for path in ("run", "cancels__run"):
        invoices = Invoice.objects.visible_to(actor).final().filter(**{path: run})
        # Once an invoice: read once a line, the snapshot of 3,000 lines is unpacked 3,000 times.
        heads = {head.pk: head for head in invoices.values_list(*_OF_THE_INVOICE, named=True)}
        rows = (
            InvoiceLine.objects.visible_to(actor)
            .filter(invoice__in=invoices.values("pk"))
            .select_related("contract")
            .annotate(charger=KeyTextTransform("station", "cdr__place"))
            .order_by("invoice__number", "position")
        )
        for line in rows.iterator(chunk_size=500):
            yield _ledger_row(heads[line.invoice_id], line)


def _ledger_row(head: Any, line: Any) -> tuple[Any, ...]:
    buyer, seller, text = head.snapshot__buyer, head.snapshot__seller, line.text
    return (
        head.number, head.kind, head.issue_date, head.cancels__number or "", buyer["number"], buyer["name"],
        buyer["vat_id"], seller["name"], seller["vat_id"], line.position, line.kind, line.supplied_on,
        line.since.isoformat() if line.since else "", line.until.isoformat() if line.until else "",
        text.get("place", ""), line.charger or "", text.get("card", ""),
        line.contract.number if line.contract else "", money.half_up(line.quantity, 3), line.unit, line.net,
        line.vat_percent, head.currency, line.country,
    )  # fmt: skip
