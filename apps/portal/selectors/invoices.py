"""Invoices and credit notes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.billing.models import InvoiceKind
from apps.billing.totals import VatRow
from apps.core.templatetags.parts import day

CANCELLED = "cancelled"
INVOICE_STATES = {
    InvoiceKind.INVOICE: gettext_lazy("invoice"),
    CANCELLED: gettext_lazy("cancelled"),
    InvoiceKind.CREDIT_NOTE: gettext_lazy("credit note"),
}
# State → a status that parts.status_chip knows by icon and tone.
_LOOKS: dict[str, str] = {InvoiceKind.INVOICE: "Available", CANCELLED: "void"}


@dataclass(frozen=True, slots=True)
class InvoiceRow:
    """An invoice. `state` is a key of `INVOICE_STATES`; `other` is the credit note of a cancelled invoice, or the
    invoice of a credit note."""

    public_id: UUID
    number: str
    state: str
    state_word: str
    look: str
    issue_date: dt.date | None
    period_from: dt.date
    period_to: dt.date
    account: str
    net: Decimal
    vat: Decimal
    gross: Decimal
    currency: str
    has_file: bool
    other: str
    other_public_id: UUID | None

    @property
    def period(self) -> str:
        """A whole month by its name, else both days."""
        after = self.period_to + dt.timedelta(days=1)
        if self.period_from.day == 1 and after.day == 1 and self.period_from.month == self.period_to.month:
            # Translators: Django's date format characters.
            return date_format(self.period_from, _("F Y"))
        return f"{day(self.period_from)} – {day(self.period_to)}"


@dataclass(frozen=True, slots=True)
class InvoicePage:
    """An invoice as it was frozen: `seller` and `buyer` by the names of the snapshot, VAT by rate, and how many lines
    there are."""

    row: InvoiceRow
    seller: Mapping[str, str]
    buyer: Mapping[str, str]
    rates: tuple[VatRow, ...]
    lines: int


def invoice_rows(invoices: Iterable[Any]) -> list[InvoiceRow]:
    """Typed rows of a page of `reports.selectors.visible_invoices`, without a query of their own."""
    return [_invoice_row(one) for one in invoices]


def invoice_page(invoice: Any) -> InvoicePage:
    """What one of `visible_invoices` says of itself, whatever became of its account since."""
    frozen = invoice.snapshot
    return InvoicePage(
        row=_invoice_row(invoice),
        seller=frozen.get("seller", {}),
        buyer=frozen.get("buyer", {}),
        rates=tuple(
            VatRow(Decimal(one["percent"]), Decimal(one["net"]), Decimal(one["vat"])) for one in frozen.get("rates", ())
        ),
        lines=len(frozen.get("lines", ())),
    )


def _invoice_row(invoice: Any) -> InvoiceRow:
    credit_note = getattr(invoice, "credit_note", None)
    other = credit_note or invoice.cancels
    state = CANCELLED if credit_note else InvoiceKind(invoice.kind)
    return InvoiceRow(
        public_id=invoice.public_id,
        number=invoice.number,
        state=state,
        state_word=str(INVOICE_STATES[state]),
        look=_LOOKS.get(state, "ended"),
        issue_date=invoice.issue_date,
        period_from=invoice.period_from,
        period_to=invoice.period_to,
        account=invoice.addressee,
        net=invoice.net,
        vat=invoice.vat,
        gross=invoice.gross,
        currency=invoice.currency,
        has_file=getattr(invoice, "file", None) is not None,
        other=other.number if other else "",
        other_public_id=other.public_id if other else None,
    )
