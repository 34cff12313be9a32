"""The portal in a browser: it goes live, it can be paused, it reads without JavaScript, on phone and desktop."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from apps.charging.models import SessionLive
from apps.core import live
from apps.installations.models import ConnectorState, StationState
from tests.factories.accounts import PASSWORD
from tests.factories.cast import Tenant, make_tenant
from tests.factories.charging import make_session

HOST = "fleet.amber.localhost"
LONG = "Schnellladestation an der Wareneingangskontrolle hinter Tor 7 des Betriebshofs Süd"


@pytest.fixture
def tenant(site) -> Tenant:
    """A fleet with one charger that charges a car."""
    tenant = make_tenant("Amber")
    tenant.station.name = LONG[:80]
    tenant.station.save()
    StationState.everything.filter(station=tenant.station).update(online=True)
    ConnectorState.everything.filter(connector=tenant.connector).update(status="Charging")
    make_session(tenant)
    return tenant


@pytest.fixture
def refused(page) -> list[str]:
    """What the browser's console says that is no debugging text: a broken policy, a failing script."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    return said


def sign_in(site, page, path="/"):
    page.goto(site.url(HOST, path))
    page.get_by_label("E-mail").fill("manager@amber.example")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def test_every_page_can_be_used_by_everybody(site, tenant, looks, axe_clean, shot, refused):
    sign_in(site, looks)
    session = f"/sessions/{make_session(tenant).public_id}/"
    station, place = f"/chargers/{tenant.station.public_id}/", f"/locations/{tenant.location.public_id}/"
    for path in ("/", "/locations/", "/chargers/", "/sessions/", session, station, place, "/accounts/profile/"):
        looks.goto(site.url(HOST, path))
        axe_clean(looks)
        wider = looks.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider == 0, path
    looks.goto(site.url(HOST))
    shot(looks)
    assert refused == []


def test_the_first_page_goes_live_by_a_hint(site, tenant, page, refused):
    with page.expect_websocket(lambda socket: "/live/?token=" in socket.url):
        sign_in(site, page)
    running = page.get_by_label("Charging now")
    expect(running).to_contain_text("5.00 kWh")
    page.wait_for_timeout(500)
    SessionLive.everything.update(energy_wh=7_770)
    live.touch_committed({f"operator.{tenant.operator.pk}"})
    expect(running).to_contain_text("7.77 kWh", timeout=4_000)
    assert refused == []


def test_a_paused_page_keeps_still(site, tenant, page):
    sign_in(site, page)
    page.get_by_role("button", name="Pause").click()
    SessionLive.everything.update(energy_wh=7_770)
    live.touch_committed({f"operator.{tenant.operator.pk}"})
    page.wait_for_timeout(2_000)
    expect(page.get_by_label("Charging now")).to_contain_text("5.00 kWh")
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_label("Charging now")).to_contain_text("7.77 kWh", timeout=4_000)


def test_without_javascript_it_can_be_read(site, tenant, browser):
    context = browser.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        sign_in(site, page, "/sessions/")
        expect(page.get_by_role("table")).to_contain_text("11.04 kW")
        page.get_by_role("table").get_by_role("link", name="Location").click()
        expect(page).to_have_url(site.url(HOST, "/sessions/?sort=place"))
        expect(page.get_by_role("button", name="Pause")).to_be_hidden()
    finally:
        context.close()
