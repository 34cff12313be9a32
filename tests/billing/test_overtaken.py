"""A worker that comes late, or a second time, changes nothing; one that fails on an account holds no other one back."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.utils import timezone

from apps.billing import lines, services, tasks
from apps.billing.models import BilledItem, BillingRun, Invoice, InvoiceLine, RunState
from apps.billing.services import drafting, finalising
from tests.factories.billing import MONTH, NOON, credit_of, drafted, finalised, make_cdr, make_cdrs, make_customer

LATER = NOON + dt.timedelta(hours=3)


@pytest.fixture
def meanwhile(monkeypatch):
    """Let others do something once, right before a function of a worker's begins."""

    def arrange(module, name, others) -> None:
        original, done = getattr(module, name), []

        def waits(*args, **kwargs):
            if not done:
                done.append(True)
                others()
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, waits)

    return arrange


def finalise(system, run: BillingRun) -> None:
    services.finalise_run(actor=system, run=run, why="month's end")
    services.continue_finalising(run_id=run.pk)


# --- late -------------------------------------------------------------------------------------------------------------
def test_a_drafter_that_wakes_up_late_adds_nothing_to_a_final_invoice(ours, system, meanwhile):
    contract = make_customer(ours)
    make_cdr(ours, contract, "1.00")
    run = services.start_run(actor=system, period=MONTH)

    def others():
        services.continue_drafting(run_id=run.pk)
        finalise(system, run)
        make_cdr(ours, contract, "2.00", start=LATER)

    meanwhile(drafting, "_draft_account", others)
    services.continue_drafting(run_id=run.pk)
    invoice = Invoice.everything.get()
    assert (invoice.state, invoice.lines.count(), BilledItem.everything.count()) == ("final", 1, 1)
    [later] = finalised(ours)
    assert later.net == Decimal("2.00")


def test_a_drafter_of_an_earlier_drafting_leaves_the_new_one_alone(ours, system, meanwhile):
    make_cdr(ours, make_customer(ours), "1.00")
    run = services.start_run(actor=system, period=MONTH)

    def others():
        services.continue_drafting(run_id=run.pk)
        services.draft_again(actor=system, run=run, why="once more")

    meanwhile(drafting, "_draft_account", others)
    services.continue_drafting(run_id=run.pk)
    run.refresh_from_db()
    assert (run.state, run.drafting, run.done) == (RunState.DRAFTING, 2, 0)
    assert Invoice.everything.get().drafting == 1


def test_a_part_of_an_earlier_drafting_that_comes_back_ends_nothing(ours, system):
    make_cdr(ours, make_customer(ours), "1.00")
    run = drafted(ours)
    services.draft_again(actor=system, run=run, why="once more")
    tasks.continue_runs([{"run_id": run.pk, "drafting": 1, "after": 10**9}])
    run.refresh_from_db()
    assert run.state == RunState.DRAFTING


def test_a_draft_of_an_earlier_drafting_never_becomes_final(ours, system):
    make_cdr(ours, make_customer(ours), "1.00")
    run = drafted(ours)
    services.draft_again(actor=system, run=run, why="once more")
    services.continue_drafting(run_id=run.pk, after=10**9)
    finalise(system, run)
    assert not Invoice.everything.exclude(finalised_at=None).exists()
    [invoice] = finalised(ours)
    assert invoice.net == Decimal("1.00")


def test_a_draft_that_became_final_meanwhile_keeps_what_it_bills(ours, meanwhile):
    contract = make_customer(ours)
    cdr = make_cdr(ours, contract, "5.00")
    finalised(ours)
    credit_of(cdr)
    finalised(ours)
    stopped = Invoice.everything.filter(state="stopped")
    make_cdr(ours, contract, "9.00", start=LATER)

    def others():
        now = timezone.now()
        stopped.update(state="final", finalised_at=now, issue_date=now.date(), number="DE2026-000002")

    meanwhile(drafting, "delete_draft", others)
    drafted(ours)
    assert BilledItem.everything.filter(item__cdr__kind="credit", line__invoice__number="DE2026-000002").exists()
    assert Invoice.everything.get(finalised_at=None).net == Decimal("9.00")


def test_a_draft_whose_contents_changed_is_read_again_before_it_is_final(ours, meanwhile):
    make_cdrs(ours, make_customer(ours), ["1.00", "2.00"])

    def others():
        last = InvoiceLine.everything.get(position=2)
        BilledItem.everything.filter(line=last).delete()
        last.delete()

    meanwhile(finalising, "_finalise", others)
    [invoice] = finalised(ours)
    assert (invoice.net, len(invoice.snapshot["lines"]), invoice.lines.count()) == (Decimal("1.00"), 1, 1)


# --- failed -----------------------------------------------------------------------------------------------------------
def test_an_account_that_cannot_be_drafted_is_stopped_and_the_others_go_on(ours, caplog):
    make_cdr(ours, make_customer(ours), "1.00")
    broken = make_customer(ours)
    make_cdr(ours, broken, "2.00", place=["no", "place"])
    make_cdr(ours, make_customer(ours), "4.00")
    assert [str(one.net) for one in finalised(ours)] == ["1.00", "4.00"]
    stopped = Invoice.everything.get(state="stopped")
    assert (stopped.account, stopped.problem, stopped.lines.count()) == (broken.account, "failed", 0)
    assert "unexpected error" in stopped.problem_texts[0]
    assert "has no attribute 'get'" in caplog.text
    assert BillingRun.everything.get().problems == 1


def test_an_account_that_failed_in_the_middle_is_drafted_anew(ours, monkeypatch):
    monkeypatch.setattr(drafting, "CDRS_A_PORTION", 1)
    make_cdrs(ours, make_customer(ours), ["1.00", "2.00"])
    original = lines.session_lines

    def fails(cdrs, items):
        if InvoiceLine.everything.exists():
            raise RuntimeError("unforeseen")
        return original(cdrs, items)

    monkeypatch.setattr(lines, "session_lines", fails)
    run = drafted(ours)
    draft = Invoice.everything.get()
    assert (draft.problem, draft.lines.count(), run.problems) == ("failed", 1, 1)
    monkeypatch.setattr(lines, "session_lines", original)
    BillingRun.everything.update(state=RunState.DRAFTING)  # as for a second worker that is still at it
    services.continue_drafting(run_id=run.pk)
    draft = Invoice.everything.get()
    assert (draft.state, draft.net, draft.lines.count()) == ("draft", Decimal("3.00"), 2)
