"""A browser finds the back office, and nothing where nothing is."""

from __future__ import annotations

import re

from playwright.sync_api import expect


def test_an_unknown_host_is_404(site, page):
    response = page.goto(site.url("nobody.localhost"))
    assert response.status == 404
    expect(page.locator("body")).to_have_text("No such site.")


def test_the_back_office_asks_who_is_there(site, page, looks, axe_clean, shot):
    page.goto(site.admin("/"))
    for look in looks():
        expect(page.get_by_role("textbox", name=re.compile("E-?mail", re.IGNORECASE))).to_be_visible()
        axe_clean(page)
        shot(page, look)
