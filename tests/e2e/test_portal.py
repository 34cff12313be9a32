"""The portal in a browser: it goes live, it can be paused, it reads without JavaScript, on phone and desktop."""

from __future__ import annotations

import datetime as dt

import pytest
from playwright.sync_api import expect

from apps.accounts import services
from apps.accounts.models import Membership
from apps.accounts.permissions import Role
from apps.charging.models import Reading, Session, SessionLive
from apps.core import live
from apps.core.actor import Actor
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


def sign_in(site, page, path="/"):
    page.goto(site.url(HOST, path))
    page.get_by_label("E-mail").fill("manager@amber.example")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def people_pages(tenant: Tenant) -> list[str]:
    """The lists, the forms and the questions about a person and an invitation, each with a long name in it."""
    long = "alexandra-maximiliane.hohenlohe-schillingsfuerst@stadtwerke-verkehrsbetriebe.example"
    waiting = services.invite_person(
        actor=Actor.system(tenant.operator),
        operator=tenant.operator,
        email=long,
        role=Role.DRIVER,
        organisation=tenant.fleet,
    )
    driver = Membership.everything.get(user=tenant.driver)
    return [
        "/people/",
        "/people/invite/",
        "/people/invitations/",
        f"/people/invitations/{waiting.public_id}/send-again/",
        f"/people/{driver.public_id}/end/",
    ]


def pages_of(tenant: Tenant) -> list[str]:
    """Every page of the portal, lists first."""
    rows = [
        f"/sessions/{make_session(tenant).public_id}/",
        f"/chargers/{tenant.station.public_id}/",
        f"/locations/{tenant.location.public_id}/",
    ]
    return ["/", "/locations/", "/chargers/", "/sessions/", *rows, *people_pages(tenant), "/accounts/profile/"]


def assert_fits(page, path: str) -> None:
    wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wider == 0, path


def test_every_page_can_be_used_by_everybody(site, tenant, page, looks, axe_clean, shot, refused):
    sign_in(site, page)
    for path in pages_of(tenant):
        page.goto(site.url(HOST, path))
        for look in looks():
            axe_clean(page)
            assert_fits(page, f"{path} {look}")
            if path == "/":
                shot(page, look)
    assert refused == []


@pytest.mark.parametrize("width", [360, 900])
def test_every_page_fits_small_phones_and_tablets(site, tenant, page, width):
    page.set_viewport_size({"width": width, "height": 800})
    sign_in(site, page)
    for path in pages_of(tenant):
        page.goto(site.url(HOST, path))
        assert_fits(page, path)


def test_a_paused_page_keeps_still(site, tenant, page):
    sign_in(site, page)
    page.get_by_role("button", name="Pause").click()
    SessionLive.everything.update(energy_wh=7_770)
    live.touch_committed({f"operator.{tenant.operator.pk}"})
    page.wait_for_timeout(2_000)
    expect(page.get_by_label("Charging now")).to_contain_text("5.00 kWh")
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_label("Charging now")).to_contain_text("7.77 kWh", timeout=4_000)


def test_a_reader_is_not_disturbed_by_what_is_new(site, tenant, page, refused):
    """A list that was opened stays open where it was scrolled to, and the focus stays on it."""
    session = Session.everything.get()
    for number in range(60):
        at = session.started_at + dt.timedelta(seconds=30 * number)
        Reading.objects.create(
            at=at,
            station_id=session.station_id,
            connector_number=1,
            digest=number,
            operator_id=session.operator_id,
            session_id=session.pk,
            received_at=at,
            generation=1,
            sequence=number,
            register_wh=1_000 + 100 * number,
            power_w=11_040,
        )
    with page.expect_websocket(lambda socket: "/live/?token=" in socket.url):
        sign_in(site, page, f"/sessions/{session.public_id}/")
    expect(page.get_by_role("table")).to_be_hidden()
    summary = page.locator("summary")
    summary.click()
    readings = page.get_by_role("region", name="Readings")
    readings.evaluate("region => region.scrollTo(0, 300)")
    page.wait_for_timeout(500)
    SessionLive.everything.update(energy_wh=7_770)
    live.touch_committed({f"station.{tenant.station.pk}"})
    expect(page.locator(".tiles")).to_contain_text("7.77 kWh", timeout=4_000)
    expect(page.get_by_role("table")).to_be_visible()
    expect(summary).to_be_focused()
    assert readings.evaluate("region => region.scrollTop") == 300

    summary.click()
    SessionLive.everything.update(energy_wh=8_880)
    page.wait_for_timeout(1_100)  # a topic is hinted at once a second
    live.touch_committed({f"station.{tenant.station.pk}"})
    expect(page.locator(".tiles")).to_contain_text("8.88 kWh", timeout=4_000)
    expect(page.get_by_role("table")).to_be_hidden()
    assert refused == []


def test_people_are_looked_after_without_javascript(site, tenant, browser):
    context = browser.new_context(java_script_enabled=False, viewport={"width": 360, "height": 800})
    try:
        page = context.new_page()
        sign_in(site, page)
        # The phone's bar has no room for it: the way leads over one's own page.
        expect(page.get_by_role("link", name="People")).to_be_hidden()
        page.get_by_role("link", name="You").click()
        page.get_by_role("link", name="People of your organisation").click()
        page.get_by_role("link", name="Invite somebody").click()
        page.get_by_label("E-mail").fill("new@example.org")
        page.get_by_label("viewer (organisation)").check()
        page.get_by_role("button", name="Send the invitation").click()
        expect(page.get_by_role("table")).to_contain_text("new@example.org")
        page.get_by_role("link", name="Take back new@example.org").click()
        page.get_by_label("Why").fill("Wrong address.")
        page.get_by_role("button", name="Take back").click()
        expect(page.get_by_text("No invitation waits for an answer")).to_be_visible()
        page.get_by_role("link", name="People").filter(visible=True).click()
        page.get_by_role("link", name="End access Amber driver").click()
        page.get_by_label("Why").fill("Left the company.")
        page.get_by_role("button", name="End access").click()
        expect(page.get_by_text("Amber driver no longer has this role.")).to_be_visible()
    finally:
        context.close()


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
