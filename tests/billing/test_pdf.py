"""What an invoice's PDF says, and that whatever customers, places and brands are called stays text on it."""

from __future__ import annotations

import base64
import datetime as dt
import io
import re
from decimal import Decimal
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.core.files.base import ContentFile
from PIL import Image
from pypdf import PdfReader

from apps.accounts.models import Document
from apps.billing import pdf, services
from apps.billing.models import Invoice, InvoiceFile
from tests.factories.billing import (
    NOON,
    VAT_ID,
    finalised,
    make_cdr,
    make_cdr_elsewhere,
    make_cdrs,
    make_customer,
)
from tests.factories.tasks import run_tasks


def words(content: bytes) -> str:
    """The text of all pages, with single blanks."""
    text = " ".join(page.extract_text() for page in PdfReader(io.BytesIO(content)).pages)
    return re.sub(r"\s+", " ", text)


def invoice_with(tenant, *, language: str = "en", count: int = 2, **given) -> Invoice:
    contract = make_customer(tenant, base_fee="9.90")
    type(contract.account).everything.filter(pk=contract.account_id).update(
        language=language, vat_id="DE123456788", **given
    )
    make_cdrs(tenant, contract, ["5.43"] * count, apart=dt.timedelta(minutes=5))
    [invoice] = finalised(tenant)
    return invoice


def test_the_fonts_are_where_the_theme_has_them():
    assert all(Path(finders.find(path)).read_bytes()[:4] == b"wOF2" for path in pdf.FONTS.values())


def test_an_invoice_holds_what_the_law_asks_for(ours):
    invoice = invoice_with(ours)
    text = words(pdf.draw(invoice.snapshot))
    account = invoice.account
    for expected in (
        "Amber GmbH",
        "Ring 1",
        "20095 Hamburg",
        VAT_ID,
        account.name,
        account.street,
        f"{account.postal_code} {account.city}",
        invoice.number,
        f"{invoice.issue_date.day} {invoice.issue_date:%B %Y}",
        "October 2026",
        "12 Oct 2026",
        "12:00 – 12:50 CEST",
        "31 Oct 2026",
        "11.082 kWh × 0.49",
        "Amber Depot",
        "Base fee October 2026",
        "VAT 19 % on €20.76",
        "€3.94",
        "€24.70",
        "Page 1 of 1",
    ):
        assert expected in text.replace("\xa0", " "), expected
    assert (invoice.net, invoice.vat, invoice.gross) == (Decimal("20.76"), Decimal("3.94"), Decimal("24.70"))


def test_the_charger_is_named_at_the_customer_s_own_site_and_nowhere_else(ours):
    contract = make_customer(ours)
    make_cdr(ours, contract)
    make_cdr_elsewhere(ours, contract, "Quay Seven", start=NOON + dt.timedelta(hours=3))
    [invoice] = finalised(ours)
    text = words(pdf.draw(invoice.snapshot))
    assert "Amber Charger" in text and "Harbour Quay" in text
    assert "Quay Seven" not in text


def test_a_night_over_the_month_s_end_says_on_which_date_it_was_supplied(ours):
    night = {"start": dt.datetime(2026, 10, 31, 22, tzinfo=dt.UTC), "supplied_on": dt.date(2026, 11, 1)}
    contract = make_customer(ours)
    make_cdr(ours, contract, **night, ended_at=dt.datetime(2026, 11, 1, 5, tzinfo=dt.UTC))
    make_cdr(ours, contract, start=NOON)
    [invoice] = finalised(ours, dt.date(2026, 11, 1))
    text = words(pdf.draw(invoice.snapshot))
    assert "31 Oct 2026 23:00 – 06:00 (+1) CET Supplied on 1 Nov 2026" in text
    assert text.count("Supplied on") == 1


def test_energy_that_was_divided_between_two_readings_is_marked(ours):
    contract = make_customer(ours)
    make_cdr(ours, contract, interpolated=True)
    make_cdr(ours, contract, start=NOON + dt.timedelta(hours=2))
    [invoice] = finalised(ours)
    assert words(pdf.draw(invoice.snapshot)).count("The meter was silent when the price changed: divided evenly.") == 1


def test_a_seller_without_vat_id_shows_its_tax_number(ours):
    contract = make_customer(ours)
    seller = ours.location.seller
    seller.registrations.update(vat_id="")
    type(seller).everything.filter(pk=seller.pk).update(tax_number="22/815/08150")
    make_cdr(ours, contract)
    [invoice] = finalised(ours)
    assert "Tax number 22/815/08150" in words(pdf.draw(invoice.snapshot))


def test_german_customers_read_german_figures(ours):
    text = words(pdf.draw(invoice_with(ours, language="de").snapshot)).replace("\xa0", " ")
    for expected in ("24,70 €", "11,082 kWh × 0,49", "12.10.2026", "Oktober 2026"):
        assert expected in text


def test_a_credit_note_names_number_and_date_of_its_invoice(ours, system):
    invoice = invoice_with(ours)
    note = services.cancel_invoice(actor=system, invoice=invoice, why="x")
    text = words(pdf.draw(note.snapshot))
    assert note.number in text
    assert f"invoice {invoice.number} of {invoice.issue_date.day} {invoice.issue_date:%B %Y}" in text
    assert "-€24.70" in text


def test_two_rates_stand_apart(ours):
    contract = make_customer(ours)
    make_cdr(ours, contract, "10.00")
    make_cdr(ours, contract, "10.00", percent="7", start=NOON + dt.timedelta(hours=2))
    [invoice] = finalised(ours)
    text = words(pdf.draw(invoice.snapshot)).replace("\xa0", " ")
    assert "VAT 19 % on €10.00" in text
    assert "VAT 7 % on €10.00" in text
    assert "€1.90" in text and "€0.70" in text


def test_the_same_snapshot_makes_the_same_bytes(ours):
    invoice = invoice_with(ours)
    assert pdf.draw(invoice.snapshot) == pdf.draw(Invoice.everything.get(pk=invoice.pk).snapshot)


def test_unit_prices_are_printed_as_they_were_used(ours):
    contract = make_customer(ours)
    make_cdrs(ours, contract, ["5.48"], price="0.4949")
    [invoice] = finalised(ours)
    assert "× 0.4949" in words(pdf.draw(invoice.snapshot))


def test_names_are_text_whatever_is_in_them(ours):
    name = "<b>Bold</b> & <img src='file:///etc/passwd'> \u202eevil\u2066 Ärger"
    invoice = invoice_with(ours, name=name[:150])
    page = pdf.page(invoice.snapshot)
    assert "&lt;b&gt;Bold&lt;/b&gt;" in page
    assert "<img" not in page
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", page)
    assert "<b>Bold</b>" in words(pdf.draw(invoice.snapshot))


def test_nothing_is_fetched(ours, monkeypatch):
    invoice = invoice_with(ours)
    asked = []
    monkeypatch.setattr("urllib.request.OpenerDirector.open", lambda *args, **kwargs: asked.append(args))
    html = pdf.page(invoice.snapshot).replace(
        "</body>", "<img src='file:///etc/passwd'><img src='http://x.example/'></body>"
    )
    assert pdf.printed(html, identifier=b"0" * 16).startswith(b"%PDF")
    assert asked == []


def png() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 20), "#0f766e").save(out, format="PNG")
    return out.getvalue()


@pytest.mark.parametrize("content", [png(), b"<svg onload=alert(1)>", b""])
def test_a_logo_that_is_no_picture_is_left_out(ours, content):
    ours.brand.logo_light.save("logo.png", ContentFile(content))
    invoice = invoice_with(ours)
    kept = Document.everything.get(public_id=invoice.snapshot["brand"]["logo"]["document"])
    assert kept.sha256 == invoice.snapshot["brand"]["logo"]["sha256"]
    shown = base64.b64encode(png()).decode() in pdf.page(invoice.snapshot, logo=content)
    assert shown == (content == png())
    run_tasks()
    assert InvoiceFile.everything.get().document.content_type == "application/pdf"


@pytest.mark.parametrize("count", [1, 40, 400])
def test_each_session_has_its_line_on_numbered_pages_with_a_head(ours, count):
    invoice = invoice_with(ours, count=count)
    reader = PdfReader(io.BytesIO(pdf.draw(invoice.snapshot)))
    pages = [page.extract_text() for page in reader.pages]
    assert sum(page.count("kWh ×") for page in pages) == count
    for number, page in enumerate(pages, 1):
        assert f"Page {number} of {len(pages)}" in page
    assert all("Date and time there" in page for page in pages if "kWh ×" in page)


def test_three_thousand_sessions_stand_on_one_invoice(ours):
    invoice = invoice_with(ours, count=3000)
    assert (invoice.lines.count(), invoice.net) == (3001, Decimal("16299.90"))
    html = pdf.page(invoice.snapshot)
    assert html.count('<tr><td class="pos">') == 3001
    assert html.count('<table class="lines">') == 11
