"""A month's run: what is collected, what stops a draft, and that doing it again changes nothing."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.conf import settings
from django.core.exceptions import PermissionDenied, ValidationError
from django_q.models import OrmQ

from apps.accounts.models import Seller, SellerRegistration
from apps.billing import services, tasks
from apps.billing.models import BilledItem, BillingRun, Invoice, InvoiceLine, RunState
from apps.billing.services import drafting, finalising
from apps.charging.models import RatedItem, ReviewItem
from apps.core.actor import Actor, Kind
from apps.tariffs.models import VatRate
from tests.factories.billing import MONTH, NOON, credit_of, drafted, finalised, make_cdr, make_cdrs, make_customer
from tests.factories.charging import make_session
from tests.factories.contracts import LONG_AGO
from tests.factories.installations import LocationFactory
from tests.factories.tasks import run_tasks

LATE = NOON + dt.timedelta(days=3)


def drafts(run: BillingRun) -> list[Invoice]:
    return list(Invoice.everything.filter(run=run).order_by("pk"))


def test_t12_vat_is_rounded_once_a_rate_on_the_invoice(ours):
    make_cdrs(ours, make_customer(ours), ["5.43", "5.43", "5.43"])
    [draft] = drafts(drafted(ours))
    assert (draft.net, draft.vat, draft.gross) == (Decimal("16.29"), Decimal("3.10"), Decimal("19.39"))
    assert draft.state == "draft"
    assert draft.number == ""


def test_each_rate_is_rounded_for_itself(ours):
    contract = make_customer(ours)
    make_cdrs(ours, contract, ["5.43"])
    make_cdrs(ours, contract, ["5.43"], percent="7", start=NOON + dt.timedelta(days=1))
    [draft] = drafts(drafted(ours))
    assert (draft.net, draft.vat) == (Decimal("10.86"), Decimal("1.03") + Decimal("0.38"))


def test_a_currency_without_cents_has_none_on_the_invoice(ours):
    make_cdrs(ours, make_customer(ours, currency="JPY"), ["543", "544"])
    [draft] = drafts(drafted(ours))
    assert (draft.currency, draft.vat, draft.gross) == ("JPY", Decimal(207), Decimal(1294))


def test_late_cdrs_of_earlier_months_come_and_those_after_the_cut_off_wait(ours):
    contract = make_customer(ours)
    september = make_cdr(ours, contract, "1.00", start=NOON - dt.timedelta(days=30))
    make_cdr(ours, contract, "2.00", start=NOON + dt.timedelta(days=30))
    cutoff = NOON + dt.timedelta(days=25)
    make_cdr(ours, contract, "4.00", created_at=cutoff + dt.timedelta(seconds=1), start=NOON + dt.timedelta(hours=2))
    october = make_cdr(ours, contract, "8.00", created_at=cutoff)
    september_items = RatedItem.everything.filter(cdr=september)
    assert september_items.count() == 1
    run = drafted(ours, cutoff_at=cutoff)
    assert {line.cdr_id for line in InvoiceLine.everything.filter(invoice__run=run)} == {october.pk}
    [draft] = drafts(run)
    assert (draft.period_from, draft.period_to) == (MONTH, dt.date(2026, 10, 31))
    services.draft_again(actor=Actor.system(ours.operator), run=run, why="late ones")
    services.continue_drafting(run_id=run.pk)
    [draft] = drafts(run)
    assert (draft.net, draft.period_from) == (Decimal("13.00"), september.supplied_on)


def test_a_cdr_that_was_credited_before_it_was_billed_is_left_out_with_its_credit(ours):
    contract = make_customer(ours)
    credit_of(make_cdr(ours, contract, "5.00"))
    kept = make_cdr(ours, contract, "7.00", start=NOON + dt.timedelta(hours=3))
    run = drafted(ours)
    assert [line.cdr for line in InvoiceLine.everything.filter(invoice__run=run)] == [kept]


def test_the_credit_of_a_billed_cdr_comes_with_the_next_run(ours):
    contract = make_customer(ours)
    cdr = make_cdr(ours, contract, "5.00")
    finalised(ours)
    credit_of(cdr)
    make_cdr(ours, contract, "7.00", start=NOON + dt.timedelta(hours=3))
    [draft] = drafts(drafted(ours))
    assert draft.net == Decimal("2.00")
    assert sorted(line.quantity > 0 for line in draft.lines.all()) == [False, True]


def test_a_total_below_zero_stops_and_waits_for_the_next_run(ours):
    contract = make_customer(ours)
    cdr = make_cdr(ours, contract, "5.00")
    finalised(ours)
    credit_of(cdr)
    run = drafted(ours)
    [draft] = drafts(run)
    assert (draft.state, draft.problem) == ("stopped", "negative")
    services.finalise_run(actor=Actor.system(ours.operator), run=run, why="x")
    services.continue_finalising(run_id=run.pk)
    run.refresh_from_db()
    assert (run.state, run.problems) == (RunState.FINALISED, 1)
    make_cdr(ours, contract, "9.00", start=NOON + dt.timedelta(hours=3))
    [invoice] = finalised(ours)
    assert invoice.net == Decimal("4.00")
    assert drafts(run) == []


def test_one_invoice_a_registration_and_one_a_currency(ours):
    contract = make_customer(ours)
    seller = ours.location.seller
    SellerRegistration.everything.create(
        operator=ours.operator, seller=seller, country="NL", number_prefix="NL", valid_from=LONG_AGO, vat_id="NL1"
    )
    abroad = LocationFactory(operator=ours.operator, country="NL", city="Zwolle", seller=seller)
    make_cdr(ours, contract, "1.00")
    make_cdr(ours, contract, "2.00", location=abroad, percent="21", start=NOON + dt.timedelta(hours=2))
    found = {(one.country, one.registration.number_prefix, one.net) for one in drafts(drafted(ours))}
    assert found == {("DE", "DE", Decimal("1.00")), ("NL", "NL", Decimal("2.00"))}


# --- what stops a draft -----------------------------------------------------------------------------------------------
def test_without_registration_a_draft_is_stopped_and_the_others_go_on(ours):
    contract = make_customer(ours)
    abroad = LocationFactory(operator=ours.operator, country="FR", city="Lille", seller=ours.location.seller)
    make_cdr(ours, contract, "1.00")
    make_cdr(ours, contract, "2.00", location=abroad, percent="20", start=NOON + dt.timedelta(hours=2))
    [invoice] = finalised(ours)
    assert invoice.net == Decimal("1.00")
    stopped = Invoice.everything.get(state="stopped")
    assert stopped.problem_texts == ["Amber GmbH has no VAT registration in FR on Oct. 12, 2026."]
    assert BillingRun.everything.get().problems == 1


@pytest.mark.parametrize(
    ("break_it", "problem"),
    [
        (lambda ours, contract, cdr: SellerRegistration.everything.update(vat_id=""), "no_tax_id"),
        (lambda ours, contract, cdr: Seller.everything.update(street=""), "no_seller_address"),
        (
            lambda ours, contract, cdr: type(contract).everything.filter(pk=contract.pk).update(currency="SEK"),
            "currency",
        ),
        (lambda ours, contract, cdr: doubt(ours, cdr), "review"),
        (lambda ours, contract, cdr: doubt(ours, cdr, code="cdr_outdated", blocking=False), "review"),
    ],
)
def test_a_draft_is_stopped_and_says_why(ours, break_it, problem):
    contract = make_customer(ours)
    cdr = make_cdr(ours, contract)
    break_it(ours, contract, cdr)
    [draft] = drafts(drafted(ours))
    assert (draft.state, draft.problem) == ("stopped", problem)
    assert len(draft.problem_texts) == 1
    assert "%(" not in draft.problem_texts[0]


def doubt(ours, cdr, code: str = "second_stop", **given) -> ReviewItem:
    named = {"operator": ours.operator, "station": ours.station, "session": cdr.session}
    return ReviewItem.everything.create(**named, code=code, key="x", opened_at=NOON, **given)


def test_a_doubt_that_holds_nothing_back_stops_no_draft(ours):
    doubt(ours, make_cdr(ours, make_customer(ours)), blocking=False)
    [draft] = drafts(drafted(ours))
    assert draft.state == "draft"


def test_a_doubt_is_dated_by_the_clock_of_its_place(ours):
    after_midnight = dt.datetime(2026, 10, 12, 22, 30, tzinfo=dt.UTC)  # half past twelve on the 13th in Berlin
    doubt(ours, make_cdr(ours, make_customer(ours), start=after_midnight))
    [draft] = drafts(drafted(ours))
    assert draft.problems[0]["day"] == "2026-10-13"


@pytest.mark.parametrize("change", [{"valid_to": NOON.date()}, {"valid_from": LATE.date()}, {"country": "AT"}])
def test_a_registration_that_does_not_hold_for_a_line_any_more_stops_its_draft(ours, system, change):
    contract = make_customer(ours)
    make_cdrs(ours, contract, ["1.00", "2.00"], apart=LATE - NOON)
    run = drafted(ours)
    SellerRegistration.everything.update(**change)
    services.finalise_run(actor=system, run=run, why="x")
    services.continue_finalising(run_id=run.pk)
    [draft] = drafts(run)
    missing = LATE if "valid_to" in change else NOON
    assert draft.problems == [
        {"code": "no_registration", "seller": "Amber GmbH", "country": "DE", "day": missing.date().isoformat()}
    ]


def test_a_missing_vat_rate_is_an_error_and_not_zero(ours):
    make_customer(ours, base_fee="9.90")
    VatRate.everything.all().delete()
    [draft] = drafts(drafted(ours))
    assert (draft.problem, draft.vat) == ("no_vat_rate", Decimal(0))


def test_checks_are_made_again_when_a_run_is_finalised(ours, system):
    cdr = make_cdr(ours, make_customer(ours))
    run = drafted(ours)
    doubt(ours, cdr)
    services.finalise_run(actor=system, run=run, why="x")
    services.continue_finalising(run_id=run.pk)
    [draft] = drafts(run)
    assert (draft.state, draft.number) == ("stopped", "")


# --- again and again --------------------------------------------------------------------------------------------------
def test_drafting_again_changes_nothing(ours, system):
    make_cdrs(ours, make_customer(ours, base_fee="9.90"), ["5.43"] * 7)
    run = drafted(ours)
    before = [(one.net, one.lines.count()) for one in drafts(run)]
    services.draft_again(actor=system, run=run, why="once more")
    services.continue_drafting(run_id=run.pk)
    services.continue_drafting(run_id=run.pk)
    assert [(one.net, one.lines.count()) for one in drafts(run)] == before == [(Decimal("47.91"), 8)]


def test_a_run_that_ended_in_mid_account_goes_on_where_it_was(ours, monkeypatch):
    monkeypatch.setattr(drafting, "CDRS_A_PORTION", 3)
    make_cdrs(ours, make_customer(ours), ["1.00"] * 10)
    original, calls = drafting._write_lines, []

    def dies(*args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        original(*args)

    monkeypatch.setattr(drafting, "_write_lines", dies)
    with pytest.raises(KeyboardInterrupt):
        drafted(ours)
    assert BilledItem.everything.count() == 6
    run = BillingRun.everything.get()
    services.continue_drafting(run_id=run.pk)
    [draft] = drafts(run)
    assert (draft.net, draft.lines.count()) == (Decimal("10.00"), 10)
    assert sorted(line.position for line in draft.lines.all()) == list(range(1, 11))


def test_the_task_cluster_drafts_finalises_draws_and_writes(ours, system, mailoutbox):
    make_cdrs(ours, make_customer(ours), ["5.43"] * 3)
    run = services.start_run(actor=system, period=MONTH)
    run_tasks()
    run.refresh_from_db()
    assert (run.state, run.done, run.total) == (RunState.DRAFTED, run.total, run.done)
    services.finalise_run(actor=system, run=run, why="month's end")
    run_tasks()
    run.refresh_from_db()
    assert run.state == RunState.FINALISED
    invoice = Invoice.everything.get()
    assert invoice.number == f"DE{invoice.issue_date.year}-000001"
    assert len(mailoutbox) == 1


def test_a_run_whose_task_was_lost_is_taken_up_again(ours, system):
    make_cdrs(ours, make_customer(ours), ["5.43"] * 3)
    run = services.start_run(actor=system, period=MONTH)
    OrmQ.objects.all().delete()
    tasks.resume_runs()
    assert run_tasks() == 0
    BillingRun.everything.update(moved_at=run.moved_at - tasks.STALLED * 2)
    tasks.resume_runs()
    run_tasks()
    run.refresh_from_db()
    assert run.state == RunState.DRAFTED


def test_a_long_run_is_handed_on_in_parts(ours, system, monkeypatch):
    monkeypatch.setattr(tasks, "BUDGET_S", 0.0)
    monkeypatch.setattr(drafting, "ACCOUNTS_A_LOOK", 1)
    monkeypatch.setattr(finalising, "INVOICES_A_CHUNK", 1)
    for _number in range(3):
        make_cdr(ours, make_customer(ours), "2.00")
    run = services.start_run(actor=system, period=MONTH)
    assert run_tasks() > 3
    services.finalise_run(actor=system, run=run, why="month's end")
    run_tasks()
    run.refresh_from_db()
    assert (run.state, run.done, run.total) == (RunState.FINALISED, 3, 3)


def test_a_task_with_more_time_has_more_and_is_over_before_it_is_given_to_another_worker():
    assert settings.Q_CLUSTER["timeout"] < tasks.LONG_S < settings.Q_CLUSTER["retry"]


def test_a_run_of_a_month_is_final_before_the_next_one_of_it(ours, system):
    make_customer(ours)
    drafted(ours)
    with pytest.raises(ValidationError):
        services.start_run(actor=system, period=MONTH)
    with pytest.raises(ValidationError):
        services.start_run(actor=system, period=dt.date(2999, 1, 1))


def test_only_those_who_may_run_and_finalise(ours):
    make_customer(ours)
    nobody = Actor(kind=Kind.SESSION, operator_id=ours.operator.pk, operator_wide=True)
    with pytest.raises(PermissionDenied):
        services.start_run(actor=nobody, period=MONTH)
    run = drafted(ours)
    for change in (services.draft_again, services.finalise_run):
        with pytest.raises(PermissionDenied):
            change(actor=nobody, run=run, why="x")


def test_a_run_is_drafted_again_and_finalised_with_a_reason(ours, system):
    make_customer(ours)
    run = drafted(ours)
    for change in (services.draft_again, services.finalise_run):
        with pytest.raises(ValidationError, match="Say why"):
            change(actor=system, run=run, why=" ")


def test_a_session_that_is_still_open_is_not_billed(ours):
    make_customer(ours)
    make_session(ours)
    assert drafts(drafted(ours)) == []
