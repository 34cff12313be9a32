"""Killed anywhere and run again, or run twice at once: no number is missing, none is double, nothing is billed twice.

Real processes on a database of their own, where commits stay."""

from __future__ import annotations

import signal
from multiprocessing.context import ForkServerProcess

import pytest
from django.db import connection
from django_q.models import OrmQ

from apps.billing import services
from apps.billing.models import BilledItem, BillingRun, Invoice, InvoiceFile, InvoiceLine, RunState
from apps.core.actor import Actor
from apps.notifications.models import Mail
from tests.factories.billing import MONTH, drafted, finalised, make_cdr, make_cdrs, make_customer
from tests.factories.tasks import run_tasks

PATIENCE_S = 120


def ended(*processes: ForkServerProcess) -> list[int | None]:
    """The exit codes. What an error was is among the test's captured output."""
    connection.close()
    for process in processes:
        process.join(PATIENCE_S)
        assert process.exitcode in (0, -signal.SIGKILL)
    return [process.exitcode for process in processes]


def ready_run(tenant, count: int) -> BillingRun:
    for _number in range(count):
        make_cdr(tenant, make_customer(tenant), "2.00")
    run = drafted(tenant)
    return services.finalise_run(actor=Actor.system(tenant.operator), run=run, why="month's end")


def numbers(tenant) -> list[int]:
    rows = Invoice.everything.filter(operator=tenant.operator).exclude(number="")
    return sorted(int(number[-6:]) for number in rows.values_list("number", flat=True))


def test_two_finalisers_at_once_leave_no_gap_and_no_double(tenant, begin):
    run = ready_run(tenant, 18)
    assert ended(begin("finalise", run.pk), begin("finalise", run.pk)) == [0, 0]
    assert numbers(tenant) == list(range(1, 19))
    run.refresh_from_db()
    assert (run.state, run.done, run.total) == (RunState.FINALISED, 18, 18)


@pytest.mark.parametrize("dies_at", [1, 4, 6])
def test_a_finaliser_that_is_killed_leaves_nothing_half_done(tenant, begin, dies_at):
    run = ready_run(tenant, 9)
    assert ended(begin("finalise", run.pk, dies_at)) == [-signal.SIGKILL]
    before = numbers(tenant)
    assert before == list(range(1, 1 + 4 * ((dies_at - 1) // 4)))
    lines = InvoiceLine.everything.filter(invoice__run=run)
    assert lines.exclude(finalised_at=None).count() == len(before)
    assert ended(begin("finalise", run.pk)) == [0]
    assert numbers(tenant) == list(range(1, 10))
    assert not lines.filter(finalised_at=None).exists()


def test_two_drafters_at_once_bill_each_session_once(tenant, begin):
    for _number in range(3):
        make_cdrs(tenant, make_customer(tenant, base_fee="9.90"), ["1.00"] * 11)
    run = services.start_run(actor=Actor.system(tenant.operator), period=MONTH)
    assert ended(begin("draft", run.pk), begin("draft", run.pk)) == [0, 0]
    assert BilledItem.everything.count() == 33
    assert [str(net) for net in Invoice.everything.values_list("net", flat=True)] == ["20.90"] * 3


def test_a_drafter_that_is_killed_is_followed_by_one_that_goes_on(tenant, begin):
    make_cdrs(tenant, make_customer(tenant), ["1.00"] * 11)
    run = services.start_run(actor=Actor.system(tenant.operator), period=MONTH)
    assert ended(begin("draft", run.pk, 3)) == [-signal.SIGKILL]
    assert BilledItem.everything.count() == 8
    assert ended(begin("draft", run.pk)) == [0]
    [draft] = Invoice.everything.all()
    assert (draft.lines.count(), str(draft.net)) == (11, "11.00")


def test_a_worker_that_is_killed_while_it_draws_is_followed_by_one_that_does(tenant, begin):
    make_cdr(tenant, make_customer(tenant))
    [invoice] = finalised(tenant)
    OrmQ.objects.all().delete()  # its task is lost with the worker
    assert ended(begin("render", invoice.pk, 1)) == [-signal.SIGKILL]
    assert not InvoiceFile.everything.exists()
    assert ended(begin("render", invoice.pk), begin("render", invoice.pk)) == [0, 0]
    assert InvoiceFile.everything.count() == 1
    run_tasks()
    assert Mail.everything.filter(kind="invoice").count() == 1
