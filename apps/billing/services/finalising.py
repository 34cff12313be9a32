"""From checked drafts to final invoices: numbers without gaps, frozen snapshots; and credit notes.

A number is drawn in the transaction that makes its invoice final, with the series' row locked, and in no other place.
What is slow happens before (the snapshot) or after it (PDF, e-mail), but for the lines of a long credit note.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Count, F
from django.utils import timezone
from django.utils.translation import gettext as _

from apps.accounts.models import SellerRegistration
from apps.accounts.selectors import operator_today
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
from apps.billing.problems import check_draft, stop_failed
from apps.billing.services.drafting import NOT_ITS_FAULT, Overtaken, as_read, hold_run, lock_run
from apps.billing.totals import Totals, VatRow, totals
from apps.core.actor import Actor
from apps.core.events import publish
from apps.core.guards import require_reason

INVOICES_A_CHUNK = 20
LINES_A_CHUNK = 600

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A draft that passed its checks again, with all that its snapshot needs but number and date.

    `held` is how much stood on it when its lines were read.
    """

    draft: Invoice
    registration: SellerRegistration
    held: tuple[int, ...]
    sums: Totals
    snapshot: dict[str, Any]


def finalise_run(*, actor: Actor, run: BillingRun, why: str) -> BillingRun:
    """Make the run's drafts final. Stopped ones stay behind; the next run takes up what they hold.

    Raises PermissionDenied, and ValidationError without a reason or where the run is not drafted.
    """
    if not actor.can("billing.finalise_billingrun"):
        raise PermissionDenied("billing.finalise_billingrun")
    require_reason(why)
    with transaction.atomic():
        held = lock_run(actor, run)
        if held.state != RunState.DRAFTED:
            raise ValidationError(_("Only a drafted run can be finalised."))
        held.state, held.moved_at = RunState.FINALISING, timezone.now()
        held.done, held.total = 0, _ready_drafts(actor, held).count()
        held.save()
        after = {"invoices": held.total, "stopped": held.problems}
        record_audit(actor=actor, action="billing_run.finalised", target=held, after=after, why=why.strip())
        publish(RUN_BEGUN, run_id=held.pk, drafting=held.drafting, after=0)
    return held


def continue_finalising(*, run_id: int, drafting: int | None = None, budget_s: float | None = None) -> bool:
    """Make drafts final for about so many seconds; whether nothing is left to do.

    `drafting` names the drafting whose drafts they are, if not the present one.
    """
    run = BillingRun.objects.unscoped("a task finalises the run").get(pk=run_id)
    if run.state != RunState.FINALISING or drafting not in (None, run.drafting):
        return True
    try:
        return _finalise_drafts(Actor.system(run.operator_id, why="billing run"), run, budget_s)
    except Overtaken:
        return True


def _finalise_drafts(actor: Actor, run: BillingRun, budget_s: float | None) -> bool:
    began, looks = time.monotonic(), selectors.Looks(actor)
    while chunk := _next_chunk(actor, run):
        _finalise_chunk(actor, run, chunk, looks)
        if budget_s is not None and time.monotonic() - began > budget_s:
            return False
    _end_finalising(actor, run)
    return True


def _end_finalising(actor: Actor, run: BillingRun) -> None:
    stopped = Invoice.objects.visible_to(actor).filter(run=run, state=InvoiceState.STOPPED).count()
    now = timezone.now()
    as_read(actor, run).update(state=RunState.FINALISED, problems=stopped, finalised_at=now, moved_at=now)


def _ready_drafts(actor: Actor, run: BillingRun) -> Any:
    return Invoice.objects.visible_to(actor).filter(run=run, drafting=run.drafting, state=InvoiceState.DRAFT)


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


def _finalise_chunk(actor: Actor, run: BillingRun, chunk: Sequence[Invoice], looks: selectors.Looks) -> None:
    """Drafts of one registration. One on which an error comes up that nobody foresaw is stopped; the others go on."""
    held = _contents(actor, chunk)
    prepared: list[Prepared] = []
    for draft in chunk:
        with _stopped_by_error(actor, draft):
            prepared += _prepare(actor, draft, held[draft.pk], looks)
    try:
        _finalise(actor, run, prepared)
    except NOT_ITS_FAULT:
        raise
    except Exception:  # one of them: each by itself shows which
        for one in prepared:
            with _stopped_by_error(actor, one.draft):
                _finalise(actor, run, [one])


@contextmanager
def _stopped_by_error(actor: Actor, draft: Invoice) -> Iterator[None]:
    try:
        yield
    except NOT_ITS_FAULT:
        raise
    except Exception:
        logger.exception("draft %s could not be made final", draft.pk)
        stop_failed(Invoice.objects.visible_to(actor).filter(pk=draft.pk))


def _contents(actor: Actor, drafts: Iterable[Invoice]) -> dict[int, tuple[int, ...]]:
    """Draft → how many lines it has, and of how many items and fees."""
    keys = [draft.pk for draft in drafts]
    counts = []
    for rows, path in (
        (InvoiceLine.objects.visible_to(actor), "invoice"),
        (BilledItem.objects.visible_to(actor).live(), "line__invoice"),
        (BilledFee.objects.visible_to(actor).live(), "line__invoice"),
    ):
        counted = rows.filter(**{f"{path}__in": keys}).order_by().values_list(path).annotate(Count("pk"))
        counts.append(dict(counted))
    return {key: tuple(count.get(key, 0) for count in counts) for key in keys}


def _prepare(actor: Actor, draft: Invoice, held: tuple[int, ...], looks: selectors.Looks) -> Iterator[Prepared]:
    """Check a draft again; nothing where it is stopped now."""
    if not check_draft(actor, draft) or draft.registration is None:
        return
    lines = list(InvoiceLine.objects.visible_to(actor).filter(invoice=draft).order_by("position"))
    sums = totals(((line.vat_percent, line.net) for line in lines), draft.currency)
    snapshot = snapshots.snapshot_of(draft, draft.registration, lines, sums, looks.of(draft.seller))
    yield Prepared(draft, draft.registration, held, sums, snapshot)


def _finalise(actor: Actor, run: BillingRun, prepared: Sequence[Prepared]) -> None:
    """One transaction: numbers, dates, snapshots. Drafts that somebody else made final meanwhile are left alone, and
    those whose contents changed since they were prepared wait for the next look."""
    if not prepared:
        return
    with transaction.atomic():
        hold_run(actor, run)
        series = lock_series(actor, prepared[0].registration, InvoiceKind.INVOICE, operator_today(run.operator_id))
        waiting = _ready_drafts(actor, run).select_for_update(no_key=True).filter(pk__in=[p.draft.pk for p in prepared])
        now_held = _contents(actor, waiting)
        done = [one for one in prepared if now_held.get(one.draft.pk) == one.held]
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
        as_read(actor, run).update(done=F("done") + len(done), moved_at=now)


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

    One transaction, as the number asks for: to write 3,000 lines takes it half a second on SQLite, one on PostgreSQL.
    Raises PermissionDenied, and ValidationError without a reason, where it is no final invoice or is cancelled already.
    """
    if not actor.can("billing.cancel_invoice"):
        raise PermissionDenied("billing.cancel_invoice")
    require_reason(why)
    rows = Invoice.objects.visible_to(actor)
    invoice = rows.select_related("operator", "account__party__organisation", "seller", "registration").get(
        pk=invoice.pk
    )
    if invoice.kind != InvoiceKind.INVOICE or invoice.registration is None or not invoice.is_final:
        raise ValidationError(_("Only a final invoice can be cancelled."))
    lines = InvoiceLine.objects.visible_to(actor).filter(invoice=invoice).order_by("position")
    note, sums, negated = _credit_note_of(invoice), _negated_totals(invoice), list(_negated(lines))
    look = selectors.Looks(actor).of(invoice.seller)
    snapshot = snapshots.snapshot_of(note, invoice.registration, negated, sums, look)
    with transaction.atomic():
        rows.defer("snapshot").select_for_update(no_key=True).get(pk=invoice.pk)
        if rows.filter(cancels=invoice).exists():
            raise ValidationError(_("This invoice is cancelled already."))
        today = operator_today(invoice.operator_id)
        series = lock_series(actor, invoice.registration, InvoiceKind.CREDIT_NOTE, today)
        ((number, issued_on),) = draw_numbers(series, 1)
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
