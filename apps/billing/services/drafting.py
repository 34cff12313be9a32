"""A run from its start to checked drafts. Any part may be done again, by anybody, at any time.

Work is cut into accounts, and an account into portions of CDRs, each a transaction that holds the rows of run and
account: who drafts the same account meanwhile waits and finds nothing left, and who works on a drafting that is over
changes nothing any more (`Overtaken`). What is billed is what has no live link yet.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Exists, F, Max, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from apps.accounts.models import Operator
from apps.accounts.selectors import default_seller, operator_today
from apps.accounts.services import record_audit
from apps.billing import lines
from apps.billing.books import FeeBook, RegistrationBook
from apps.billing.events import RUN_BEGUN
from apps.billing.lines import Sold
from apps.billing.models import BilledFee, BilledItem, BillingRun, Invoice, InvoiceLine, InvoiceState, Problem, RunState
from apps.billing.problems import check_draft, stop_failed
from apps.charging.models import Cdr, CdrKind, RatedItem
from apps.contracts.models import BillingAccount, Contract
from apps.core.actor import Actor, Kind
from apps.core.events import publish
from apps.core.guards import require_reason

ACCOUNTS_A_LOOK = 50
CDRS_A_PORTION = 100
ROWS_A_DELETION = 500

logger = logging.getLogger(__name__)


class Overtaken(Exception):
    """The run is not in the state or drafting any more in which this worker read it: others went on with it."""


# What is wrong with the run or the database, and not with the one draft or account that is being worked on.
NOT_ITS_FAULT = (Overtaken, OperationalError, InterfaceError)


def start_run(*, actor: Actor, period: dt.date, cutoff_at: dt.datetime | None = None) -> BillingRun:
    """Bill a month: everything supplied until its end that is not billed, of CDRs made until the cut-off (now).

    Raises PermissionDenied, and ValidationError where the month has not begun or a run of it is not final yet.
    """
    if actor.operator_id is None or not actor.can("billing.run_billingrun"):
        raise PermissionDenied("billing.run_billingrun")
    now, period = timezone.now(), period.replace(day=1)
    with transaction.atomic():
        operator = Operator.objects.select_for_update(no_key=True).get(pk=actor.operator_id)
        if period > operator_today(operator.pk):
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
        publish(RUN_BEGUN, run_id=run.pk, drafting=run.drafting, after=0)
    return run


def draft_again(*, actor: Actor, run: BillingRun, why: str) -> BillingRun:
    """Throw the run's drafts away and collect anew, with the cut-off now: what was put right since then counts.

    Raises PermissionDenied, and ValidationError without a reason or where the run is not drafted.
    """
    if not actor.can("billing.run_billingrun"):
        raise PermissionDenied("billing.run_billingrun")
    require_reason(why)
    with transaction.atomic():
        held = lock_run(actor, run)
        if held.state != RunState.DRAFTED:
            raise ValidationError(_("Only a drafted run can be drafted again."))
        now = timezone.now()
        held.state, held.cutoff_at, held.began_at, held.moved_at = RunState.DRAFTING, now, now, now
        held.drafting += 1
        held.done, held.total, held.problems = 0, 0, 0
        held.save()
        record_audit(actor=actor, action="billing_run.drafted_again", target=held, why=why.strip())
        publish(RUN_BEGUN, run_id=held.pk, drafting=held.drafting, after=0)
    return held


def continue_drafting(
    *, run_id: int, after: int = 0, drafting: int | None = None, budget_s: float | None = None
) -> int | None:
    """Draft the accounts that follow the account `after`, for about so many seconds.

    `drafting` names the drafting of which this is a part, if not the present one: a part of an earlier one does
    nothing. Returns the last account done where others are left, None where nothing is.
    """
    run = BillingRun.objects.unscoped("a task drafts the run").get(pk=run_id)
    if run.state != RunState.DRAFTING or drafting not in (None, run.drafting):
        return None
    try:
        return _draft_accounts(Actor.system(run.operator_id, why="billing run"), run, after, budget_s)
    except Overtaken:
        return None


def _draft_accounts(actor: Actor, run: BillingRun, after: int, budget_s: float | None) -> int | None:
    began, registrations = time.monotonic(), RegistrationBook(actor)
    accounts = BillingAccount.objects.visible_to(actor).order_by("pk")
    if after == 0:
        as_read(actor, run).update(total=accounts.count(), done=0)
    while chunk := list(accounts.filter(pk__gt=after)[:ACCOUNTS_A_LOOK]):
        fees = FeeBook(actor, run, chunk)
        for account in chunk:
            _draft_or_stop(actor, run, account, registrations, fees)
        after = chunk[-1].pk
        as_read(actor, run).update(done=F("done") + len(chunk), moved_at=timezone.now())
        if budget_s is not None and time.monotonic() - began > budget_s:
            return after
    _end_drafting(actor, run)
    return None


def _end_drafting(actor: Actor, run: BillingRun) -> None:
    stopped = Invoice.objects.visible_to(actor).filter(run=run, state=InvoiceState.STOPPED).count()
    as_read(actor, run).update(state=RunState.DRAFTED, problems=stopped, done=F("total"), moved_at=timezone.now())


# --- one account ------------------------------------------------------------------------------------------------------
def _draft_or_stop(
    actor: Actor, run: BillingRun, account: BillingAccount, registrations: RegistrationBook, fees: FeeBook
) -> None:
    """Draft an account. One on which an error comes up that nobody foresaw is stopped, so that the others go on."""
    try:
        _draft_account(actor, run, account, registrations, fees)
    except NOT_ITS_FAULT:
        raise
    except Exception:
        logger.exception("billing run %s: account %s could not be drafted", run.pk, account.pk)
        _stop_account(actor, run, account)


def _stop_account(actor: Actor, run: BillingRun, account: BillingAccount) -> None:
    """Stop what the account has of drafts; an empty one says so where the error came before them."""
    drafts = Invoice.objects.visible_to(actor).open().filter(run=run, account=account)
    with _holding(actor, run, account):
        contract = Contract.objects.visible_to(actor).filter(account=account).order_by("pk").first()
        seller = default_seller(run.operator_id)
        if contract and seller and not drafts.exists():
            _open_draft(actor, run, account, (seller.pk, seller.country, None, contract.currency))
        stop_failed(drafts)


def _draft_account(
    actor: Actor, run: BillingRun, account: BillingAccount, registrations: RegistrationBook, fees: FeeBook
) -> None:
    for draft in stale_drafts(actor, run).filter(account=account).select_related("account"):
        delete_draft(actor, run, draft)
    while _draft_portion(actor, run, account, registrations):
        pass
    _draft_fees(actor, run, account, registrations, fees)
    for draft in Invoice.objects.visible_to(actor).open().filter(run=run, account=account).select_related("seller"):
        with _holding(actor, run, account):
            check_draft(actor, draft)


@contextmanager
def _holding(actor: Actor, run: BillingRun, account: BillingAccount) -> Iterator[None]:
    """A transaction that holds the rows of run and account. Raises Overtaken."""
    with transaction.atomic():
        hold_run(actor, run)
        BillingAccount.objects.visible_to(actor).select_for_update(no_key=True).get(pk=account.pk)
        yield


def _draft_portion(actor: Actor, run: BillingRun, account: BillingAccount, registrations: RegistrationBook) -> bool:
    """Put the account's next CDRs on drafts; whether there may be more."""
    due = billable_cdrs(actor, run, account)
    if not due.exists():
        return False
    with _holding(actor, run, account):
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
    actor: Actor, run: BillingRun, account: BillingAccount, registrations: RegistrationBook, fees: FeeBook
) -> None:
    if not fees.due(account, _billed_fees(actor, account)):
        return
    with _holding(actor, run, account):
        due = fees.due(account, _billed_fees(actor, account))
        sold = [Sold(fee.line(), fee.seller.pk, fee.contract.currency) for fee in due]
        _write_lines(actor, run, account, registrations, sold)
        BilledFee.objects.bulk_create(
            BilledFee(operator_id=run.operator_id, contract=fee.contract, month=fee.month, line=one.line)
            for fee, one in zip(due, sold, strict=True)
        )


def _billed_fees(actor: Actor, account: BillingAccount) -> set[tuple[int, dt.date]]:
    """The (contract, month) of the account's fees that stand on a line."""
    live = BilledFee.objects.visible_to(actor).live().filter(contract__account=account)
    return set(live.values_list("contract_id", "month"))


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
    draft = Invoice.objects.visible_to(actor).open().filter(run=run, account=account, **named).first()
    if draft is None:
        own = {"operator_id": run.operator_id, "run": run, "drafting": run.drafting, "account": account}
        draft = Invoice.objects.create(**own, **named, period_from=run.period, period_to=run.ends_on)
        return draft, 0
    last = InvoiceLine.objects.visible_to(actor).filter(invoice=draft).aggregate(last=Max("position"))["last"]
    return draft, last or 0


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
    """Drafts of an earlier drafting of this run, those that an error broke off, and what finalised runs left behind."""
    own = Q(run=run) & (~Q(drafting=run.drafting) | Q(problem=Problem.FAILED))
    return Invoice.objects.visible_to(actor).open().filter(own | Q(run__state=RunState.FINALISED))


def delete_draft(actor: Actor, run: BillingRun, draft: Invoice) -> None:
    """Throw a draft away for a run that takes up what it held, a portion at a time."""
    while _delete_portion(actor, run, draft):
        pass


def _delete_portion(actor: Actor, run: BillingRun, draft: Invoice) -> bool:
    """Whether there is more of it. One that became final meanwhile keeps all that it bills."""
    with _holding(actor, run, draft.account):
        own = Invoice.objects.visible_to(actor).open().filter(pk=draft.pk)
        if own.select_for_update(no_key=True).first() is None:
            return False
        for model, path in ((BilledItem, "line__invoice"), (BilledFee, "line__invoice"), (InvoiceLine, "invoice")):
            rows = model.objects.visible_to(actor)
            portion = rows.filter(**{path: draft}).order_by("pk").values_list("pk", flat=True)[:ROWS_A_DELETION]
            if portion:
                rows.filter(pk__in=list(portion)).delete()
                return True
        own.delete()
        return False


# --- the run's row ----------------------------------------------------------------------------------------------------
def lock_run(actor: Actor, run: BillingRun) -> BillingRun:
    """The run as it is now, with its row held until the transaction ends."""
    held: BillingRun = BillingRun.objects.visible_to(actor).select_for_update(no_key=True).get(pk=run.pk)
    return held


def as_read(actor: Actor, run: BillingRun) -> Any:
    """The run's row, as long as it is in the state and drafting in which a worker read it."""
    return BillingRun.objects.visible_to(actor).filter(pk=run.pk, state=run.state, drafting=run.drafting)


def hold_run(actor: Actor, run: BillingRun) -> None:
    """Hold the row of a run that is worked on until the transaction ends. Raises Overtaken."""
    if as_read(actor, run).select_for_update(no_key=True).first() is None:
        raise Overtaken
