"""Final invoices: numbers, what freezes them, credit notes, who sees them, and that customers hear of them once."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from django_q.models import OrmQ

from apps.accounts.models import SellerRegistration
from apps.billing import pdf, selectors, services, snapshots, tasks
from apps.billing.models import BilledItem, BillingRun, Delivery, Invoice, InvoiceFile, InvoiceSeries
from apps.billing.services import delivery, finalising
from apps.core.actor import Actor, Kind
from apps.notifications.models import Mail, MailState
from tests.factories.billing import NOON, credit_of, finalised, make_cdr, make_cdrs, make_customer, make_seller
from tests.factories.installations import LocationFactory
from tests.factories.mail_server import mail_server
from tests.factories.tasks import run_tasks


def actor_of(tenant, user, *, driver: bool = False) -> Actor:
    return Actor(
        kind=Kind.SESSION,
        operator_id=tenant.operator.pk,
        user=user,
        organisations={tenant.fleet.pk: frozenset({"billing.view_invoice"})},
        driver_of=frozenset({tenant.fleet.pk} if driver else ()),
    )


# --- numbers ----------------------------------------------------------------------------------------------------------
def test_numbers_follow_each_other_in_the_order_of_the_customers(ours):
    for _number in range(5):
        make_cdr(ours, make_customer(ours), "2.00")
    invoices = finalised(ours)
    year = invoices[0].issue_date.year
    assert [one.number for one in invoices] == [f"DE{year}-{number:06}" for number in range(1, 6)]
    assert [one.account.number for one in invoices] == sorted(one.account.number for one in invoices)


def test_a_draft_has_no_number_and_a_failure_takes_none(ours, monkeypatch, caplog):
    contracts = [make_customer(ours) for _number in range(3)]
    for contract in contracts:
        make_cdr(ours, contract, "2.00")
    original, broken = finalising.freeze, contracts[1].account

    def fails(invoice, *args, **kwargs):
        original(invoice, *args, **kwargs)
        if invoice.account == broken:
            raise RuntimeError("unforeseen")

    monkeypatch.setattr(finalising, "freeze", fails)
    invoices = finalised(ours)
    assert [one.account for one in invoices] == [contracts[0].account, contracts[2].account]
    assert [one.number[-6:] for one in invoices] == ["000001", "000002"]
    draft = Invoice.everything.get(account=broken)
    assert (draft.state, draft.number, draft.problem, draft.run.state) == ("stopped", "", "failed", "finalised")
    assert "unforeseen" in caplog.text
    monkeypatch.undo()
    [late] = finalised(ours)
    assert (late.account, late.number[-6:], InvoiceSeries.everything.get().next) == (broken, "000003", 4)


def test_a_number_that_was_given_already_stops_its_drafts_and_no_others(ours):
    contract = make_customer(ours)
    make_cdr(ours, contract)
    [first] = finalised(ours)
    SellerRegistration.everything.update(number_prefix="OLD", valid_to=NOON.date())
    make_seller(ours, valid_from=NOON.date() + dt.timedelta(days=1))
    make_seller(ours, "NL", "NL")
    abroad = LocationFactory(operator=ours.operator, country="NL", city="Zwolle", seller=ours.location.seller)
    make_cdr(ours, contract, start=NOON + dt.timedelta(days=1))
    make_cdr(ours, contract, "1.00", location=abroad, start=NOON + dt.timedelta(days=2))
    [invoice] = finalised(ours)
    stopped = Invoice.everything.get(state="stopped")
    assert (invoice.country, stopped.country, stopped.problem) == ("NL", "DE", "failed")
    assert (first.number[:2], BillingRun.everything.get(pk=stopped.run_id).state) == ("DE", "finalised")


def test_the_issue_date_of_a_series_never_goes_back(ours):
    make_cdr(ours, make_customer(ours))
    [invoice] = finalised(ours)
    tomorrow = invoice.issue_date + dt.timedelta(days=1)
    if tomorrow.year != invoice.issue_date.year:
        tomorrow = invoice.issue_date
    InvoiceSeries.everything.update(last_issued_on=tomorrow)
    make_cdr(ours, make_customer(ours), start=NOON + dt.timedelta(hours=3))
    [later] = finalised(ours)
    assert later.issue_date == tomorrow


@pytest.mark.parametrize("table", ["billing_invoice", "billing_invoiceline"])
def test_a_final_invoice_is_never_changed(ours, table):
    make_cdr(ours, make_customer(ours))
    finalised(ours)
    for statement in (f"UPDATE {table} SET net = 0", f"DELETE FROM {table}"):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


def test_the_fingerprint_is_that_of_the_snapshot(ours):
    make_cdr(ours, make_customer(ours, base_fee="9.90"))
    [invoice] = finalised(ours)
    invoice.refresh_from_db()
    assert invoice.sha256 == snapshots.fingerprint(invoice.snapshot)
    assert invoice.snapshot["number"] == invoice.number


def test_what_is_renamed_later_is_on_the_invoice_as_it_was(ours):
    contract = make_customer(ours)
    make_cdr(ours, contract)
    [invoice] = finalised(ours)
    before = pdf.page(Invoice.everything.get(pk=invoice.pk).snapshot)
    type(contract.account).everything.update(name="Somebody else")
    ours.location.name = "Elsewhere"
    ours.location.save()
    assert pdf.page(Invoice.everything.get(pk=invoice.pk).snapshot) == before


# --- credit notes -----------------------------------------------------------------------------------------------------
def test_a_credit_note_nets_its_invoice_to_zero_and_releases_it(ours, system):
    make_cdrs(ours, make_customer(ours, base_fee="9.90"), ["5.43", "5.43", "5.43"])
    [invoice] = finalised(ours)
    note = services.cancel_invoice(actor=system, invoice=invoice, why="wrong customer")
    assert note.number == f"DE-C{note.issue_date.year}-000001"
    assert (note.net + invoice.net, note.vat + invoice.vat, note.gross + invoice.gross) == (0, 0, 0)
    assert sum(line.net for line in note.lines.all()) == -invoice.net
    assert note.snapshot["cancels"] == {"number": invoice.number, "issue_date": invoice.issue_date.isoformat()}
    [again] = finalised(ours)
    assert (again.net, again.lines.count()) == (invoice.net, 4)
    with pytest.raises(ValidationError):
        services.cancel_invoice(actor=system, invoice=invoice, why="twice")
    with pytest.raises(ValidationError):
        services.cancel_invoice(actor=system, invoice=note, why="a credit note")


def test_a_cdr_is_billed_once_at_a_time(ours, system):
    cdr = make_cdr(ours, make_customer(ours))
    [invoice] = finalised(ours)
    billed = BilledItem.everything.filter(item__cdr=cdr, released_at=None).values_list("line__invoice", flat=True)
    assert list(billed) == [invoice.pk]
    services.cancel_invoice(actor=system, invoice=invoice, why="x")
    assert list(billed.all()) == []
    [again] = finalised(ours)
    assert list(billed.all()) == [again.pk]


def test_a_cdr_whose_credit_is_billed_comes_back_when_its_invoice_is_cancelled(ours, system):
    contract = make_customer(ours)
    cdr = make_cdr(ours, contract, "5.00")
    [first] = finalised(ours)
    credit_of(cdr)
    make_cdr(ours, contract, "7.00", start=NOON + dt.timedelta(hours=3))
    [second] = finalised(ours)
    services.cancel_invoice(actor=system, invoice=first, why="x")
    [third] = finalised(ours)
    assert (second.net, third.net) == (Decimal("2.00"), Decimal("5.00"))


def test_only_those_who_may_cancel_and_with_a_reason(ours, system):
    make_cdr(ours, make_customer(ours))
    [invoice] = finalised(ours)
    with pytest.raises(PermissionDenied):
        services.cancel_invoice(actor=actor_of(ours, ours.manager), invoice=invoice, why="x")
    with pytest.raises(ValidationError):
        services.cancel_invoice(actor=system, invoice=invoice, why=" ")


# --- who sees them ----------------------------------------------------------------------------------------------------
def test_a_customer_sees_final_invoices_of_its_own_and_nothing_else(ours, rival, system):
    for tenant in (ours, rival):
        make_cdr(tenant, make_customer(tenant))
        finalised(tenant)
        make_cdr(tenant, make_customer(tenant), start=NOON + dt.timedelta(hours=3))
    services.start_run(actor=system, period=NOON.date())
    manager, driver = actor_of(ours, ours.manager), actor_of(ours, ours.driver, driver=True)
    [seen] = selectors.final_invoices(manager)
    assert seen.operator == ours.operator
    assert seen.lines.model.objects.visible_to(manager).count() == 1
    assert list(selectors.final_invoices(driver)) == []


def test_lists_of_invoices_leave_the_snapshots_where_they_are(ours, system, django_assert_num_queries):
    make_cdr(ours, make_customer(ours))
    [invoice] = finalised(ours)
    services.cancel_invoice(actor=system, invoice=invoice, why="x")
    rows = selectors.final_invoices(system)
    assert '"snapshot"' not in str(rows.query)
    with django_assert_num_queries(1):
        assert {(one.cancels_id and one.cancels.number) for one in rows} == {None, invoice.number}


# --- PDF and e-mail ---------------------------------------------------------------------------------------------------
def test_a_customer_hears_of_an_invoice_once_with_a_link_to_its_own_brand(ours, mailoutbox):
    make_cdr(ours, make_customer(ours))
    [invoice] = finalised(ours)
    run_tasks()
    services.render_invoice(invoice_id=invoice.pk)
    services.deliver_invoice(invoice_id=invoice.pk)
    run_tasks()
    [mail] = mailoutbox
    assert mail.to == [invoice.account.email]
    assert f"{ours.fleet_brand.host}" in mail.body
    assert f"/invoices/{invoice.public_id}/" in mail.body
    assert mail.attachments == []
    assert invoice.number in mail.subject


def test_a_refused_mail_is_seen_and_sent_again_by_a_button(ours, system, settings, mailoutbox):
    with mail_server(RCPT="550 no such mailbox") as settings.MAILERS:
        make_cdr(ours, make_customer(ours))
        [invoice] = finalised(ours)
        run_tasks()
    [refused] = selectors.failed_deliveries(system)
    assert refused.invoice == invoice
    assert "550" in refused.mail.error
    settings.MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
    services.deliver_again(actor=system, invoice=invoice, why="server is back")
    with pytest.raises(ValidationError):
        services.deliver_again(actor=system, invoice=invoice, why="impatient")
    run_tasks()
    assert len(mailoutbox) == 1
    assert list(selectors.failed_deliveries(system)) == []


def test_a_new_address_gets_a_mail_of_its_own(ours, system, mailoutbox):
    contract = make_customer(ours)
    make_cdr(ours, contract)
    [invoice] = finalised(ours)
    run_tasks()
    Mail.everything.update(state=MailState.FAILED)
    assert [one.invoice for one in selectors.failed_deliveries(system)] == [invoice]
    type(contract.account).everything.filter(pk=contract.account_id).update(email="new@amber.example")
    services.deliver_again(actor=system, invoice=invoice, why="moved")
    run_tasks()
    assert [mail.to[0] for mail in mailoutbox][1:] == ["new@amber.example"]
    assert Delivery.everything.filter(invoice=invoice).count() == 2
    assert list(selectors.failed_deliveries(system)) == []


def test_a_mail_is_sent_again_with_a_reason_only(ours, system, mailoutbox):
    make_cdr(ours, make_customer(ours))
    [invoice] = finalised(ours)
    run_tasks()
    with pytest.raises(ValidationError):
        services.deliver_again(actor=system, invoice=invoice, why=" ")
    run_tasks()
    assert len(mailoutbox) == 1


def test_an_invoice_whose_e_mail_was_lost_is_sent_later(ours, monkeypatch, mailoutbox):
    make_cdr(ours, make_customer(ours))
    [invoice] = finalised(ours)
    services.render_invoice(invoice_id=invoice.pk)
    OrmQ.objects.all().delete()
    monkeypatch.setattr(delivery, "RETRY_AFTER", -dt.timedelta(minutes=1))
    for _time in range(2):
        tasks.resume_runs()
        run_tasks()
    assert [mail.to for mail in mailoutbox] == [[invoice.account.email]]


def test_without_the_libraries_everything_but_pdfs_works(ours, monkeypatch, mailoutbox):
    monkeypatch.setattr(pdf, "why_unavailable", lambda: "OSError: cannot load library 'libpango'")
    make_cdr(ours, make_customer(ours))
    [invoice] = finalised(ours)
    run_tasks()
    assert len(mailoutbox) == 1
    assert not InvoiceFile.everything.exists()
    later = timezone.now() + delivery.RETRY_AFTER * 2
    assert services.unfinished_invoices(now=later) == []
    monkeypatch.undo()
    assert services.unfinished_invoices(now=later) == [invoice.pk]
