"""Who sees which invoices: the operator all of them, a customer the final ones of its own billing accounts."""

from __future__ import annotations

from typing import Self

from django.db.models import Q

from apps.core.actor import Actor
from apps.core.querysets import TenantQuerySet


class OfInvoiceQuerySet(TenantQuerySet):
    """Rows that hang on an invoice, seen by those who see the invoice. A driver sees none: receipts are CDRs."""

    path = "invoice__"

    def shared_with(self, actor: Actor) -> Q:
        customers = frozenset(actor.organisations) - actor.driver_of
        return Q(
            **{f"{self.path}account__party__organisation__in": customers, f"{self.path}finalised_at__isnull": False}
        )


class InvoiceQuerySet(OfInvoiceQuerySet):
    path = ""

    def final(self) -> Self:
        return self.exclude(finalised_at=None)

    def open(self) -> Self:
        """Drafts, the stopped ones included."""
        return self.filter(finalised_at=None)


class InvoiceLineQuerySet(OfInvoiceQuerySet):
    pass


class BilledQuerySet(OfInvoiceQuerySet):
    """What links a rated item or a month's fee to the line that bills it."""

    path = "line__invoice__"

    def live(self) -> Self:
        """Those that no credit note released."""
        return self.filter(released_at=None)


class InvoiceFileQuerySet(OfInvoiceQuerySet):
    pass


class DeliveryQuerySet(OfInvoiceQuerySet):
    def failed(self) -> Self:
        return self.filter(mail__state="failed")


class BillingRunQuerySet(TenantQuerySet):
    """Runs are the operator's work alone."""
