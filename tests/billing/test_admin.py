"""The bookkeeper's day in the back office: start, look, finalise, cancel, send again, take the lines along."""

from __future__ import annotations

import csv
import datetime as dt
import io
from decimal import Decimal

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from apps.accounts import services as accounts
from apps.accounts.permissions import Role
from apps.billing import admin as billing_admin
from apps.billing import services
from apps.billing.models import BillingRun, Invoice, RunState
from apps.core.actor import Actor
from tests.factories.accounts import UserFactory
from tests.factories.billing import (
    MONTH,
    NOON,
    VAT_ID,
    credit_of,
    drafted,
    finalised,
    make_cdr,
    make_cdr_elsewhere,
    make_cdrs,
    make_customer,
)
from tests.factories.tasks import run_tasks

HOST = {"host": settings.ADMIN_HOST}


@pytest.fixture
def bookkeeper(ours) -> Client:
    return signed_in(ours, Role.FINANCE)


def signed_in(tenant, role) -> Client:
    user = UserFactory()
    accounts.grant_role(actor=Actor.system(tenant.operator), user=user, operator=tenant.operator, role=role)
    client = Client()
    client.force_login(user)
    return client


def url(name: str, *args) -> str:
    return reverse(f"admin:billing_{name}", args=args, urlconf="config.urls_admin")


def test_a_run_from_its_start_to_its_invoices(ours, bookkeeper):
    make_cdrs(ours, make_customer(ours, base_fee="9.90"), ["5.43"] * 3)
    shown = bookkeeper.get(url("billingrun_start"), headers=HOST)
    assert "October 2026" in shown.content.decode()
    started = bookkeeper.post(url("billingrun_start"), {"period": MONTH.isoformat()}, headers=HOST)
    run = BillingRun.everything.get()
    assert started["Location"] == url("billingrun_change", run.pk)
    assert "accounts are drafted" in bookkeeper.get(started["Location"], headers=HOST).content.decode()
    run_tasks()
    preview = bookkeeper.get(url("billingrun_finalise", run.pk), headers=HOST).content.decode()
    assert "1 invoice of €31.17" in preview
    assert BillingRun.everything.get().state == RunState.DRAFTED
    bookkeeper.post(url("billingrun_finalise", run.pk), {"why": "month's end"}, headers=HOST)
    run_tasks()
    invoice = Invoice.everything.get()
    page = bookkeeper.get(url("invoice_change", invoice.pk), headers=HOST).content.decode()
    assert invoice.number in page
    assert (
        reverse("admin:charging_cdr_change", args=[invoice.lines.first().cdr_id], urlconf="config.urls_admin") in page
    )
    answer = bookkeeper.get(url("invoice_as_pdf", invoice.pk), headers=HOST)
    assert b"".join(answer.streaming_content).startswith(b"%PDF")


def test_a_stopped_draft_says_why_on_the_run_s_page_and_in_the_preview(ours, bookkeeper):
    contract = make_customer(ours)
    cdr = make_cdr(ours, contract)
    finalised(ours)
    credit_of(cdr)
    run = drafted(ours)
    for page in ("billingrun_change", "billingrun_finalise"):
        assert "The total is below zero" in bookkeeper.get(url(page, run.pk), headers=HOST).content.decode()


def test_a_run_counts_what_can_become_final_and_every_stopped_draft(ours, bookkeeper, monkeypatch):
    monkeypatch.setattr(billing_admin, "DRAFTS_SHOWN", 2)
    make_cdr(ours, make_customer(ours), "10.00")
    for _number in range(3):
        make_cdr(ours, make_customer(ours), country="FR")
    run = drafted(ours)
    page = bookkeeper.get(url("billingrun_change", run.pk), headers=HOST).content.decode()
    assert "1 invoice, VAT included" in page
    assert "The first 2 are shown." in page
    assert "largest are shown" not in page
    preview = bookkeeper.get(url("billingrun_finalise", run.pk), headers=HOST).content.decode()
    assert "1 invoice of €11.90" in preview
    assert "3 stopped drafts stay behind" in preview
    assert "The first 2 are shown." in preview


def test_the_list_asks_the_same_number_of_queries_for_one_invoice_and_for_many(
    ours, bookkeeper, django_assert_max_num_queries
):
    def asked() -> int:
        with django_assert_max_num_queries(100) as captured:
            assert bookkeeper.get(url("invoice_changelist"), headers=HOST).status_code == 200
        return len(captured)

    for _number in range(2):
        make_cdr(ours, make_customer(ours), "2.00")
    finalised(ours)
    few = asked()
    for _number in range(8):
        make_cdr(ours, make_customer(ours), "2.00")
    finalised(ours)
    run_tasks()
    assert asked() <= few + 1


def test_an_invoice_is_cancelled_with_a_reason(ours, bookkeeper):
    make_cdr(ours, make_customer(ours), "5.00")
    [invoice] = finalised(ours)
    cancel = url("invoice_cancel", invoice.pk)
    assert bookkeeper.post(cancel, {"why": ""}, headers=HOST).status_code == 200
    answer = bookkeeper.post(cancel, {"why": "wrong customer"}, headers=HOST)
    note = Invoice.everything.get(kind="credit_note")
    assert answer["Location"] == url("invoice_change", note.pk)
    assert note.gross == -invoice.gross
    again = bookkeeper.post(cancel, {"why": "again"}, headers=HOST, follow=True)
    assert "not possible any more" in again.content.decode()


@pytest.mark.parametrize("action", ["cancel_selected", "deliver_selected"])
def test_many_invoices_at_once_after_a_preview(ours, bookkeeper, action, mailoutbox):
    for _number in range(3):
        make_cdr(ours, make_customer(ours), "2.00")
    invoices = finalised(ours)
    run_tasks()
    chosen = {"action": action, "_selected_action": [one.pk for one in invoices]}
    preview = bookkeeper.post(url("invoice_changelist"), chosen, headers=HOST).content.decode()
    assert all(one.number in preview for one in invoices)
    assert len(mailoutbox) == 3
    bookkeeper.post(url("invoice_changelist"), {**chosen, "why": "all wrong"}, headers=HOST)
    run_tasks()
    assert len(mailoutbox) == 6
    assert Invoice.everything.filter(kind="credit_note").count() == (3 if action == "cancel_selected" else 0)


def test_a_preview_says_how_many_were_left_out_and_why_something_does_not_fit(ours, bookkeeper, system, monkeypatch):
    for _number in range(2):
        make_cdr(ours, make_customer(ours), "2.00")
    invoice, _other = finalised(ours)
    services.cancel_invoice(actor=system, invoice=invoice, why="x")
    make_cdr(ours, make_customer(ours), "2.00", start=NOON + dt.timedelta(hours=2))
    drafted(ours)
    chosen = {"_selected_action": list(Invoice.everything.values_list("pk", flat=True))}

    def preview(action: str) -> str:
        return bookkeeper.post(url("invoice_changelist"), {"action": action, **chosen}, headers=HOST).content.decode()

    assert len(chosen["_selected_action"]) == 5
    assert "Send again: 3 invoices" in preview("deliver_selected")
    assert "2 are left as they are: drafts go to nobody." in preview("deliver_selected")
    assert "4 are left as they are: drafts, credit notes, or cancelled already." in preview("cancel_selected")
    assert "at a time" not in preview("cancel_selected")
    monkeypatch.setattr(billing_admin, "MAX_BULK", 3)
    assert "2 more are chosen. No more than 3 go at a time" in preview("deliver_selected")


def test_a_draft_has_no_pdf(ours, bookkeeper):
    make_cdr(ours, make_customer(ours))
    drafted(ours)
    draft = Invoice.everything.get()
    path = url("invoice_as_pdf", draft.pk)
    page = url("invoice_change", draft.pk)
    assert path not in bookkeeper.get(page, headers=HOST).content.decode()
    assert bookkeeper.get(path, headers=HOST).status_code == 404
    bookkeeper.post(url("billingrun_finalise", draft.run_id), {"why": "month's end"}, headers=HOST)
    run_tasks()
    assert path in bookkeeper.get(page, headers=HOST).content.decode()


def test_a_viewer_sees_and_changes_nothing(ours):
    make_cdr(ours, make_customer(ours))
    [invoice] = finalised(ours)
    viewer = signed_in(ours, Role.VIEWER)
    assert viewer.get(url("invoice_change", invoice.pk), headers=HOST).status_code == 200
    for path in (
        url("invoice_cancel", invoice.pk),
        url("invoice_deliver_again", invoice.pk),
        url("billingrun_start"),
        url("billingrun_finalise", invoice.run_id),
        url("billingrun_draft_again", invoice.run_id),
    ):
        assert viewer.post(path, {"why": "x", "period": MONTH.isoformat()}, headers=HOST).status_code == 403, path


def test_a_rival_s_invoice_and_its_file_are_404(ours, rival, bookkeeper):
    make_cdr(rival, make_customer(rival))
    [foreign] = finalised(rival)
    run_tasks()
    for name in ("invoice_change", "invoice_as_pdf", "invoice_cancel", "invoice_deliver_again"):
        assert bookkeeper.get(url(name, foreign.pk), headers=HOST).status_code == 404
    for name in ("billingrun_change", "billingrun_lines_as_csv", "billingrun_finalise"):
        assert bookkeeper.get(url(name, foreign.run_id), headers=HOST).status_code == 404


def lines_of(bookkeeper, run_id: int) -> list[dict[str, str]]:
    answer = bookkeeper.get(url("billingrun_lines_as_csv", run_id), headers=HOST)
    text = b"".join(answer.streaming_content).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


def test_the_bookkeeper_s_file_says_what_the_invoices_say(ours, bookkeeper):
    contract = make_customer(ours)
    account, seller = contract.account, ours.location.seller
    type(account).everything.filter(pk=account.pk).update(name="Old name", number="K-1", vat_id="DE123456788")
    make_cdr(ours, contract)
    make_cdr_elsewhere(ours, contract, "Quay Seven", start=NOON + dt.timedelta(hours=2))
    [invoice] = finalised(ours)
    type(account).everything.filter(pk=account.pk).update(name="New name", number="K-2", vat_id="")
    type(seller).everything.filter(pk=seller.pk).update(legal_name="New seller")
    seller.registrations.update(vat_id="DE1")
    own, elsewhere = lines_of(bookkeeper, invoice.run_id)
    said = ("customer", "customer_name", "customer_vat_id", "seller", "seller_vat_id")
    assert tuple(own[name] for name in said) == ("K-1", "Old name", "DE123456788", "Amber GmbH", VAT_ID)
    assert (elsewhere["place"], elsewhere["charger"]) == ("Harbour Quay", "Quay Seven")


def test_the_bookkeeper_s_file_holds_each_line_and_no_formula(ours, bookkeeper, system):
    ours.location.name = "=HYPERLINK(1)"
    ours.location.save()
    make_cdrs(ours, make_customer(ours, base_fee="9.90"), ["5.43", "1.00"])
    [invoice] = finalised(ours)
    services.cancel_invoice(actor=system, invoice=invoice, why="x")
    rows = lines_of(bookkeeper, invoice.run_id)
    assert len(rows) == 6
    assert sum(Decimal(row["net"]) for row in rows) == 0
    assert {row["place"] for row in rows} == {"'=HYPERLINK(1)", ""}
    assert {row["quantity"] for row in rows if row["kind"] == "invoice"} == {"11.082", "1.000"}
    assert all(row["cancels"] == invoice.number for row in rows if row["kind"] == "credit_note")
