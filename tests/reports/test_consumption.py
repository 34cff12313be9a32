"""The consumption report: each row with its invoice or the reason why it has none, and invoices that add up."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from apps.accounts.permissions import Role
from apps.billing.models import Invoice, InvoiceState, Problem
from apps.charging.models import HoldReason, Session, SessionState, SettlementState
from apps.reports.selectors import invoice_consumption, month_consumption, own_cards, totals_of
from tests.factories.accounts import MembershipFactory, OrganisationFactory
from tests.factories.cards import TokenFactory
from tests.factories.contracts import make_contract
from tests.factories.installations import LocationFactory, StationFactory
from tests.reports.worlds import actor_on, at, bill, cancel, credit, ended_session, price, settle

OCTOBER, NOVEMBER = dt.date(2026, 10, 1), dt.date(2026, 11, 1)


@pytest.fixture
def contract(ours):
    return make_contract(ours, base_fee="5.00")


@pytest.fixture
def manager(ours):
    return actor_on(ours.fleet_brand, ours.manager)


def nets(rows) -> Decimal:
    return sum((row.net for row in rows), Decimal(0))


def test_the_rows_of_one_invoice_sum_to_it(ours, contract, manager):
    """With a session that came late, one that is held, and one that was credited and priced anew."""
    plain = price(ended_session(ours, at(10, 5)), contract)
    wrong = price(ended_session(ours, at(10, 7), energy_wh=20_000), contract)
    late = price(ended_session(ours, at(10, 30), energy_wh=3_000), contract)
    held = ended_session(ours, at(10, 12))
    settle(held, SettlementState.HELD, HoldReason.NO_CONTRACT)
    first = bill(contract, [plain, wrong], number="DE2026-000001", month=10, fee="5.00")
    taken = credit(wrong)
    right = price(wrong.session, contract, per_kwh="0.39", version=2)
    november = price(ended_session(ours, at(11, 2)), contract)
    second = bill(contract, [late, taken, right, november], number="DE2026-000002", month=11, fee="5.00")

    report = month_consumption(manager, OCTOBER)
    by_number = {}
    for row in report.rows:
        by_number.setdefault(row.invoice.number if row.invoice else row.why, []).append(row)
    assert {name: len(rows) for name, rows in by_number.items()} == {
        "DE2026-000001": 2,
        "DE2026-000002": 3,
        "No contract covers the card on the day of the session.": 1,
    }
    shares = {share.invoice.number: share for share in report.shares}
    assert shares["DE2026-000001"].elsewhere == 0
    assert shares["DE2026-000001"].fees == Decimal("5.00")
    assert nets(by_number["DE2026-000001"]) + shares["DE2026-000001"].fees == first.net
    elsewhere = month_consumption(manager, NOVEMBER).rows
    assert shares["DE2026-000002"].elsewhere == nets(elsewhere) == Decimal("4.90")
    assert nets(by_number["DE2026-000002"]) + nets(elsewhere) + shares["DE2026-000002"].fees == second.net
    for invoice in (first, second):
        assert nets(invoice_consumption(manager, invoice).rows) == invoice.net
    # The credited session counts once, with what it is now.
    assert (report.totals.sessions, report.totals.energy_wh) == (4, 10_000 + 20_000 + 3_000 + 10_000)
    assert report.totals.open_rows == 1


def test_a_card_of_no_organisation_counts_on_the_invoice_that_bills_it(ours, contract, manager):
    own = price(ended_session(ours, at(10, 2)), contract)
    private = TokenFactory(operator=ours.operator, organisation=None, label="Pool of nobody")
    other = price(ended_session(ours, at(10, 3), token=private), contract)
    invoice = bill(contract, [own, other], number="DE2026-000001", month=10)
    rows = invoice_consumption(manager, invoice).rows
    assert nets(rows) == invoice.net == own.total + other.total
    assert [row.session for row in rows] == [own.session.public_id, None]
    assert [row.session for row in month_consumption(manager, OCTOBER).rows] == [own.session.public_id]


def test_a_cancelled_invoice_and_its_credit_note_net_to_zero_and_the_row_says_so(ours, contract, manager):
    cdr = price(ended_session(ours, at(10, 5)), contract)
    invoice = bill(contract, [cdr], number="DE2026-000001", month=10, fee="5.00")
    note = cancel(invoice, number="DE-C2026-000001")
    [row] = month_consumption(manager, OCTOBER).rows
    assert row.invoice is None
    assert row.why == "Invoice DE2026-000001 was cancelled by DE-C2026-000001; it comes on a later one."
    old, back = invoice_consumption(manager, invoice), invoice_consumption(manager, note)
    assert nets(old.rows) == invoice.net == -note.net == -nets(back.rows)
    assert (old.totals.energy_wh, back.totals.energy_wh) == (10_000, -10_000)
    again = bill(contract, [cdr], number="DE2026-000002", month=10, fee="5.00")
    report = month_consumption(manager, OCTOBER)
    assert [row.invoice.number for row in report.rows] == ["DE2026-000002"]
    assert [(share.invoice.number, share.net) for share in report.shares] == [("DE2026-000002", again.net)]


def test_a_draft_is_no_invoice_yet(ours, contract, manager):
    cdr = price(ended_session(ours, at(10, 5)), contract)
    bill(contract, [cdr], number="", month=10, final=False)
    report = month_consumption(manager, OCTOBER)
    assert [row.why for row in report.rows] == ["It comes on the next invoice."]
    assert report.shares == []


def test_a_draft_that_is_stopped_is_being_checked(ours, contract, manager):
    cdr = price(ended_session(ours, at(10, 5)), contract)
    draft = bill(contract, [cdr], number="", month=10, final=False)
    Invoice.everything.filter(pk=draft.pk).update(state=InvoiceState.STOPPED, problem=Problem.NO_TAX_ID)
    price(ended_session(ours, at(10, 6)), contract)
    report = month_consumption(manager, OCTOBER)
    assert [row.why for row in report.rows] == ["The invoice is being checked.", "It comes on the next invoice."]
    assert report.totals.open_rows == 2


def test_what_is_free_is_not_open(ours, contract, manager):
    settle(ended_session(ours, at(10, 5)), SettlementState.FREE)
    price(ended_session(ours, at(10, 5, 13)), contract, per_kwh="0")
    price(ended_session(ours, at(10, 5, 16), energy_wh=4_000), contract)
    report = month_consumption(manager, OCTOBER)
    assert (report.totals.sessions, report.totals.open_rows, report.has_free) == (3, 1, True)
    assert (report.bars[4].first, report.bars[4].second) == (20_000, 4_000)


def test_a_later_name_is_no_name_of_what_was_before(ours, contract, manager):
    price(ended_session(ours, at(10, 5)), contract)
    for row, name in ((ours.token, "label"), (ours.station, "name"), (ours.location, "name"), (ours.driver, "name")):
        setattr(row, name, f"New {name}")
        row.save()
    [row] = month_consumption(manager, OCTOBER).rows
    assert (row.card, row.driver) == ("Amber card", "Amber driver")
    assert (row.charger, row.place) == ("Amber Charger", "Amber Depot")
    # A session without a price has none but today's; and a group is called what its newest row is.
    ended_session(ours, at(10, 6), token=ours.token)
    report = month_consumption(manager, OCTOBER)
    assert [row.card for row in report.rows] == ["Amber card", "New label"]
    assert [group.name for group in report.groups] == ["New label"]


def test_what_was_taken_back_before_it_was_billed_is_left_out(ours, contract, manager):
    wrong = price(ended_session(ours, at(10, 5)), contract)
    credit(wrong)
    price(wrong.session, contract, per_kwh="0.10", version=2)
    report = month_consumption(manager, OCTOBER)
    assert [row.net for row in report.rows] == [Decimal("1.00")]
    assert report.totals.sessions == 1


@pytest.mark.parametrize(
    ("state", "reason", "why"),
    [
        (SettlementState.WAITING, "", "It is not priced yet."),
        (SettlementState.FREE, "", "It is free of charge."),
        (SettlementState.HELD, HoldReason.REVIEW, "Something about this session is checked first."),
        (None, "", "It is not priced yet."),
    ],
)
def test_a_session_without_a_price_says_why(ours, manager, state, reason, why):
    session = ended_session(ours, at(10, 5))
    if state:
        settle(session, state, reason)
    [row] = month_consumption(manager, OCTOBER).rows
    assert (row.net, row.why, row.energy_wh) == (None, why, 10_000)


def test_a_price_of_zero_waits_for_no_invoice(ours, contract, manager):
    price(ended_session(ours, at(10, 5)), contract, per_kwh="0")
    [row] = month_consumption(manager, OCTOBER).rows
    assert row.why == "It costs nothing."


def test_a_month_is_that_of_the_place_s_calendar(ours, contract, manager):
    """22:30 UTC of 30 September is October in Berlin already; 23:30 UTC of 31 October is November."""
    ended_session(ours, at(9, 30, 21, 30))
    ended_session(ours, at(10, 31, 22, 30))
    assert [row.day for row in month_consumption(manager, OCTOBER).rows] == [dt.date(2026, 10, 1)]
    assert [row.day for row in month_consumption(manager, NOVEMBER).rows] == [dt.date(2026, 11, 1)]


def test_running_and_void_sessions_and_other_cards_are_not_in_it(ours, contract, manager):
    other = OrganisationFactory(operator=ours.operator)
    token = TokenFactory(operator=ours.operator, organisation=other)
    price(ended_session(ours, at(10, 5), token=token), contract)
    ended_session(ours, at(10, 5), token=token)
    void = ended_session(ours, at(10, 6))
    Session.everything.filter(pk=void.pk).update(state=SessionState.VOID)
    assert month_consumption(manager, OCTOBER).rows == []


def test_a_rival_s_figures_are_nobody_s_here(ours, rival, contract, manager):
    theirs = make_contract(rival)
    price(ended_session(rival, at(10, 5)), theirs)
    ended_session(rival, at(10, 6))
    for actor in (manager, actor_on(ours.brand, ours.owner)):
        assert month_consumption(actor, OCTOBER).rows == []


def test_who_may_not_see_prices_gets_no_rows(ours, contract):
    price(ended_session(ours, at(10, 5)), contract)
    membership = MembershipFactory(operator=ours.operator, role=Role.ORG_VIEWER, organisation=ours.fleet)
    viewer = actor_on(ours.fleet_brand, membership.user)
    report = month_consumption(viewer, OCTOBER)
    assert (report.rows, report.shares) == ([], [])
    assert not ours.token.cdrs.filter(own_cards(viewer, "charging.view_cdr")).exists()


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("card", ["Amber card", "Pool card"]),
        ("driver", ["Amber driver", "no driver"]),
        ("charger", ["Amber Charger", "Market square"]),
    ],
)
def test_rows_are_grouped(ours, contract, manager, by, names):
    """The charger of an own card elsewhere is not told, its place is."""
    price(ended_session(ours, at(10, 5), energy_wh=30_000), contract)
    price(ended_session(ours, at(10, 6), energy_wh=30_000), contract)
    pool = TokenFactory(operator=ours.operator, organisation=ours.fleet, label="Pool card")
    place = LocationFactory(
        operator=ours.operator, name="Market square", host=OrganisationFactory(operator=ours.operator)
    )
    station = StationFactory(operator=ours.operator, location=place, name="Secret charger")
    price(ended_session(ours, at(10, 7), token=pool, station=station), contract)
    report = month_consumption(manager, OCTOBER, by=by)
    assert [group.name for group in report.groups] == names
    assert [group.totals.sessions for group in report.groups] == [2, 1]
    assert sum(group.totals.energy_wh for group in report.groups) == report.totals.energy_wh == 70_000
    assert "Secret" not in str(report)


def test_amounts_of_two_currencies_are_never_added(ours, contract, manager):
    swiss = make_contract(ours, bind=False, currency="CHF")
    price(ended_session(ours, at(10, 5)), contract)
    price(ended_session(ours, at(10, 6)), contract)
    price(ended_session(ours, at(10, 7)), swiss)
    report = month_consumption(manager, OCTOBER)
    assert [(one.currency, one.net) for one in report.totals.amounts] == [
        ("EUR", Decimal("9.80")),
        ("CHF", Decimal("4.90")),
    ]


def test_the_days_of_a_month_are_billed_or_not(ours, contract, manager):
    billed = price(ended_session(ours, at(10, 5)), contract)
    price(ended_session(ours, at(10, 5, 14), energy_wh=4_000), contract)
    bill(contract, [billed], number="DE2026-000001", month=10)
    bars = month_consumption(manager, OCTOBER).bars
    assert len(bars) == 31
    assert (bars[4].first, bars[4].second) == (10_000, 4_000)
    assert sum(bar.whole for bar in bars) == 14_000


def test_many_rows_need_no_more_queries(ours, contract, manager, django_assert_num_queries):
    cdrs = [price(ended_session(ours, at(10, day)), contract) for day in range(1, 26)]
    bill(contract, cdrs[:20], number="DE2026-000001", month=10, fee="5.00")
    for day in range(1, 10):
        settle(ended_session(ours, at(10, day, 15)), SettlementState.HELD, HoldReason.NO_TARIFF)
    with django_assert_num_queries(7):
        report = month_consumption(manager, OCTOBER)
    assert len(report.rows) == 34


def test_nothing_comes_to_nothing():
    empty = totals_of([])
    assert (empty.sessions, empty.energy_wh, empty.amounts) == (0, 0, ())
