"""A charger charges while people look on: the first pages of both faces tell of it by themselves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.e2e.desk import Desk, sign_in, what_is_refused

# A hint comes within a second or two; a page without one would ask again after ten.
HINT_MS = 8_000


@pytest.fixture
def fleet(served: Desk, browser: Browser) -> Iterator[Page]:
    """The fleet manager's own browser, at the fleet's first page."""
    page = browser.new_context().new_page()
    said = what_is_refused(page)
    with page.expect_websocket(lambda socket: "/live/?token=" in socket.url):
        sign_in(page, served.portal(), served.tenant.manager)
    yield page
    assert said == []
    page.context.close()


def figure(page: Page, label: str) -> Locator:
    """The figure of a tile."""
    return page.locator(".tile").filter(has_text=label).locator(".figure")


def test_first_pages_tell_what_a_charger_does_without_a_reload(desk, page, fleet, shot):
    with page.expect_websocket(lambda socket: "/live/?token=" in socket.url):
        page.goto(desk.url())
    states = page.get_by_role("region", name="Chargers by state")
    charging = fleet.get_by_label("Charging now")
    for each in (page, fleet):
        each.evaluate("window.stayed = true")
    expect(figure(page, "Charging now")).to_have_text("0")
    expect(figure(page, "Power now")).to_have_text("0.00 kW")
    expect(states).not_to_contain_text("available")

    charger = desk.known_charger("LIVE-1")
    desk.street.do(charger.connect())
    desk.street.do(charger.boot())
    expect(states.get_by_role("link", name="available")).to_have_text("available 1", timeout=HINT_MS)
    expect(charging).to_contain_text("Nobody charges at the moment.")

    desk.street.call(charger.start, 1, desk.tenant.token.uid)
    desk.street.call(charger.measure, 1)
    desk.street.do(charger.deliver())
    desk.street.do(charger.change(1, "Charging"))
    expect(figure(page, "Power now")).to_have_text("11.00 kW", timeout=HINT_MS)
    expect(figure(page, "Charging now")).to_have_text("1")
    expect(states.get_by_role("link", name="charging")).to_have_text("charging 1")
    expect(charging.get_by_role("listitem")).to_contain_text("LIVE-1 #1", timeout=HINT_MS)
    expect(charging.get_by_role("listitem")).to_contain_text("11.00 kW")
    expect(figure(fleet, "Power now")).to_have_text("11.00 kW")
    shot(page, "dashboard")
    shot(fleet, "portal")

    desk.street.call(charger.stop, 1)
    desk.street.do(charger.deliver())
    desk.street.do(charger.change(1, "Available"))
    expect(figure(page, "Charging now")).to_have_text("0", timeout=HINT_MS)
    expect(figure(page, "Power now")).to_have_text("0.00 kW")
    expect(states.get_by_role("link", name="available")).to_have_text("available 1")
    expect(charging).to_contain_text("Nobody charges at the moment.", timeout=HINT_MS)
    assert page.evaluate("window.stayed")
    assert fleet.evaluate("window.stayed")
    desk.street.do(charger.close())
