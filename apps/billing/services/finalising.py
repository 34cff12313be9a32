"""From checked drafts to final invoices: numbers without gaps, frozen snapshots; and credit notes.

A number is drawn in the transaction that makes its invoice final, with the series' row locked, and in no other place.
Everything slow happens before (the snapshot) or after it (PDF, e-mail).
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Count, F
from django.utils import timezone
from django.utils.translation import gettext as _

from apps.accounts.models import Operator, SellerRegistration
from apps.accounts.services import record_audit
from apps.billing import selectors, snapshots
from apps.billing.events import INVOICE_FINALISED, RUN_BEGUN
from apps.billing.models import (
    BilledFee,
    BilledItem,
    BillingRun,
    Invoice,
    InvoiceKind,
    InvoiceLine,
    InvoiceSeries,
    InvoiceState,
    RunState,
)
from apps.billing.problems import check_draft
from apps.billing.services.drafting import lock_run, today_of
from apps.billing.totals import Totals, VatRow, totals
from apps.core.actor import Actor
from apps.core.events import publish

INVOICES_A_CHUNK = 20
LINES_A_CHUNK = 600


@dataclass(frozen=True, slots=True)
class Prepared:
    """A draft that passed its checks again, with all that its snapshot needs but number and date."""

    draft: Invoice
    sums: Totals
    snapshot: dict[str, Any]


def finalise_run(*, actor: Actor, run: BillingRun, why: str) -> BillingRun:
    """Make the run's drafts final. Stopped ones stay behind; the next run takes up what they hold.

    Raises PermissionDenied, and ValidationError where the run is not drafted.
    """
    if not actor.can("billing.finalise_billingrun"):
        raise PermissionDenied("billing.finalise_billingrun")
    if not why.strip():
        raise ValidationError({"why": _("Say why: this is kept with your name.")})
    with transaction.atomic():
        held = lock_run(actor, run)
        if held.state != RunState.DRAFTED:
            raise ValidationError(_("Only a drafted run can be finalised."))
        held.state, held.moved_at = RunState.FINALISING, timezone.now()
        held.done, held.total = 0, _ready_drafts(actor, held).count()
        held.save()
        after = {"invoices": held.total, "stopped": held.problems}
        record_audit(actor=actor, action="billing_run.finalised", target=held, after=after, why=why.strip())
        publish(RUN_BEGUN, run_id=held.pk, after=0)
    return held


def continue_finalising(*, run_id: int, budget_s: float | None = None) -> bool:
    """Make drafts final for about so many seconds; whether the run is done."""
    run = BillingRun.objects.unscoped("a task finalises the run").select_related("operator").get(pk=run_id)
    if run.state != RunState.FINALISING:
        return True
    actor, began = Actor.system(run.operator_id, why="billing run"), time.monotonic()
    looks = selectors.Looks(actor)
    while chunk := _next_chunk(actor, run):
        registration = chunk[0].registration
        prepared = [one for one in (_prepare(actor, draft, looks) for draft in chunk) if one is not None]
        _finalise(actor, run.operator, registration, prepared, run=run)
        if budget_s is not None and time.monotonic() - began > budget_s:
            return False
    _end_finalising(actor, run)
    return True


def _end_finalising(actor: Actor, run: BillingRun) -> None:
    stopped = Invoice.objects.visible_to(actor).filter(run=run, state=InvoiceState.STOPPED).count()
    now = timezone.now()
    BillingRun.objects.visible_to(actor).filter(pk=run.pk, state=RunState.FINALISING).update(
        state=RunState.FINALISED, problems=stopped, finalised_at=now, moved_at=now
    )


def _ready_drafts(actor: Actor, run: BillingRun) -> Any:
    return Invoice.objects.visible_to(actor).filter(run=run, state=InvoiceState.DRAFT)


def _next_chunk(actor: Actor, run: BillingRun) -> list[Invoice]:
    """The next drafts of one registration, in the order of customer numbers; few, or one long one."""
    drafts = list(
        _ready_drafts(actor, run)
        .select_related("account__party__organisation", "seller", "registration")
        .order_by("registration_id", "account__number", "currency", "pk")[:INVOICES_A_CHUNK]
    )
    counted = InvoiceLine.objects.visible_to(actor).filter(invoice__in=drafts).order_by().values("invoice")
    lengths = dict(counted.annotate(length=Count("pk")).values_list("invoice", "length"))
    chunk: list[Invoice] = []
    length = 0
    for draft in drafts:
        length += lengths.get(draft.pk, 0)
        if chunk and (draft.registration_id != chunk[0].registration_id or length > LINES_A_CHUNK):
            break
        chunk.append(draft)
    return chunk


def _prepare(actor: Actor, draft: Invoice, looks: selectors.Looks) -> Prepared | None:
    """Check a draft again; None where it is stopped now."""
    if not check_draft(actor, draft) or draft.registration is None:
        return None
    lines = list(InvoiceLine.objects.visible_to(actor).filter(invoice=draft).order_by("position"))
    sums = totals(((line.vat_percent, line.net) for line in lines), draft.currency)
    snapshot = snapshots.snapshot_of(draft, draft.registration, lines, sums, looks.of(draft.seller))
    return Prepared(draft, sums, snapshot)


def _finalise(
    actor: Actor,
    operator: Operator,
    registration: SellerRegistration | None,
    prepared: Sequence[Prepared],
    *,
    run: BillingRun,
) -> None:
    """One transaction: numbers, dates, snapshots. Drafts that somebody else made final meanwhile are left alone."""
    if registration is None or not prepared:
        return
    with transaction.atomic():
        series = lock_series(actor, registration, InvoiceKind.INVOICE, today_of(operator))
        waiting = _ready_drafts(actor, run).select_for_update(no_key=True).filter(pk__in=[p.draft.pk for p in prepared])
        open_ids = set(waiting.values_list("pk", flat=True))
        done = [one for one in prepared if one.draft.pk in open_ids]
        for one, (number, issued_on) in zip(done, draw_numbers(series, len(done)), strict=True):
            freeze(one.draft, one.sums, one.snapshot, number=number, issued_on=issued_on)
            one.draft.save()
            after = {"number": number, "gross": str(one.sums.gross), "currency": one.draft.currency}
            record_audit(actor=actor, action="invoice.finalised", target=one.draft, after=after)
            publish(INVOICE_FINALISED, invoice_id=one.draft.pk)
        now = timezone.now()
        InvoiceLine.objects.visible_to(actor).filter(invoice__in=[one.draft.pk for one in done]).update(
            finalised_at=now
        )
        own = BillingRun.objects.visible_to(actor).filter(pk=run.pk)
        own.update(done=F("done") + len(done), moved_at=now)


def freeze(invoice: Invoice, sums: Totals, snapshot: dict[str, Any], *, number: str, issued_on: dt.date) -> None:
    """Give an invoice its number, date and snapshot. Saved like this, it is never changed again."""
    invoice.number, invoice.issue_date = number, issued_on
    invoice.net, invoice.vat, invoice.gross = sums.net, sums.vat, sums.gross
    invoice.snapshot = snapshots.numbered(snapshot, invoice)
    invoice.sha256 = snapshots.fingerprint(invoice.snapshot)
    invoice.state, invoice.finalised_at = InvoiceState.FINAL, timezone.now()


# --- numbers ----------------------------------------------------------------------------------------------------------
def lock_series(actor: Actor, registration: SellerRegistration, kind: str, today: dt.date) -> InvoiceSeries:
    """The series of a registration, kind and year, with its row held until the transaction ends."""
    named = {"registration": registration, "kind": kind, "year": today.year}
    InvoiceSeries.objects.bulk_create(
        [InvoiceSeries(operator_id=registration.operator_id, **named)], ignore_conflicts=True
    )
    held: InvoiceSeries = InvoiceSeries.objects.visible_to(actor).select_for_update(no_key=True).get(**named)
    held.registration = registration
    held.last_issued_on = max(today, held.last_issued_on or today)
    return held


def draw_numbers(series: InvoiceSeries, count: int) -> Iterable[tuple[str, dt.date]]:
    """The next numbers of a locked series, each with the date of issue, which never goes back."""
    first = series.next
    assert series.last_issued_on is not None
    series.next = first + count
    series.save(update_fields=["next", "last_issued_on"])
    return [(series.number(number), series.last_issued_on) for number in range(first, first + count)]


# --- credit notes -----------------------------------------------------------------------------------------------------
def cancel_invoice(*, actor: Actor, invoice: Invoice, why: str) -> Invoice:
    """Take a whole invoice back by a credit note with its own number; what it billed can be billed again.

    Raises PermissionDenied, and ValidationError where it is no final invoice or is cancelled already.
    """
    if not actor.can("billing.cancel_invoice"):
        raise PermissionDenied("billing.cancel_invoice")
    if not why.strip():
        raise ValidationError({"why": _("Say why: this is kept with your name.")})
    rows = Invoice.objects.visible_to(actor).select_related(
        "operator", "account__party__organisation", "seller", "registration"
    )
    invoice = rows.get(pk=invoice.pk)
    if invoice.kind != InvoiceKind.INVOICE or invoice.registration is None or not invoice.is_final:
        raise ValidationError(_("Only a final invoice can be cancelled."))
    lines = list(InvoiceLine.objects.visible_to(actor).filter(invoice=invoice).order_by("position"))
    look = selectors.Looks(actor).of(invoice.seller)
    with transaction.atomic():
        Invoice.objects.visible_to(actor).select_for_update(no_key=True).get(pk=invoice.pk)
        if Invoice.objects.visible_to(actor).filter(cancels=invoice).exists():
            raise ValidationError(_("This invoice is cancelled already."))
        today = today_of(invoice.operator)
        series = lock_series(actor, invoice.registration, InvoiceKind.CREDIT_NOTE, today)
        ((number, issued_on),) = draw_numbers(series, 1)
        note = _credit_note_of(invoice)
        sums, negated = _negated_totals(invoice), list(_negated(lines))
        snapshot = snapshots.snapshot_of(note, invoice.registration, negated, sums, look)
        freeze(note, sums, snapshot, number=number, issued_on=issued_on)
        note.save(force_insert=True)
        for line in negated:
            line.invoice, line.finalised_at = note, note.finalised_at
        InvoiceLine.objects.bulk_create(negated, batch_size=500)
        for links in (BilledItem, BilledFee):
            live = links.objects.visible_to(actor).live().filter(line__invoice=invoice)
            live.update(released_at=note.finalised_at)
        after = {"credit_note": number, "gross": str(sums.gross)}
        record_audit(actor=actor, action="invoice.cancelled", target=invoice, after=after, why=why.strip())
        publish(INVOICE_FINALISED, invoice_id=note.pk)
    return note


def _credit_note_of(invoice: Invoice) -> Invoice:
    """Not saved yet, and without number, amounts and lines."""
    return Invoice(
        operator=invoice.operator,
        kind=InvoiceKind.CREDIT_NOTE,
        account=invoice.account,
        seller=invoice.seller,
        country=invoice.country,
        registration=invoice.registration,
        currency=invoice.currency,
        period_from=invoice.period_from,
        period_to=invoice.period_to,
        cancels=invoice,
    )


def _negated(lines: Iterable[InvoiceLine]) -> Iterator[InvoiceLine]:
    names = ("operator_id", "position", "kind", "cdr_id", "contract_id", "since", "until", "supplied_on", "unit")
    for line in lines:
        copied = {name: getattr(line, name) for name in (*names, "vat_class", "vat_percent", "country")}
        parts = [{**part, "quantity": f"{-Decimal(part['quantity']):f}"} for part in line.text.get("parts", [])]
        text = {**line.text, "parts": parts}
        yield InvoiceLine(**copied, text=text, quantity=-line.quantity, net=-line.net)


def _negated_totals(invoice: Invoice) -> Totals:
    """What the invoice came to, with the sign turned: to the cent, also where rounding would find another way."""
    rates = tuple(
        VatRow(Decimal(row["percent"]), -Decimal(row["net"]), -Decimal(row["vat"])) for row in invoice.snapshot["rates"]
    )
    return Totals(rates, -invoice.net, -invoice.vat, -invoice.gross)
