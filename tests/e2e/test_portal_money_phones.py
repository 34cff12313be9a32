"""The portal's pages of money on small phones, in the longer language, and without JavaScript."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from apps.cards.models import Token, TokenState
from tests.e2e.test_portal import HOST, assert_fits, sign_in
from tests.e2e.test_portal_money import site, tenant, world

__all__ = ["site", "tenant", "world"]


@pytest.mark.parametrize("width", [360, 900])
def test_every_page_of_money_fits_small_phones_and_tablets(site, world, page, width):
    page.set_viewport_size({"width": width, "height": 800})
    sign_in(site, page)
    for path in world.values():
        page.goto(site.url(HOST, path))
        assert_fits(page, path)


def test_the_longest_words_fit_a_small_phone_too(site, world, page):
    page.set_viewport_size({"width": 360, "height": 800})
    sign_in(site, page)
    page.set_extra_http_headers({"Accept-Language": "de"})
    for path in world.values():
        page.goto(site.url(HOST, path))
        assert_fits(page, path)
        last = page.locator(".nav li:not(.on-desktop)").last.bounding_box()
        assert last["x"] + last["width"] <= 360, path


def test_cards_are_ordered_and_blocked_without_javascript(site, world, browser):
    context = browser.new_context(java_script_enabled=False, viewport={"width": 360, "height": 800})
    try:
        page = context.new_page()
        sign_in(site, page, "/cards/")
        page.get_by_role("link", name="Order cards").click()
        page.get_by_label("How many cards?").fill("2")
        page.get_by_label("Name of card 1").fill("Van 7")
        page.get_by_role("button", name="Show so many rows").click()
        expect(page.get_by_label("Name of card 1")).to_have_value("Van 7")
        page.get_by_label("Driver of card 2").select_option("Amber driver")
        page.get_by_label("Delivery address").fill("Quay 7\n20457 Hamburg")
        page.get_by_role("button", name="Order the cards").click()
        expect(page.get_by_text("2 cards were ordered.")).to_be_visible()
        row = page.get_by_role("row").filter(has_text="Pool 2")
        row.get_by_role("link", name="Block").click()
        page.get_by_label("Why").fill("The van was sold.")
        page.get_by_role("button", name="Block the card").click()
        expect(page.get_by_text("Pool 2 is blocked.")).to_be_visible()
    finally:
        context.close()
    assert Token.everything.filter(state=TokenState.ORDERED).count() == 3
    assert Token.everything.get(label="Pool 2").state == TokenState.BLOCKED
