"""Invoices and the report in the portal."""

from __future__ import annotations

import io
import re
from decimal import Decimal

import pytest

from apps.accounts.permissions import Role
from apps.charging.models import HoldReason, SettlementState
from tests.factories.accounts import MembershipFactory, OrganisationFactory
from tests.factories.contracts import make_contract
from tests.portal.money import HOST, lines_of, with_file
from tests.reports.worlds import at, bill, cancel, ended_session, price, settle


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
