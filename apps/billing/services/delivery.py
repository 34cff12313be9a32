"""After an invoice is final: its PDF, and the e-mail with the link to it. Each step may be repeated."""

from __future__ import annotations

import datetime as dt
import hashlib

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from apps.accounts.models import Document
from apps.accounts.selectors import public_url
from apps.accounts.services import record_audit
from apps.billing import pdf, selectors, snapshots
from apps.billing.events import INVOICE_READY
from apps.billing.models import Delivery, Invoice, InvoiceFile, InvoiceLine
from apps.core.actor import Actor
from apps.core.events import publish
from apps.core.guards import require_reason
from apps.notifications.models import Mail, MailState
from apps.notifications.services import queue_mail, resend_mail

PORTAL_PATH = "/invoices/{}/"
RETRY_AFTER = dt.timedelta(minutes=10)
RETRIED_AT_ONCE = 200
LONG_LINES = 500


def render_invoice(*, invoice_id: int) -> InvoiceFile | None:
    """Draw an invoice's PDF from its snapshot and keep it, once; None where PDFs cannot be drawn here.

    The e-mail follows in either case: the portal shows the invoice without its PDF too.
    """
    invoice = Invoice.objects.unscoped("a task draws it").final().get(pk=invoice_id)
    actor = Actor.system(invoice.operator_id, why="billing run")
    known: InvoiceFile | None = InvoiceFile.objects.visible_to(actor).filter(invoice=invoice).first()
    if known is not None:
        if not Delivery.objects.visible_to(actor).filter(invoice=invoice).exists():
            publish(INVOICE_READY, invoice_id=invoice.pk)  # its task was lost
        return known
    if pdf.why_unavailable():
        publish(INVOICE_READY, invoice_id=invoice.pk)
        return None
    content = pdf.draw(invoice.snapshot, logo=_logo(actor, invoice))
    return _keep(invoice, content)


def is_long(*, invoice_id: int) -> bool:
    """Whether drawing an invoice takes longer than a task usually may."""
    lines = InvoiceLine.objects.unscoped("a task draws it").filter(invoice=invoice_id)
    return lines.count() > LONG_LINES


def _keep(invoice: Invoice, content: bytes) -> InvoiceFile:
    document = snapshots.store_document(
        operator_id=invoice.operator_id,
        name=f"{invoice.number}.pdf",
        content_type="application/pdf",
        content=content,
    )
    try:
        with transaction.atomic():
            kept: InvoiceFile = InvoiceFile.objects.create(
                operator_id=invoice.operator_id, invoice=invoice, document=document, rendered_at=timezone.now()
            )
            publish(INVOICE_READY, invoice_id=invoice.pk)
    except IntegrityError:  # another worker was faster: the same bytes are kept already
        document.file.delete(save=False)
        document.delete()
        kept = InvoiceFile.objects.unscoped("a task draws it").get(invoice=invoice)
    return kept


def _logo(actor: Actor, invoice: Invoice) -> bytes | None:
    """The logo that the snapshot names, if its file is still there and still the same."""
    named = invoice.snapshot.get("brand", {}).get("logo")
    if not named:
        return None
    document: Document | None = Document.objects.visible_to(actor).filter(public_id=named["document"]).first()
    if document is None:
        return None
    try:
        with document.file.open("rb") as file:
            content: bytes = file.read()
    except OSError:
        return None
    return content if hashlib.sha256(content).hexdigest() == named["sha256"] else None


def deliver_invoice(*, invoice_id: int) -> Delivery:
    """Write to the account's address that the invoice is there, once, however often this is called."""
    invoice = (
        Invoice.objects.unscoped("a task sends it")
        .final()
        .select_related("operator", "account__operator", "account__party__organisation", "cancels")
        .get(pk=invoice_id)
    )
    actor = Actor.system(invoice.operator_id, why="billing run")
    own = Delivery.objects.visible_to(actor).filter(invoice=invoice).select_related("mail")
    first: Delivery | None = own.order_by("pk").first()
    return first if first is not None else _send(actor, invoice, 1)


def deliver_again(*, actor: Actor, invoice: Invoice, why: str) -> Delivery:
    """Send the e-mail once more: the refused one as it is, or a new one where it had left or the address changed.

    Raises PermissionDenied, and ValidationError without a reason or while one is on its way.
    """
    if not actor.can("billing.deliver_invoice"):
        raise PermissionDenied("billing.deliver_invoice")
    require_reason(why)
    rows = Invoice.objects.visible_to(actor).final()
    with transaction.atomic():
        rows.select_for_update(no_key=True).get(pk=invoice.pk)
        invoice = rows.select_related("operator", "account__operator", "account__party__organisation", "cancels").get(
            pk=invoice.pk
        )
        deliveries = Delivery.objects.visible_to(actor).filter(invoice=invoice).select_related("mail")
        last: Delivery | None = deliveries.order_by("-pk").first()
        if last is not None and last.mail.state == MailState.QUEUED:
            raise ValidationError(_("The e-mail is on its way. Wait for what becomes of it."))
        record_audit(actor=actor, action="invoice.delivered_again", target=invoice, why=why.strip())
        if last is not None and _can_go_again(last.mail, invoice):
            resend_mail(actor=actor, mail=last.mail, why=why.strip())
            last.refresh_from_db()
            return last
        return _send(actor, invoice, deliveries.count() + 1)


def _can_go_again(mail: Mail, invoice: Invoice) -> bool:
    return mail.state == MailState.FAILED and mail.recipient == invoice.account.email


@transaction.atomic
def _send(actor: Actor, invoice: Invoice, attempt: int) -> Delivery:
    account = invoice.account
    brand = selectors.brand_of(actor, account)
    mail = queue_mail(
        key=f"invoice.{invoice.public_id}.{attempt}",
        kind=selectors.MAIL_KIND,
        operator=invoice.operator,
        recipient=account.email,
        language=account.language,
        brand=brand,
        context={"invoice": invoice, "total": pdf.amount(invoice.gross, invoice.currency, account.language)},
        link=public_url(PORTAL_PATH.format(invoice.public_id), brand=brand),
    )
    named = {"operator_id": invoice.operator_id, "invoice": invoice, "mail": mail}
    known: Delivery | None = Delivery.objects.visible_to(actor).filter(**named).first()
    if known is None:
        known = Delivery.objects.create(**named, at=timezone.now())
    return known


def unfinished_invoices(*, now: dt.datetime) -> list[int]:
    """Final invoices whose PDF or e-mail got lost on the way: those made a while ago, the oldest first."""
    rows = (
        Invoice.objects.unscoped("a task looks after all operators").final().filter(finalised_at__lt=now - RETRY_AFTER)
    )
    waiting = rows.filter(deliveries=None)
    if not pdf.why_unavailable():
        waiting = waiting | rows.filter(file=None)
    return list(waiting.order_by("finalised_at").values_list("pk", flat=True).distinct()[:RETRIED_AT_ONCE])
