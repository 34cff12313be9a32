"""Prices, cards, invoices and the report in the portal: what each role sees of them, and what nobody there sees."""

from __future__ import annotations

import csv
import io
import re
from decimal import Decimal
from importlib import import_module

import pytest
import time_machine
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.accounts.models import AuditEntry, Document
from apps.accounts.permissions import Role
from apps.billing.models import InvoiceFile
from apps.cards.models import CardOrder, Token, TokenState
from apps.charging.models import HoldReason, SettlementState
from apps.core.csv import BOM
from apps.portal.selectors.overview import change
from tests.factories.accounts import MembershipFactory, OrganisationFactory
from tests.factories.cards import TokenFactory
from tests.factories.cast import CANARY
from tests.factories.contracts import make_contract
from tests.factories.installations import LocationFactory, StationFactory
from tests.reports.worlds import at, bill, cancel, ended_session, price, settle

HOST = {"host": "fleet.amber.localhost"}
PAGES = ["/cards/", "/cards/order/", "/invoices/", "/report/", "/report/?export=csv", "/report/?export=pdf"]


@pytest.fixture
def contract(ours):
    return make_contract(ours, base_fee="5.00")


@pytest.fixture
def manager(client, ours):
    client.force_login(ours.manager)
    return client


@pytest.fixture
def driver(client, ours):
    client.force_login(ours.driver)
    return client


def viewer_of(ours):
    return MembershipFactory(operator=ours.operator, role=Role.ORG_VIEWER, organisation=ours.fleet).user


def with_file(invoice, content=b"%PDF-1.7 ours"):
    document = Document(
        operator_id=invoice.operator_id, name="i.pdf", content_type="application/pdf", size=len(content)
    )
    document.file.save("i.pdf", ContentFile(content), save=True)
    InvoiceFile.everything.create(
        operator_id=invoice.operator_id, invoice=invoice, document=document, rendered_at=timezone.now()
    )
    return invoice


def lines_of(response) -> list[dict[str, str]]:
    text = b"".join(response.streaming_content).decode()
    return list(csv.DictReader(io.StringIO(text.removeprefix(BOM))))


# --- prices -----------------------------------------------------------------------------------------------------------
def test_a_session_s_price_is_explained_line_by_line(ours, contract, manager):
    session = ended_session(ours, at(10, 5), energy_wh=12_345)
    price(session, contract)
    page = manager.get(f"/sessions/{session.public_id}/", headers=HOST).text
    for told in ("12.345 kWh", "€0.49", "per kWh", "€6.05", "VAT 19 %", "€1.15", "€7.20", "Why this price?"):
        assert told in page, told
    assert f"Contract of the card (Oct. 5, 2026):</span> {contract}" in page
    german = manager.get(f"/sessions/{session.public_id}/", headers={**HOST, "accept-language": "de"}).text
    assert "12,345 kWh" in german
    assert "0,49\xa0€" in german


def test_the_list_shows_prices_or_why_there_is_none(ours, contract, manager):
    price(ended_session(ours, at(10, 5)), contract)
    settle(ended_session(ours, at(10, 6)), SettlementState.HELD, HoldReason.NO_CONTRACT)
    ended_session(ours, at(10, 7))
    settle(ended_session(ours, at(10, 8)), SettlementState.FREE)
    page = manager.get("/sessions/", headers=HOST).text
    for told in ("€4.90", "No contract covers the card on the day of the session.", "not priced yet", "free of charge"):
        assert told in page, told
    for state, count in {"priced": 1, "held": 1, "waiting": 1, "free": 1, "nonsense": 4}.items():
        found = manager.get(f"/sessions/?price={state}", headers=HOST).text
        assert f"{count} session{'s' if count > 1 else ''}<" in found, state
    rows = lines_of(manager.get("/sessions/?export=csv&price=priced", headers=HOST))
    assert (rows[0]["Price, net"], rows[0]["VAT"], rows[0]["Currency"]) == ("4.90", "0.93", "EUR")


def test_a_driver_sees_the_price_with_vat_of_own_sessions_alone(ours, contract, driver):
    own = ended_session(ours, at(10, 5))
    price(own, contract)
    pool = TokenFactory(operator=ours.operator, organisation=ours.fleet, label="Pool")
    foreign = ended_session(ours, at(10, 6), token=pool)
    price(foreign, contract, per_kwh="0.11")
    page = driver.get("/sessions/", headers=HOST).text
    assert "Price with VAT" in page
    assert "€5.83" in page
    assert "€1.1" not in page
    receipt = driver.get(f"/sessions/{own.public_id}/", headers=HOST).text
    assert "Receipt" in receipt
    assert "€5.83" in receipt
    assert driver.get(f"/sessions/{foreign.public_id}/", headers=HOST).status_code == 404


def test_a_driver_sees_no_invoice_no_card_and_no_report(ours, contract, driver):
    invoice = with_file(bill(contract, [price(ended_session(ours, at(10, 5)), contract)], number="A-1", month=10))
    for path in [*PAGES, f"/invoices/{invoice.public_id}/", f"/invoices/{invoice.public_id}/file/"]:
        assert driver.get(path, headers=HOST).status_code == 404, path
    assert 'href="/invoices/"' not in driver.get("/", headers=HOST).text


def test_the_cost_of_another_card_at_an_own_place_is_not_told(ours, contract, manager):
    other = OrganisationFactory(operator=ours.operator)
    token = TokenFactory(operator=ours.operator, organisation=other)
    session = ended_session(ours, at(10, 5), token=token, energy_wh=77_000)
    price(session, contract)
    held = ended_session(ours, at(10, 6), token=token)
    settle(held, SettlementState.HELD, HoldReason.NO_TARIFF)
    for path in (
        "/sessions/",
        f"/sessions/{session.public_id}/",
        f"/sessions/{held.public_id}/",
        "/",
        "/report/?month=2026-10",
    ):
        page = manager.get(path, headers=HOST).text
        assert "37.73" not in page, path
        assert "has no prices for the day" not in page, path
    # Nor by asking for it.
    for state in ("held", "priced"):
        assert "0 sessions" in manager.get(f"/sessions/?price={state}", headers=HOST).text


def test_who_may_not_see_prices_sees_sessions_without(client, ours, contract):
    session = ended_session(ours, at(10, 5))
    price(session, contract)
    client.force_login(viewer_of(ours))
    for path in ("/sessions/", f"/sessions/{session.public_id}/", "/"):
        page = client.get(path, headers=HOST).text
        assert "4.90" not in page, path
        assert "5.83" not in page, path
    assert 'name="price"' not in client.get("/sessions/", headers=HOST).text
    assert "Price, net" not in lines_of(client.get("/sessions/?export=csv", headers=HOST))[0]
    for path in PAGES:
        assert client.get(path, headers=HOST).status_code == 404, path


def test_a_viewer_here_who_is_a_manager_there_sees_the_money_there_alone(client, ours, contract):
    user = viewer_of(ours)
    town = OrganisationFactory(operator=ours.operator, name="Town")
    MembershipFactory(operator=ours.operator, role=Role.MANAGER, organisation=town, user=user)
    invoice = bill(contract, [price(ended_session(ours, at(10, 5)), contract)], number="A-1", month=10)
    client.force_login(user)
    host = {"host": "amber.localhost"}
    assert "4.90" not in client.get("/sessions/", headers=host).text
    assert "A-1" not in client.get("/invoices/", headers=host).text
    assert client.get(f"/invoices/{invoice.public_id}/", headers=host).status_code == 404
    assert "0.00 kWh" in client.get("/report/?month=2026-10", headers=host).text


# --- the first page ---------------------------------------------------------------------------------------------------
@time_machine.travel(at(11, 20, 12))
@pytest.mark.parametrize(
    ("who", "label", "now", "before"),
    [("manager", "net", "€14.70", "€9.80"), ("driver", "with VAT", "€17.49", "€11.66")],
)
def test_the_first_page_tells_cost_and_what_is_held(ours, contract, client, who, label, now, before):
    client.force_login(getattr(ours, who))
    price(ended_session(ours, at(11, 3), energy_wh=30_000), contract)
    price(ended_session(ours, at(10, 3), energy_wh=20_000), contract)
    price(ended_session(ours, at(10, 21), energy_wh=90_000), contract)
    settle(ended_session(ours, at(11, 4)), SettlementState.HELD, HoldReason.NO_CONTRACT)
    page = client.get("/", headers=HOST).text
    assert re.search(rf'Cost this month, {label}</span>\s*<span class="figure">{now}<', page)
    assert f"of your own cards · +50 % · last month by this day: {before}" in page
    assert "1 session has no price yet" in page
    assert "/sessions/?price=held" in page


@time_machine.travel(at(11, 20, 12))
def test_cost_is_of_the_month_of_supply_as_the_report_has_it(ours, contract, manager):
    """Begun before midnight at the place, ended after it: the day of the end counts, and its month."""
    price(ended_session(ours, at(10, 31, 22, 30)), contract)
    price(ended_session(ours, at(10, 20, 21, 30), energy_wh=90_000), contract)
    price(ended_session(ours, at(9, 30, 21, 30), energy_wh=20_000), contract)
    page = manager.get("/", headers=HOST).text
    assert re.search(r'Cost this month, net</span>\s*<span class="figure">€4.90<', page)
    assert "last month by this day: €9.80" in page
    report = manager.get("/report/?month=2026-11", headers=HOST).text
    assert re.search(r'Cost, net</span>\s*<span class="figure">€4.90<', report)


@time_machine.travel(at(11, 20, 12), tick=False)
def test_cost_says_whose_cards_it_is_of_to_those_who_see_others_at_their_places(ours, contract, client):
    price(ended_session(ours, at(11, 3)), contract)
    client.force_login(ours.manager)
    assert "of your own cards" in client.get("/", headers=HOST).text
    client.force_login(ours.owner)
    page = client.get("/", headers={"host": "amber.localhost"}).text
    assert "€4.90" in page
    assert "of your own cards" not in page


@pytest.mark.parametrize("who", ["manager", "driver"])
@time_machine.travel(at(11, 20, 12), tick=False)
def test_the_first_page_reads_the_prices_once_a_minute(ours, contract, client, who, monkeypatch):
    client.force_login(getattr(ours, who))
    price(ended_session(ours, at(11, 3)), contract)
    first = _queries_of_prices(client)
    assert first
    assert not _queries_of_prices(client)
    module = import_module("apps.portal.selectors.overview")  # its package has a function of that name
    assert module.COSTS_KEPT_S == 60
    cache.clear()
    monkeypatch.setattr(module, "COSTS_KEPT_S", 0)  # Redis goes by its own clock
    assert [_queries_of_prices(client), _queries_of_prices(client)] == [first, first]


def _queries_of_prices(client) -> int:
    with CaptureQueriesContext(connection) as context:
        assert re.search("€(4.90|5.83)", client.get("/", headers=HOST).text)
    return sum('FROM "charging_cdr"' in one["sql"] or "charging_rateditem" in one["sql"] for one in context)


@time_machine.travel(at(11, 20, 12), tick=False)
def test_what_is_kept_of_the_prices_is_nobody_else_s(ours, rival, contract, client):
    """Manager, driver, another driver, a viewer and the operator ask one after the other, within the minute."""
    price(ended_session(ours, at(11, 3)), contract)
    pool = TokenFactory(operator=ours.operator, organisation=ours.fleet)
    price(ended_session(ours, at(11, 4), token=pool), contract)
    other = MembershipFactory(operator=ours.operator, role=Role.DRIVER, organisation=ours.fleet).user
    asked = [(ours.manager, "€9.80"), (ours.driver, "€5.83"), (other, None), (viewer_of(ours), None)]
    for user, cost in [*asked, *reversed(asked)]:
        client.force_login(user)
        told = re.search(
            r'Cost this month, [^<]+</span>\s*<span class="figure">([^<]+)<', client.get("/", headers=HOST).text
        )
        assert (told and told[1]) == cost
    client.force_login(rival.owner)
    assert "€" not in client.get("/", headers={"host": rival.brand.host}).text


@time_machine.travel(at(11, 20, 12), tick=False)
def test_what_is_kept_of_the_prices_is_of_the_host_that_was_asked(ours, contract, client):
    """A driver here, who only looks on elsewhere: with VAT where all that one is here is a driver."""
    price(ended_session(ours, at(11, 3)), contract)
    town = OrganisationFactory(operator=ours.operator, name="Town")
    MembershipFactory(operator=ours.operator, role=Role.ORG_VIEWER, organisation=town, user=ours.driver)
    client.force_login(ours.driver)
    assert "€5.83" in client.get("/", headers=HOST).text
    assert "€4.90" in client.get("/", headers={"host": "amber.localhost"}).text


@pytest.mark.parametrize(
    ("now", "before", "told"),
    [(12, 10, "+20 %"), (5, 10, "−50 %"), (10, 10, "±0 %"), (5, 0, ""), (Decimal("1.01"), Decimal("3.00"), "−66 %")],
)
def test_a_change_is_told_in_percent(now, before, told):
    assert change(now, before) == told


# --- cards ------------------------------------------------------------------------------------------------------------
def test_cards_are_listed_with_state_and_contract(ours, contract, manager):
    ended_session(ours, at(10, 5))
    Token.everything.create(
        operator=ours.operator, organisation=ours.fleet, label="Ordered card", state=TokenState.ORDERED, uid=None
    )
    expired = TokenFactory(operator=ours.operator, organisation=ours.fleet, label="Old card")
    Token.everything.filter(pk=expired.pk).update(expires_at=timezone.now())
    page = manager.get("/cards/", headers=HOST).text
    for told in ("Amber card", "Amber driver", contract.number, "active", "ordered", "expired", "5 Oct 2026"):
        assert told in page, told
    for query, count in {
        "?state=expired": "1 card",
        "?state=active": "1 card",
        "?state=ordered": "1 card",
        "?contract=yes": "2 cards",
        "?contract=no": "1 card",
        "?q=driver": "1 card",
        "?q=nobody": "0 cards",
    }.items():
        assert f">{count}<" in manager.get(f"/cards/{query}", headers=HOST).text, query
    assert [row["Card"] for row in lines_of(manager.get("/cards/?export=csv", headers=HOST))] == [
        "Amber card",
        "Old card",
        "Ordered card",
    ]


def test_cards_are_ordered(ours, manager):
    page = manager.post(
        "/cards/order/",
        {
            "rows": "2",
            "count": "2",
            "label_1": "Van 7",
            "holder_1": "",
            "label_2": "",
            "holder_2": str(ours.driver.public_id),
            "address": "Quay 7\n20457 Hamburg",
            "note": "For the new vans.",
        },
        headers=HOST,
    )
    assert page.status_code == 302
    order = CardOrder.everything.get()
    assert (order.organisation, order.address, order.ordered_by) == (ours.fleet, "Quay 7\n20457 Hamburg", ours.manager)
    assert list(order.tokens.order_by("pk").values_list("label", "holder", "state")) == [
        ("Van 7", None, TokenState.ORDERED),
        ("", ours.driver.pk, TokenState.ORDERED),
    ]
    assert AuditEntry.everything.filter(action="cardorder.placed", why="For the new vans.").exists()
    assert "2 cards were ordered." in manager.get("/cards/", headers=HOST).text


@pytest.mark.parametrize(
    "sent",
    [
        {"rows": "1", "count": "3", "address": "Quay 7"},
        {"rows": "3", "count": "3", "resize": "1", "address": "Quay 7"},
        {"rows": "1", "count": "1", "address": ""},
        {"rows": "1", "count": "1", "address": "Quay 7", "holder_1": "00000000-0000-0000-0000-000000000000"},
        {"rows": "9999999999", "count": "x", "address": "Quay 7"},
        {"rows": "-1", "count": "²", "address": "Quay 7"},
        {"rows": "9" * 5_000, "count": "-" + "9" * 5_000, "address": "Quay 7"},
        {},
    ],
)
def test_what_is_no_order_is_shown_again(ours, manager, sent):
    page = manager.post("/cards/order/", {"label_1": "Van 7", **sent}, headers=HOST)
    assert page.status_code == 200
    assert "Van 7" in page.text
    assert not CardOrder.everything.exists()


def test_a_card_s_driver_is_somebody_of_the_organisation(ours, rival, manager):
    page = manager.get("/cards/order/", headers=HOST).text
    assert "Amber driver" in page
    assert CANARY not in page
    assert "Amber owner" not in page
    sent = {"rows": "1", "count": "1", "address": "Quay 7", "holder_1": str(rival.driver.public_id)}
    assert manager.post("/cards/order/", sent, headers=HOST).status_code == 200
    assert not CardOrder.everything.exists()


@pytest.mark.parametrize(("path", "state"), [("block", TokenState.BLOCKED), ("lost", TokenState.LOST)])
def test_a_card_is_ended_with_a_reason(ours, manager, path, state):
    url = f"/cards/{ours.token.public_id}/{path}/"
    assert manager.post(url, {"why": " "}, headers=HOST).status_code == 200
    ours.token.refresh_from_db()
    assert ours.token.state == TokenState.ACTIVE
    assert manager.post(url, {"why": "Left in a taxi."}, headers=HOST).status_code == 302
    ours.token.refresh_from_db()
    assert ours.token.state == state
    assert AuditEntry.everything.get(action=f"token.{state}").why == "Left in a taxi."


def test_who_only_looks_blocks_and_orders_nothing(client, ours, rival):
    finance = MembershipFactory(operator=ours.operator, role=Role.ORG_FINANCE, organisation=ours.fleet).user
    client.force_login(finance)
    page = client.get("/cards/", headers=HOST).text
    assert "Amber card" in page
    assert "Order cards" not in page
    assert "Report lost" not in page
    for path in ("/cards/order/", f"/cards/{ours.token.public_id}/block/", f"/cards/{rival.token.public_id}/lost/"):
        assert client.post(path, {"why": "x"}, headers=HOST).status_code == 404, path
    ours.token.refresh_from_db()
    assert ours.token.state == TokenState.ACTIVE


# --- invoices ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def invoice(ours, contract):
    cdrs = [price(ended_session(ours, at(10, day), energy_wh=11_082), contract) for day in (3, 4, 5)]
    return with_file(bill(contract, cdrs, number="DE2026-000007", month=10, fee="5.00"))


def test_an_invoice_s_page_says_what_was_frozen(ours, contract, manager, invoice):
    contract.account.name = "Somebody else"
    contract.account.save()
    page = manager.get(f"/invoices/{invoice.public_id}/", headers=HOST).text
    for told in (
        "DE2026-000007",
        "October 2026",
        "€21.29",
        "€4.05",
        "€25.34",
        "Quay 7",
        "Amber GmbH",
        "Show its 4 lines",
    ):
        assert told in page, told
    assert "Somebody else" not in page
    assert (invoice.net, invoice.vat, invoice.gross) == (Decimal("21.29"), Decimal("4.05"), Decimal("25.34"))


def test_its_file_is_a_file_to_keep(manager, invoice):
    response = manager.get(f"/invoices/{invoice.public_id}/file/", headers=HOST)
    assert b"".join(response.streaming_content) == b"%PDF-1.7 ours"
    assert response.headers["Content-Type"] == "application/pdf"
    assert response.headers["Content-Disposition"] == 'attachment; filename="DE2026-000007.pdf"'
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "no-store" in response.headers["Cache-Control"]


def test_nobody_else_gets_it(client, ours, rival, contract, invoice):
    town = OrganisationFactory(operator=ours.operator, name="Town")
    other = MembershipFactory(operator=ours.operator, role=Role.MANAGER, organisation=town).user
    for user, host in (
        (rival.manager, "fleet.zugvogel.localhost"),
        (rival.owner, "zugvogel.localhost"),
        (rival.manager, "fleet.amber.localhost"),
        (other, "amber.localhost"),
        (ours.driver, "amber.localhost"),
    ):
        client.force_login(user)
        for path in ("", "file/"):
            response = client.get(f"/invoices/{invoice.public_id}/{path}", headers={"host": host})
            assert response.status_code == 404, (user, host, path)
        listed = client.get("/invoices/", headers={"host": host})
        assert "DE2026-000007" not in listed.text
    client.logout()
    assert client.get(f"/invoices/{invoice.public_id}/file/", headers=HOST).status_code == 302


def test_a_draft_is_nobody_s_in_the_portal(client, ours, contract):
    draft = bill(contract, [price(ended_session(ours, at(10, 5)), contract)], number="", month=10, final=False)
    for user in (ours.manager, ours.owner):
        client.force_login(user)
        host = {"host": "amber.localhost"}
        assert client.get(f"/invoices/{draft.public_id}/", headers=host).status_code == 404
        assert "No invoice here" in client.get("/invoices/", headers=host).text


def test_before_it_is_drawn_the_page_says_so(ours, contract, manager):
    new = bill(contract, [price(ended_session(ours, at(10, 5)), contract)], number="A-1", month=10)
    assert "The PDF is being made." in manager.get(f"/invoices/{new.public_id}/", headers=HOST).text
    assert manager.get(f"/invoices/{new.public_id}/file/", headers=HOST).status_code == 404


def test_a_cancelled_invoice_and_its_credit_note_name_each_other(ours, manager, invoice):
    note = cancel(invoice, number="DE-C2026-000001")
    page = manager.get("/invoices/", headers=HOST).text
    assert "by DE-C2026-000001" in page
    assert "for DE2026-000007" in page
    assert "was cancelled by" in manager.get(f"/invoices/{invoice.public_id}/", headers=HOST).text
    assert "-€25.34" in manager.get(f"/invoices/{note.public_id}/", headers=HOST).text
    for kind, count in {"invoice": 0, "cancelled": 1, "credit_note": 1, "": 2}.items():
        found = manager.get(f"/invoices/?kind={kind}", headers=HOST).text
        assert f">{count} invoice" in found, kind
    rows = lines_of(manager.get("/invoices/?export=csv&kind=credit_note", headers=HOST))
    assert (rows[0]["Number"], rows[0]["Total"], rows[0]["Date"]) == ("DE-C2026-000001", "-25.34", "2026-11-01")


def test_an_invoice_keeps_the_name_it_was_sent_to(manager, invoice):
    account = invoice.account
    sent_to, account.name = account.name, "Renamed since"
    account.save()
    page = manager.get("/invoices/", headers=HOST).text
    assert sent_to in page
    assert "Renamed since" not in page
    [row] = lines_of(manager.get(f"/invoices/?q={sent_to}&export=csv", headers=HOST))
    assert row["Addressee"] == sent_to
    assert ">0 invoices<" in manager.get("/invoices/?q=renamed", headers=HOST).text


# --- the report -------------------------------------------------------------------------------------------------------
def test_the_report_s_page_has_chart_sums_and_rows(ours, contract, manager, invoice):
    settle(ended_session(ours, at(10, 6)), SettlementState.HELD, HoldReason.NO_CONTRACT)
    page = manager.get("/report/?month=2026-10", headers=HOST).text
    for told in ("Consumption in October 2026", "43.25 kWh", "€16.29", "DE2026-000007", "No contract covers the card"):
        assert told in page, told
    assert page.count('class="bar-first"') == 4  # three days and the legend
    assert "style=" not in page
    rows = lines_of(manager.get("/report/?month=2026-10&export=csv", headers=HOST))
    assert sum(Decimal(row["Price, net"] or 0) for row in rows) == Decimal("16.29")
    assert [row["Invoice"] for row in rows] == ["DE2026-000007"] * 3 + [""]
    assert rows[3]["Not billed because"] == "No contract covers the card on the day of the session."


def test_the_report_of_an_invoice_sums_to_it(manager, invoice):
    rows = lines_of(manager.get(f"/report/?invoice={invoice.public_id}&export=csv", headers=HOST))
    assert sum(Decimal(row["Price, net"]) for row in rows) == invoice.net
    assert [row["Kind"] for row in rows] == ["session"] * 3 + ["base fee"]


def test_the_report_as_a_pdf_has_the_figures_of_the_page(manager, invoice):
    from pypdf import PdfReader

    response = manager.get("/report/?month=2026-10&export=pdf", headers=HOST)
    assert response.headers["Content-Type"] == "application/pdf"
    assert response.headers["Content-Disposition"] == 'attachment; filename="consumption-2026-10.pdf"'
    text = "".join(page.extract_text() for page in PdfReader(io.BytesIO(response.content)).pages)
    for told in ("Consumption in October 2026", "33.25 kWh", "€16.29", "DE2026-000007", "Amber card", "Page 1 of"):
        assert told in text, told


def test_the_report_of_an_invoice_leaves_nothing_unbilled_on_page_and_pdf(manager, invoice):
    from pypdf import PdfReader

    asked = f"/report/?invoice={invoice.public_id}"
    assert "Not billed yet" not in manager.get(asked, headers=HOST).text
    pdf = PdfReader(io.BytesIO(manager.get(f"{asked}&export=pdf", headers=HOST).content))
    text = "".join(page.extract_text() for page in pdf.pages)
    assert "Cost, net" in text
    assert "Not billed yet" not in text


def test_a_month_without_energy_is_no_month_without_sessions(ours, manager):
    ended_session(ours, at(10, 5), energy_wh=0)
    page = manager.get("/report/?month=2026-10", headers=HOST).text
    assert "The sessions of this month took no energy." in page
    assert "No session of your cards ended" not in page
    assert "No session of your cards ended" in manager.get("/report/?month=2026-09", headers=HOST).text


def test_what_is_free_waits_for_no_invoice(ours, contract, manager):
    settle(ended_session(ours, at(10, 5)), SettlementState.FREE)
    page = manager.get("/report/?month=2026-10", headers=HOST).text
    assert "It is free of charge." in page
    assert "On an invoice or free" in page
    assert not re.search(r'Not billed yet</span>\s*<span class="figure">[^<]+</span>\s*<span', page)
    assert '<br><span class="soft">It is free of charge.' not in page
    ended_session(ours, at(10, 6))
    page = manager.get("/report/?month=2026-10", headers=HOST).text
    assert re.search(r'Not billed yet</span>\s*<span class="figure">[^<]+</span>\s*<span[^>]*>1 session<', page)


def test_where_no_pdf_can_be_made_the_page_says_so(manager, invoice, monkeypatch):
    monkeypatch.setattr("apps.portal.views.reports.why_unavailable", lambda: "no pango")
    page = manager.get("/report/?month=2026-10&export=pdf", headers=HOST)
    assert "PDFs cannot be made here at the moment." in page.text


@pytest.mark.parametrize(
    "query",
    [
        "month=2026-13",
        "month=9999-12",
        "month=x",
        "by=uid",
        "of=nobody",
        "page=99",
        "sort=net",
        "sort=-card",
        "month=2026-10",
    ],
)
def test_whatever_is_asked_is_a_page(manager, invoice, query):
    assert manager.get(f"/report/?{query}", headers=HOST).status_code == 200


def test_the_report_of_what_is_not_one_s_own_is_not_found(manager, rival):
    theirs = make_contract(rival)
    invoice = bill(theirs, [price(ended_session(rival, at(10, 5)), theirs)], number="Z-1", month=10)
    for asked in (invoice.public_id, "x", "00000000-0000-0000-0000-000000000000"):
        assert manager.get(f"/report/?invoice={asked}", headers=HOST).status_code == 404


@pytest.mark.parametrize("path", ["/sessions/", "/cards/", "/invoices/", "/report/?month=2026-10", "/"])
def test_more_rows_need_no_more_queries(ours, contract, manager, path, django_assert_max_num_queries):
    for number in range(30):
        token = TokenFactory(
            operator=ours.operator, organisation=ours.fleet, holder=ours.driver, label=f"Card {number}"
        )
        place = LocationFactory(operator=ours.operator, host=ours.fleet)
        station = StationFactory(operator=ours.operator, location=place)
        cdr = price(ended_session(ours, at(10, 1 + number % 28), token=token, station=station), contract)
        with_file(bill(contract, [cdr], number=f"A-{number}", month=10))
        settle(ended_session(ours, at(10, 2), token=token), SettlementState.HELD, HoldReason.NO_CONTRACT)
    with django_assert_max_num_queries(16):
        assert manager.get(path, headers=HOST).status_code == 200


def test_what_people_write_is_text(ours, contract, manager):
    hostile = "</script><b>{{7*7}}\u202e=cmd()"
    ours.token.label = ours.station.name = hostile
    ours.token.save()
    ours.station.save()
    contract.account.name = hostile
    contract.account.save()
    session = ended_session(ours, at(10, 5))
    invoice = bill(contract, [price(session, contract)], number="A-1", month=10)
    for path in (
        "/cards/",
        "/report/?month=2026-10",
        "/report/?month=2026-10&by=charger",
        f"/invoices/{invoice.public_id}/",
        f"/sessions/{session.public_id}/",
        f"/cards/{ours.token.public_id}/block/",
    ):
        page = manager.get(path, headers=HOST).text
        assert "</script><b>" not in page, path
        assert "&lt;/script&gt;&lt;b&gt;{{7*7}}" in page, path
    ours.token.label = "=cmd()"
    ours.token.save()
    price(ended_session(ours, at(10, 6)), contract)
    _before, row = lines_of(manager.get("/report/?month=2026-10&export=csv", headers=HOST))
    assert row["Card"] == "'=cmd()"
