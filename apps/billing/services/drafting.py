"""A run from its start to checked drafts. Any part may be done again, by anybody, at any time.

Work is cut into accounts, and an account into portions of CDRs, each a transaction that holds the account's row: who
drafts the same account meanwhile waits and finds nothing left. What is billed is what has no live link yet.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable
from typing import Any
from zoneinfo import ZoneInfo

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Exists, F, Max, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from apps.accounts.models import Operator
from apps.accounts.services import record_audit
from apps.billing import lines
from apps.billing.books import FeeBook, RegistrationBook
from apps.billing.events import RUN_BEGUN
from apps.billing.lines import Sold
from apps.billing.models import BilledFee, BilledItem, BillingRun, Invoice, InvoiceLine, InvoiceState, RunState
from apps.billing.problems import check_draft
from apps.charging.models import Cdr, CdrKind, RatedItem
from apps.contracts.models import BillingAccount
from apps.core.actor import Actor, Kind
from apps.core.events import publish

ACCOUNTS_A_LOOK = 50
CDRS_A_PORTION = 100
ROWS_A_DELETION = 500


def start_run(*, actor: Actor, period: dt.date, cutoff_at: dt.datetime | None = None) -> BillingRun:
    """Bill a month: everything supplied until its end that is not billed, of CDRs made until the cut-off (now).

    Raises PermissionDenied, and ValidationError where the month has not begun or a run of it is not final yet.
    """
    if actor.operator_id is None or not actor.can("billing.run_billingrun"):
        raise PermissionDenied("billing.run_billingrun")
    now, period = timezone.now(), period.replace(day=1)
    with transaction.atomic():
        operator = Operator.objects.select_for_update(no_key=True).get(pk=actor.operator_id)
        if period > today_of(operator):
            raise ValidationError({"period": _("This month has not begun yet.")})
        runs = BillingRun.objects.visible_to(actor).filter(period=period)
        if runs.exclude(state=RunState.FINALISED).exists():
            raise ValidationError({"period": _("A run of this month is not final yet. Finalise it first.")})
        run = BillingRun.objects.create(
            operator=operator,
            period=period,
            number=(runs.aggregate(last=Max("number"))["last"] or 0) + 1,
            cutoff_at=cutoff_at or now,
            began_at=now,
            moved_at=now,
            created_by_id=actor.user_id if actor.kind is Kind.SESSION else None,
        )
        after = {"period": period.isoformat(), "cutoff_at": run.cutoff_at.isoformat()}
        record_audit(actor=actor, action="billing_run.started", target=run, after=after)
        publish(RUN_BEGUN, run_id=run.pk, after=0)
    return run


def draft_again(*, actor: Actor, run: BillingRun, why: str = "") -> BillingRun:
    """Throw the run's drafts away and collect anew, with the cut-off now: what was put right since then counts."""
    if not actor.can("billing.run_billingrun"):
        raise PermissionDenied("billing.run_billingrun")
    with transaction.atomic():
        held = lock_run(actor, run)
        if held.state != RunState.DRAFTED:
            raise ValidationError(_("Only a drafted run can be drafted again."))
        now = timezone.now()
        held.state, held.cutoff_at, held.began_at, held.moved_at = RunState.DRAFTING, now, now, now
        held.done, held.total, held.problems = 0, 0, 0
        held.save()
        record_audit(actor=actor, action="billing_run.drafted_again", target=held, why=why)
        publish(RUN_BEGUN, run_id=held.pk, after=0)
    return held


def continue_drafting(*, run_id: int, after: int = 0, budget_s: float | None = None) -> int | None:
    """Draft the accounts that follow the account `after`, for about so many seconds.

    Returns the last account done where others are left, None when the run is drafted.
    """
    run = BillingRun.objects.unscoped("a task drafts the run").get(pk=run_id)
    if run.state != RunState.DRAFTING:
        return None
    actor = Actor.system(run.operator_id, why="billing run")
    began, registrations = time.monotonic(), RegistrationBook(actor)
    accounts = BillingAccount.objects.visible_to(actor).order_by("pk")
    if after == 0:
        BillingRun.objects.visible_to(actor).filter(pk=run_id).update(total=accounts.count(), done=0)
    while chunk := list(accounts.filter(pk__gt=after)[:ACCOUNTS_A_LOOK]):
        fees = FeeBook(actor, run, chunk)
        for account in chunk:
            _draft_account(actor, run, account, registrations, fees)
        after = chunk[-1].pk
        own = BillingRun.objects.visible_to(actor).filter(pk=run_id)
        own.update(done=F("done") + len(chunk), moved_at=timezone.now())
        if budget_s is not None and time.monotonic() - began > budget_s:
            return after
    _end_drafting(actor, run)
    return None


def _end_drafting(actor: Actor, run: BillingRun) -> None:
    stopped = Invoice.objects.visible_to(actor).filter(run=run, state=InvoiceState.STOPPED).count()
    BillingRun.objects.visible_to(actor).filter(pk=run.pk, state=RunState.DRAFTING).update(
        state=RunState.DRAFTED, problems=stopped, done=F("total"), moved_at=timezone.now()
    )


# --- one account ------------------------------------------------------------------------------------------------------
def _draft_account(
    actor: Actor, run: BillingRun, account: BillingAccount, registrations: RegistrationBook, fees: FeeBook
) -> None:
    for draft in stale_drafts(actor, run).filter(account=account):
        delete_draft(actor, draft)
    while _draft_portion(actor, run, account, registrations):
        pass
    if due := fees.due(account):
        with transaction.atomic():
            _lock_account(actor, account)
            _draft_fees(actor, run, account, registrations, due)
    for draft in Invoice.objects.visible_to(actor).filter(run=run, account=account).open().select_related("seller"):
        check_draft(actor, draft)


def _draft_portion(actor: Actor, run: BillingRun, account: BillingAccount, registrations: RegistrationBook) -> bool:
    """Put the account's next CDRs on drafts; whether there may be more."""
    due = billable_cdrs(actor, run, account)
    if not due.exists():
        return False
    with transaction.atomic():
        _lock_account(actor, account)
        cdrs = list(due.select_related("contract_version", "location", "station", "token", "holder")[:CDRS_A_PORTION])
        items = RatedItem.objects.visible_to(actor).filter(cdr__in=cdrs).exclude(_is_billed()).order_by("pk")
        sold = lines.session_lines(cdrs, items)
        _write_lines(actor, run, account, registrations, sold)
        links = [
            BilledItem(operator_id=run.operator_id, item=item, line=one.line) for one in sold for item in one.items
        ]
        BilledItem.objects.bulk_create(links)
    return len(cdrs) == CDRS_A_PORTION


def _draft_fees(
    actor: Actor, run: BillingRun, account: BillingAccount, registrations: RegistrationBook, due: list[Any]
) -> None:
    billed = BilledFee.objects.visible_to(actor).live().filter(month=run.period, contract__account=account)
    known = set(billed.values_list("contract_id", flat=True))
    sold = [
        Sold(fee.line(run.period), fee.seller.pk, fee.contract.currency) for fee in due if fee.contract.pk not in known
    ]
    _write_lines(actor, run, account, registrations, sold)
    BilledFee.objects.bulk_create(
        BilledFee(operator_id=run.operator_id, contract=one.line.contract, month=run.period, line=one.line)
        for one in sold
    )


def _write_lines(
    actor: Actor, run: BillingRun, account: BillingAccount, registrations: RegistrationBook, sold: Iterable[Sold]
) -> None:
    """Add lines to the drafts where they belong, behind those that are there."""
    drafts: dict[tuple[Any, ...], tuple[Invoice, int]] = {}
    written = []
    for one in sold:
        registration = registrations.of(one.seller_id, one.line.country, one.line.supplied_on)
        key = (one.seller_id, one.line.country, registration.pk if registration else None, one.currency)
        draft, last = drafts.get(key) or _open_draft(actor, run, account, key)
        one.line.invoice, one.line.position = draft, last + 1
        drafts[key] = draft, last + 1
        written.append(one.line)
    InvoiceLine.objects.bulk_create(written)


def _open_draft(actor: Actor, run: BillingRun, account: BillingAccount, key: tuple[Any, ...]) -> tuple[Invoice, int]:
    """The run's draft of an account, seller, country, registration and currency, and its last position."""
    seller_id, country, registration_id, currency = key
    named = {"seller_id": seller_id, "country": country, "registration_id": registration_id, "currency": currency}
    draft = Invoice.objects.visible_to(actor).filter(run=run, account=account, **named).first()
    if draft is None:
        days = {"period_from": run.period, "period_to": run.ends_on}
        draft = Invoice.objects.create(operator_id=run.operator_id, run=run, account=account, **named, **days)
        return draft, 0
    last = InvoiceLine.objects.visible_to(actor).filter(invoice=draft).aggregate(last=Max("position"))["last"]
    return draft, last or 0


def _lock_account(actor: Actor, account: BillingAccount) -> None:
    BillingAccount.objects.visible_to(actor).select_for_update(no_key=True).get(pk=account.pk)


# --- what is billable -------------------------------------------------------------------------------------------------
def billable_cdrs(actor: Actor, run: BillingRun, account: BillingAccount) -> Any:
    """CDRs and credits of an account with items that nothing bills, oldest first; those of earlier months too.

    A CDR and the credit that took it back go together: where neither is billed, both are left out.
    """
    # By their keys alone: with the operator named once more, SQLite reads all of the operator's rows for each of them.
    why = "of a CDR that the actor sees"
    billed = BilledItem.objects.unscoped(why).live()
    credit = Cdr.objects.unscoped(why).filter(credits=OuterRef("pk"))
    credited_and_unbilled = Exists(credit.exclude(Exists(billed.filter(item__cdr=OuterRef("pk")))))
    cdr_is_billed = Exists(billed.filter(item__cdr=OuterRef("credits")))
    unbilled = RatedItem.objects.unscoped(why).filter(cdr=OuterRef("pk")).exclude(_is_billed())
    return (
        Cdr.objects.visible_to(actor)
        .filter(account=account, created_at__lte=run.cutoff_at, supplied_on__lte=run.ends_on)
        .filter(Exists(unbilled))
        .filter(Q(kind=CdrKind.CDR) & ~credited_and_unbilled | Q(kind=CdrKind.CREDIT) & cdr_is_billed)
        .order_by("started_at", "pk")
    )


def _is_billed() -> Exists:
    """Of a rated item: it stands on a line that no credit note took back."""
    return Exists(BilledItem.objects.unscoped("of an item that the actor sees").live().filter(item=OuterRef("pk")))


# --- drafts that are thrown away --------------------------------------------------------------------------------------
def stale_drafts(actor: Actor, run: BillingRun) -> Any:
    """Drafts of an earlier drafting of this run, and what earlier runs left behind stopped when they were finalised."""
    left_behind = Q(run__state=RunState.FINALISED)
    return Invoice.objects.visible_to(actor).open().filter(Q(run=run, created_at__lt=run.began_at) | left_behind)


def delete_draft(actor: Actor, draft: Invoice) -> None:
    """Throw a draft away, a portion at a time: what it held is billable again."""
    for model, path in ((BilledItem, "line__invoice"), (BilledFee, "line__invoice"), (InvoiceLine, "invoice")):
        rows = model.objects.visible_to(actor).filter(**{path: draft}).order_by("pk")
        while portion := list(rows.values_list("pk", flat=True)[:ROWS_A_DELETION]):
            model.objects.visible_to(actor).filter(pk__in=portion).delete()
    Invoice.objects.visible_to(actor).open().filter(pk=draft.pk).delete()


def lock_run(actor: Actor, run: BillingRun) -> BillingRun:
    """The run as it is now, with its row held until the transaction ends."""
    held: BillingRun = BillingRun.objects.visible_to(actor).select_for_update(no_key=True).get(pk=run.pk)
    return held


def today_of(operator: Operator) -> dt.date:
    """The date on the operator's own clock."""
    return timezone.now().astimezone(ZoneInfo(operator.time_zone)).date()
