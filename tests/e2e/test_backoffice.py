"""The back office in a browser, with real chargers at the real server: refused, adopted, live, commanded, repaired."""

from __future__ import annotations

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect
from websockets.exceptions import InvalidStatus

from apps.charging.models import ReviewItem, Session
from apps.installations.models import Command
from apps.ocpp.simulator import SimulatedCharger
from tests.ocpp import live

# A hint comes within a second; a page that lost it polls every ten.
LIVE_MS = 15_000


def stays(page: Page) -> None:
    """Mark the document, so that a reload shows."""
    page.evaluate("window.stayed = true")


def stayed(page: Page) -> bool:
    return bool(page.evaluate("window.stayed === true"))


def test_a_stranger_is_adopted_connects_charges_and_is_reset(desk, page, axe_clean, shot):
    stays(page)
    stranger = desk.charger("STRAY-1", "0" * 40)
    with pytest.raises(InvalidStatus):
        desk.street.do(stranger.connect())
    line = page.get_by_role("listitem").filter(has_text="STRAY-1")
    expect(line).to_contain_text("This operator has no charger of this identity.", timeout=LIVE_MS)
    assert stayed(page)
    axe_clean(page)
    line.get_by_role("link", name="Adopt it").click()

    page.get_by_label("Location").select_option(label=desk.tenant.location.name)
    page.get_by_role("button", name="Adopt it").click()
    expect(page.locator("#set-identity")).to_have_text("STRAY-1")
    expect(page.locator("#set-url")).to_have_text(f"ws://127.0.0.1:{desk.port}/ocpp/{live.URL_KEY}/STRAY-1")
    expect(page.get_by_text("Waiting for the charger")).to_be_visible()
    axe_clean(page)
    stays(page)
    charger = desk.charger("STRAY-1", page.locator("#set-key").inner_text())
    desk.street.do(charger.connect())
    desk.street.do(charger.boot())
    expect(page.get_by_role("link", name="To the charger")).to_be_visible(timeout=LIVE_MS)
    assert stayed(page)
    page.get_by_role("link", name="To the charger").click()

    stays(page)
    sessions = page.get_by_role("region", name="Newest sessions")
    expect(sessions).to_contain_text("No session yet.")
    desk.street.call(charger.start, 1, desk.tenant.token.uid)
    desk.street.do(charger.deliver())
    expect(sessions).to_contain_text("Amber card", timeout=LIVE_MS)
    expect(sessions).to_contain_text("charging")
    assert stayed(page)
    axe_clean(page)

    page.get_by_role("link", name="Reset", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("The charger restarts and is away for a while.")
    axe_clean(page)
    dialog.get_by_label("How").select_option("Hard")
    dialog.get_by_label("Why").fill("It does not answer at the door")
    dialog.get_by_role("button", name="Reset").click()
    command = page.get_by_role("list", name="Reset:")
    expect(command).to_contain_text("effect seen", timeout=LIVE_MS)
    expect(command).to_contain_text("accepted by the charger")
    expect(page.locator("#commands")).to_contain_text("It does not answer at the door")
    assert Command.objects.unscoped("test").get(action="Reset").why == "It does not answer at the door"
    shot(page)
    desk.street.do(charger.close())


def copied(page: Page, what: str) -> str:
    """What the clipboard holds after a press of the button beside it."""
    button = page.get_by_role("button", name=f"Copy {what}", exact=True)
    button.click()
    expect(page.get_by_role("button", name="Copied").last).to_be_visible()
    text: str = page.evaluate("navigator.clipboard.readText()")
    return text


def test_a_charger_is_added_by_its_page_and_connects_with_what_was_copied(desk, page, axe_clean, shot):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(desk.url("/installations/chargingstation/"))
    page.get_by_title("Add charger").click()
    page.get_by_label("Location").select_option(label=desk.tenant.location.name)
    page.get_by_label("Identity").fill("NEW@Gate*7")
    page.get_by_label("Name", exact=True).fill("Gate 7")
    axe_clean(page)
    page.get_by_role("button", name="Add the charger").click()
    way = page.locator("#coming").get_by_role("listitem")
    expect(way).to_contain_text(["Waiting for the charger", "not yet", "not yet"])
    url, identity, key = (copied(page, what) for what in ("URL", "identity", "key"))
    shot(page, "waiting")

    stays(page)
    charger = SimulatedCharger(url.rpartition("/")[0], identity, key)
    assert charger.url == url
    desk.street.do(charger.connect())
    expect(way.nth(1)).to_contain_text("Connected", timeout=LIVE_MS)
    expect(way.nth(1)).not_to_contain_text("not yet", timeout=LIVE_MS)
    expect(way).to_contain_text(["It found us", "Connected", "not yet"])
    desk.street.do(charger.boot())
    expect(way.nth(2)).to_contain_text("#1 Available", timeout=LIVE_MS)
    expect(page.get_by_role("link", name="To the charger")).to_be_visible()
    assert stayed(page)
    axe_clean(page)
    shot(page, "connected")
    desk.street.do(charger.close())


def test_a_blocked_card_is_refused_at_its_next_try(desk, page, axe_clean):
    charger = desk.known_charger("CARDS-1")
    desk.street.do(charger.connect())
    desk.street.do(charger.boot())
    assert desk.street.do(charger.authorize(desk.tenant.token.uid)) == "Accepted"
    page.goto(desk.url(f"/cards/token/{desk.tenant.token.pk}/change/"))
    page.get_by_role("link", name="Block").click()
    expect(page.get_by_text("the card is refused as blocked")).to_be_visible()
    axe_clean(page)
    page.get_by_label("Why").fill("Reported stolen")
    page.get_by_role("button", name="Block").click()
    expect(page.get_by_text("The card is blocked.")).to_be_visible()
    assert desk.street.do(charger.authorize(desk.tenant.token.uid)) == "Blocked"
    page.get_by_role("link", name="Activate").click()
    page.get_by_label("Why").fill("Found again")
    page.get_by_role("button", name="Activate").click()
    expect(page.get_by_text("The card is active.")).to_be_visible()
    assert desk.street.do(charger.authorize(desk.tenant.token.uid)) == "Accepted"
    desk.street.do(charger.close())


def test_a_session_is_repaired_from_the_first_page(desk, page, axe_clean, shot):
    charger = desk.known_charger("REPAIR-1")
    desk.street.do(charger.connect())
    desk.street.do(charger.boot())
    desk.street.call(charger.start, 1, "NOBODYSCARD")
    desk.street.do(charger.deliver())
    desk.street.call(charger.stop, 1)
    desk.street.do(charger.deliver())
    session = live.wait_for(
        lambda: Session.objects.unscoped("test").filter(station__identity="REPAIR-1", state="ended").first()
    )
    item = ReviewItem.objects.unscoped("test").get(session=session, blocking=True)
    page.goto(desk.url("/"))
    page.get_by_role("link", name="Decide").first.click()
    page.get_by_role("link", name=item.get_code_display()).first.click()
    axe_clean(page)
    page.goto(desk.url(f"/sessions/{session.pk}/"))
    expect(page.get_by_text("held back by review")).to_be_visible()
    axe_clean(page)
    shot(page)
    page.get_by_role("link", name="Accept as it is").click()
    page.get_by_label("Why").fill("The driver called; it is the van's old card")
    page.get_by_role("button", name="Accept as it is").click()
    expect(page.get_by_text("nothing holds it back")).to_be_visible()
    item.refresh_from_db()
    assert (item.state, item.resolved_by) == ("resolved", desk.tenant.owner)
    assert item.resolved_at <= timezone.now()
    desk.street.do(charger.close())


def test_a_paused_page_stands_still(desk, page):
    charger = desk.known_charger("PAUSE-1")
    page.goto(desk.url("/"))
    page.get_by_role("button", name="Pause").click()
    before = page.locator("#today").inner_text()
    desk.street.do(charger.connect())
    desk.street.do(charger.boot())
    page.wait_for_timeout(3000)
    assert page.locator("#today").inner_text() == before
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#today")).not_to_have_text(before, timeout=LIVE_MS)
    desk.street.do(charger.close())
