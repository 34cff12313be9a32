"""Background work of billing. Each task does a part and hands the rest on: tasks have a time limit."""

from __future__ import annotations

import datetime as dt

from apps.billing import services
from apps.billing.events import INVOICE_FINALISED, INVOICE_READY, RUN_BEGUN
from apps.billing.models import BillingRun, RunState
from apps.core import events
from apps.core.events import Payload
from apps.core.schedules import every

BUDGET_S = 15.0
STALLED = dt.timedelta(minutes=10)


@events.on(RUN_BEGUN)
def continue_runs(payloads: list[Payload]) -> None:
    """Draft or finalise a part of a run; the rest is another task."""
    for payload in payloads:
        run_id = payload["run_id"]
        after = services.continue_drafting(run_id=run_id, after=payload["after"], budget_s=BUDGET_S)
        if after is not None:
            events.publish(RUN_BEGUN, run_id=run_id, after=after)
        elif not services.continue_finalising(run_id=run_id, budget_s=BUDGET_S):
            events.publish(RUN_BEGUN, run_id=run_id, after=0)


@events.on(INVOICE_FINALISED)
def render_invoices(payloads: list[Payload]) -> None:
    """Draw the PDFs of invoices that became final."""
    for payload in payloads:
        services.render_invoice(invoice_id=payload["invoice_id"])


@events.on(INVOICE_READY)
def deliver_invoices(payloads: list[Payload]) -> None:
    """Tell the customers."""
    for payload in payloads:
        services.deliver_invoice(invoice_id=payload["invoice_id"])


@every(minutes=10)
def resume_runs() -> None:
    """Runs on which nobody has worked for a while, and invoices without PDF or e-mail: their task was lost."""
    now = dt.datetime.now(dt.UTC)
    stalled = BillingRun.objects.unscoped("a task looks after all operators").filter(moved_at__lt=now - STALLED)
    for run_id in stalled.exclude(state__in=[RunState.DRAFTED, RunState.FINALISED]).values_list("pk", flat=True):
        events.publish(RUN_BEGUN, run_id=run_id, after=0)
    events.publish_many(INVOICE_FINALISED, [{"invoice_id": pk} for pk in services.unfinished_invoices(now=now)])
