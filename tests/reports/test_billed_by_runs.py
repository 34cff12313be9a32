"""The report beside what real runs made of the same sessions."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from apps.billing import services
from apps.charging.models import HoldReason, SettlementState
from apps.core.actor import Actor
from apps.reports.selectors import invoice_consumption, month_consumption
from tests.factories.billing import finalised, make_customer
from tests.reports.worlds import actor_on, at, credit, ended_session, price, settle

SEPTEMBER, OCTOBER = dt.date(2026, 9, 1), dt.date(2026, 10, 1)


def nets(rows) -> Decimal:
    return sum((row.net for row in rows if row.net is not None), Decimal(0))


def test_the_rows_of_each_invoice_sum_to_it(ours):
    contract = make_customer(ours, base_fee="7.50")
    price(ended_session(ours, at(9, 5)), contract)
    wrong = price(ended_session(ours, at(9, 7), energy_wh=20_000), contract)
    settle(ended_session(ours, at(9, 12)), SettlementState.HELD, HoldReason.NO_CONTRACT)
    [first] = finalised(ours, SEPTEMBER)
    late = price(ended_session(ours, at(9, 29), energy_wh=3_333), contract)
    credit(wrong)
    price(wrong.session, contract, per_kwh="0.39", version=2)
    price(ended_session(ours, at(10, 2)), contract)
    [second] = finalised(ours, OCTOBER)

    manager = actor_on(ours.fleet_brand, ours.manager)
    september, october = month_consumption(manager, SEPTEMBER), month_consumption(manager, OCTOBER)
    for invoice in (first, second):
        rows = [row for row in [*september.rows, *october.rows] if row.invoice and row.invoice.number == invoice.number]
        [fee] = [row for row in invoice_consumption(manager, invoice).rows if row.kind == "fee"]
        assert nets(rows) + fee.net == nets(invoice_consumption(manager, invoice).rows) == invoice.net
    assert next(row for row in september.rows if row.session == late.session.public_id).invoice.number == second.number
    assert [row.why for row in september.rows if row.invoice is None] == [
        "No contract covers the card on the day of the session."
    ]

    note = services.cancel_invoice(actor=Actor.system(ours.operator), invoice=second, why="Wrong addressee.")
    [row] = month_consumption(manager, OCTOBER).rows
    assert row.why == f"Invoice {second.number} was cancelled by {note.number}; it comes on a later one."
    assert nets(invoice_consumption(manager, note).rows) == note.net == -second.net
