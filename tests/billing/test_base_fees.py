"""Base fees: each once a month, by the version and VAT of that month; also those that a run had to leave behind."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from apps.accounts.models import SellerRegistration
from apps.billing import services
from apps.billing.models import BillingRun, Invoice, InvoiceLine
from apps.contracts.models import ContractVersion
from apps.tariffs.models import VatRate
from tests.factories.billing import MONTH, NOON, drafted, finalised, make_cdr, make_customer, make_seller

SEPTEMBER = dt.date(2026, 9, 1)
IN_SEPTEMBER = NOON - dt.timedelta(days=30)


def billed(invoice: Invoice) -> list[tuple[str, str, str]]:
    """Of each fee on an invoice: its month, net, VAT rate."""
    lines = invoice.lines.filter(kind="base_fee").order_by("position")
    return [(line.text["month"], str(line.net), f"{line.vat_percent.normalize():f}") for line in lines]


def other_terms(contract, day: dt.date, base_fee: str, percent: int) -> None:
    """From a day on, the contract has another base fee and Germany another VAT rate."""
    ContractVersion.everything.create(
        operator=contract.operator,
        contract=contract,
        number=2,
        valid_from=day,
        tariff=contract.versions.get().tariff,
        base_fee=Decimal(base_fee),
    )
    VatRate.everything.create(operator=contract.operator, country="DE", valid_from=day, percent=percent)


def test_base_fees_are_billed_once_a_month_by_the_version_of_its_first_day(ours):
    contract = make_customer(ours, base_fee="9.90")
    version = contract.versions.get()
    ContractVersion.everything.create(
        operator=ours.operator,
        contract=contract,
        number=2,
        valid_from=dt.date(2026, 10, 2),
        tariff=version.tariff,
        base_fee=Decimal("19.90"),
    )
    make_customer(ours, base_fee="5.00", starts_on=dt.date(2026, 10, 20), ends_on=dt.date(2026, 10, 21))
    make_customer(ours, base_fee="7.00", starts_on=dt.date(2026, 11, 1))
    [first, second] = finalised(ours)
    assert (first.net, second.net) == (Decimal("9.90"), Decimal("5.00"))
    assert second.lines.get().supplied_on == dt.date(2026, 10, 21)
    assert finalised(ours) == []


def test_the_base_fee_of_a_month_that_is_not_over_waits(ours):
    today = dt.datetime.now(dt.UTC)
    contract = make_customer(ours, base_fee="9.90")
    make_cdr(ours, contract, "2.00", start=today - dt.timedelta(hours=2))
    run = drafted(ours, period=today.date())
    assert all(line.kind == "session" for line in InvoiceLine.everything.filter(invoice__run=run))


def test_the_fee_of_a_stopped_draft_is_billed_by_the_next_month_s_run(ours):
    contract = make_customer(ours, base_fee="9.90")
    SellerRegistration.everything.all().delete()
    make_cdr(ours, contract, "1.00", start=IN_SEPTEMBER)
    assert finalised(ours, SEPTEMBER) == []
    make_seller(ours)
    make_cdr(ours, contract, "2.00")
    other_terms(contract, MONTH, "19.90", 20)
    [invoice] = finalised(ours)
    assert billed(invoice) == [("2026-09-01", "9.90", "19"), ("2026-10-01", "19.90", "20")]
    assert (invoice.net, invoice.lines.count()) == (Decimal("32.80"), 4)
    assert finalised(ours, SEPTEMBER) == finalised(ours) == []


def test_the_fee_of_a_cancelled_invoice_is_billed_by_the_next_month_s_run(ours, system):
    contract = make_customer(ours, base_fee="9.90")
    make_cdr(ours, contract, "1.00", start=IN_SEPTEMBER)
    [wrong] = finalised(ours, SEPTEMBER)
    assert billed(wrong) == [("2026-09-01", "9.90", "19")]
    services.cancel_invoice(actor=system, invoice=wrong, why="wrong address")
    [invoice] = finalised(ours)
    assert billed(invoice) == [("2026-09-01", "9.90", "19"), ("2026-10-01", "9.90", "19")]
    assert (invoice.net, invoice.period_from) == (Decimal("20.80"), IN_SEPTEMBER.date())
    assert finalised(ours, SEPTEMBER) == finalised(ours) == []


def test_a_month_that_no_run_billed_owes_nothing(ours):
    make_customer(ours, base_fee="9.90")
    [invoice] = finalised(ours)
    assert billed(invoice) == [("2026-10-01", "9.90", "19")]


@pytest.mark.parametrize(("began", "fees"), [("2026-10-31T22:59:59Z", 0), ("2026-10-31T23:00:00Z", 1)])
def test_a_month_is_over_by_the_operator_s_clock(ours, system, began, fees):
    make_customer(ours, base_fee="9.90")
    run = services.start_run(actor=system, period=MONTH)
    BillingRun.everything.update(began_at=dt.datetime.fromisoformat(began))
    services.continue_drafting(run_id=run.pk)
    assert InvoiceLine.everything.filter(invoice__run=run, kind="base_fee").count() == fees
