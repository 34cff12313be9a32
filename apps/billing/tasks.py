"""Background work of billing. Each task does a part and hands the rest on: tasks have a time limit."""

from __future__ import annotations

import datetime as dt

from django.conf import settings
from django_q.tasks import async_task

from apps.billing import services
from apps.billing.events import INVOICE_FINALISED, INVOICE_READY, RUN_BEGUN
from apps.billing.models import BillingRun, RunState
from apps.core import events
from apps.core.events import Payload
from apps.core.schedules import every

BUDGET_S = 15.0
# Shortly before the cluster hands a task to another worker.
LONG_S = settings.Q_CLUSTER["retry"] - 10
STALLED = dt.timedelta(minutes=10)


@events.on(RUN_BEGUN)
def continue_runs(payloads: list[Payload]) -> None:
    """Draft or finalise a part of a run; the rest is another task."""
    for payload in payloads:
        part = {"run_id": payload["run_id"], "drafting": payload["drafting"]}
        after = services.continue_drafting(**part, after=payload["after"], budget_s=BUDGET_S)
        if after is not None:
            events.publish(RUN_BEGUN, **part, after=after)
        elif not services.continue_finalising(**part, budget_s=BUDGET_S):
            events.publish(RUN_BEGUN, **part, after=0)


@events.on(INVOICE_FINALISED)
def render_invoices(payloads: list[Payload]) -> None:
    """Draw the PDFs of invoices that became final; one of hundreds of pages is a task with more time."""
    for payload in payloads:
        if services.is_long(invoice_id=payload["invoice_id"]):
            async_task("apps.billing.tasks.render_long_invoice", payload["invoice_id"], timeout=LONG_S)
        else:
            services.render_invoice(invoice_id=payload["invoice_id"])


def render_long_invoice(invoice_id: int) -> None:
    """Draw one invoice with very many lines."""
    services.render_invoice(invoice_id=invoice_id)


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
    for run in stalled.exclude(state__in=[RunState.DRAFTED, RunState.FINALISED]):
        events.publish(RUN_BEGUN, run_id=run.pk, drafting=run.drafting, after=0)
    events.publish_many(INVOICE_FINALISED, [{"invoice_id": pk} for pk in services.unfinished_invoices(now=now)])
