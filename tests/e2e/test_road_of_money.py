"""From a card that is ordered to an invoice that is taken back, in the browser, with a real charger."""

from __future__ import annotations

import datetime as dt
import re

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect
from pypdf import PdfReader

from apps.billing.models import Invoice
from apps.cards.models import Token
from apps.charging import services as charging
from apps.charging.models import Session
from apps.ocpp.simulator import PastClock
from tests.e2e.desk import Desk, sign_in
from tests.factories.billing import make_seller
from tests.factories.contracts import make_contract
from tests.factories.tasks import run_tasks
from tests.ocpp import live

WHY = "Month's end"
UID = "04D1CE00000001"


@pytest.fixture
def office(served: Desk, page: Page) -> Page:
    page.set_viewport_size({"width": 1440, "height": 900})
    sign_in(page, served.url("/"), served.tenant.owner)
    return page


@pytest.fixture
def fleet(served: Desk, browser: Browser) -> Page:
    """The fleet manager's own browser, on the fleet's brand."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    sign_in(page, served.portal("/"), served.tenant.manager)
    return page


def ask(page: Page, button: str, why: str = WHY, reason: str = "Why", **fields: str) -> None:
    """Press a button of an object's page, fill in what it asks for, and do it."""
    page.get_by_role("link", name=re.compile(rf"\b{button}$")).first.click()
    for label, value in fields.items():
        page.get_by_label(label).first.fill(value)
    page.get_by_label(reason).fill(why)
    page.get_by_role("button", name=button, exact=True).click()


def charge(desk: Desk, uid: str) -> Session:
    """An hour that a simulated charger tells of afterwards; it is priced at once."""
    charger = desk.known_charger("MONEY-1")
    desk.street.do(charger.connect())
    desk.street.do(charger.boot())
    assert desk.street.do(charger.authorize(uid)) == "Accepted"
    charger.clock = clock = PastClock(timezone.now() - dt.timedelta(hours=1))
    desk.street.call(charger.start, 1, uid)
    desk.street.do(clock.sleep(3600))
    desk.street.call(charger.stop, 1)
    desk.street.do(charger.deliver())
    desk.street.do(charger.close())
    session: Session = live.wait_for(Session.objects.unscoped("test").filter(uid=uid, state="ended").first)
    run_tasks()
    charging.await_settlement(session_ids=[session.pk], now=timezone.now(), patience=dt.timedelta())
    charging.settle_due(now=timezone.now())
    return session


def test_a_card_is_ordered_charged_with_billed_and_its_invoice_taken_back(served, office, fleet, axe_clean, shot):
    tenant = served.tenant
    make_seller(tenant)
    contract = make_contract(tenant, bind=False)

    fleet.goto(served.portal("/cards/order/"))
    fleet.get_by_label("How many cards?").fill("2")
    fleet.get_by_role("button", name="Show so many rows").click()
    fleet.get_by_label("Name of card 1").fill("Van 7")
    fleet.get_by_label("Name of card 2").fill("Van 8")
    fleet.get_by_label("Delivery address").fill("Quay 7, 20457 Hamburg")
    fleet.get_by_role("button", name="Order the cards").click()
    expect(fleet.get_by_text("Van 8").first).to_be_visible()
    first = Token.objects.unscoped("test").get(label="Van 7")
    assert (first.state, first.uid) == ("ordered", None)

    office.goto(served.url(f"/cards/token/{first.pk}/change/"))
    axe_clean(office)
    ask(office, "Send", reason="Note", UID=UID)
    ask(office, "Activate")
    expect(office.get_by_text("The card is active.")).to_be_visible()
    office.get_by_role("link", name="Bind to a contract").first.click()
    office.get_by_label("Contract").select_option(value=str(contract.pk))
    office.get_by_label("First day").fill((timezone.localdate() - dt.timedelta(days=1)).isoformat())
    office.get_by_label("Why").fill("New van")
    office.get_by_role("button", name="Bind to a contract", exact=True).click()
    session = charge(served, UID)

    office.goto(served.url(f"/sessions/{session.pk}/"))
    expect(office.get_by_role("heading", name="Price", exact=True)).to_be_visible()
    axe_clean(office)
    office.goto(served.url("/billing/billingrun/start/"))
    office.get_by_label("Month").select_option(value=timezone.localdate().replace(day=1).isoformat())
    office.get_by_role("button", name="Start a run").click()
    run_tasks()
    office.reload()
    axe_clean(office)
    ask(office, "Finalise")
    run_tasks()
    invoice = Invoice.objects.unscoped("test").get(account=contract.account, kind="invoice")
    assert invoice.number

    fleet.goto(served.portal("/invoices/"))
    fleet.get_by_role("link", name=invoice.number, exact=True).click()
    axe_clean(fleet)
    total = fleet.get_by_text(re.compile(r"^€\d+\.\d\d$")).first.inner_text()
    assert total == f"€{invoice.gross}"
    with fleet.expect_download() as download:
        fleet.get_by_role("link", name="Save as PDF").click()
    printed = "".join(one.extract_text() for one in PdfReader(download.value.path()).pages)
    assert invoice.number in printed
    assert total in printed
    shot(fleet)
    fleet.goto(served.portal("/report/"))
    expect(fleet.get_by_text(invoice.number).first).to_be_visible()

    office.goto(served.url(f"/billing/invoice/{invoice.pk}/change/"))
    axe_clean(office)
    ask(office, "Cancel", why="Wrong address")
    note = Invoice.objects.unscoped("test").get(cancels=invoice)
    assert (note.gross + invoice.gross, note.number != "") == (0, True)
    run_tasks()
    fleet.goto(served.portal("/invoices/"))
    expect(fleet.get_by_role("link", name=note.number, exact=True)).to_be_visible()

    fleet.goto(served.portal(f"/cards/{first.public_id}/block/"))
    fleet.get_by_label("Why").fill("The van was sold")
    fleet.get_by_role("button", name="Block").click()
    charger = served.known_charger("MONEY-LAST")
    served.street.do(charger.connect())
    served.street.do(charger.boot())
    assert served.street.do(charger.authorize(UID)) == "Blocked"
    served.street.do(charger.close())
