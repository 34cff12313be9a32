"""What a charger, a card and whoever names them say is text: on every page it looks as it was said, runs nothing, turns
no sentence around it, and in a file no spreadsheet takes it for a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect
from websockets.exceptions import InvalidStatus

from apps.charging.models import Session
from apps.installations.models import ChargingStation, StationModel, UnknownCardPolicy
from apps.ocpp.models import HandshakeRefusal
from apps.ocpp.simulator import Hardware
from tests.e2e.desk import Desk, sign_in
from tests.factories.cards import TokenFactory
from tests.factories.installations import ConnectorFactory
from tests.ocpp import live

# Ends a script, is a template, is a formula, and from its end on everything is read from right to left.
SCRIPT = "</script><img src=x onerror=ran=1>"
OVERRIDE = "\u202e"
IDENTITY = "=cmd|A1@x*+-_."  # all that an identity may hold
STRANGER = "=שלום{{7*7}}<img src=x onerror=ran=1>"
NAME = f"@{SCRIPT}{{{{7*7}}}}{OVERRIDE}"
VENDOR = f"=cmd(){OVERRIDE}{SCRIPT}"
MODEL = f"+{{{{7*7}}}}{SCRIPT}{OVERRIDE}"
FIRMWARE = f"-{OVERRIDE}{{{{7*7}}}}{SCRIPT}"
ERROR = f"{OVERRIDE}{{{{7*7}}}}{SCRIPT}"
LABEL = f"={OVERRIDE}HYPERLINK(){SCRIPT}"
CARD = f"=1+1{OVERRIDE}<IMG SRC=X>"
TAG = f"@{{{{7*7}}}}{OVERRIDE}</B>"
SAID = (IDENTITY, STRANGER, NAME, VENDOR, MODEL, FIRMWARE, ERROR, LABEL, CARD, TAG)
# How a line may end: with what was said, or with the rest of a row's own name where that stands for itself.
ENDS = re.compile(f"({'|'.join(map(re.escape, SAID))})( #\\d| / \\d| \\(127.0.0.1\\)|: Accepted)?$")

# Each text of another direction, and what stands behind it in its line. Boxes and what is isolated are lines of their
# own; `pre` holds what a charger sent and nothing else; labels that only readers hear have no direction.
TURNING = """() => {
  const turns = /[\\u0590-\\u08ff\\u200f\\u202a-\\u202e\\u2066-\\u2069]/;
  const stands_alone = (box) => {
    const style = getComputedStyle(box);
    return !["inline", "contents"].includes(style.display) || style.unicodeBidi.startsWith("isolate");
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    if (!turns.test(text.data)) continue;
    let box = text.parentElement;
    if (box.closest("script, style, pre, textarea, option, .hidden-text, .sr-only")) continue;
    while (!stands_alone(box)) box = box.parentElement;
    const behind = new Range();
    behind.setStartAfter(text);
    behind.setEndAfter(box.lastChild);
    found.push([text.data.trim(), behind.toString().trim()]);
  }
  return found;
}"""


@dataclass(frozen=True)
class World:
    """A charger that charges two cars, all of it named by somebody who means harm, and a stranger at the door."""

    desk: Desk
    station: ChargingStation
    known: Session
    unknown: Session
    refusal: HandshakeRefusal


@pytest.fixture(scope="module")
def world(served: Desk, django_db_blocker) -> Iterator[World]:
    with django_db_blocker.unblock():
        tenant = served.tenant
        tenant.location.unknown_cards = UnknownCardPolicy.ACCEPT_FREE
        tenant.location.name = NAME
        tenant.location.latitude = Decimal("-33.900000")
        tenant.location.save()
        model = StationModel.everything.create(operator=tenant.operator, vendor=VENDOR, name=MODEL)
        station = live.add_station(tenant, identity=IDENTITY, name=NAME, model=model)
        ConnectorFactory(operator=tenant.operator, station=station, number=2)
        card = TokenFactory(operator=tenant.operator, organisation=tenant.fleet, uid=CARD, label=LABEL)
        hardware = Hardware(vendor=VENDOR, model=MODEL, firmware=FIRMWARE, connectors=2)
        charger = served.charger(IDENTITY, live.SECRET, hardware=hardware)
        served.street.do(charger.connect())
        served.street.do(charger.boot())
        assert served.street.do(charger.authorize(CARD)) == "Accepted"
        served.street.call(charger.start, 1, CARD)
        served.street.call(charger.start, 2, TAG)
        served.street.do(charger.deliver())
        served.street.do(charger.report(2, "Faulted", error_code="OtherError", info=ERROR, vendorErrorCode=ERROR))
        with pytest.raises(InvalidStatus):
            served.street.do(served.charger(STRANGER, "0" * 40).connect())
        found = Session.everything.filter(station=station)
        refusal = live.wait_for(HandshakeRefusal.everything.first)
        yield World(served, station, found.get(token=card), found.get(token=None), refusal)
        served.street.do(charger.close())


def back_office(world: World) -> Mapping[str, tuple[str, ...]]:
    """Pages, and what each of them says of the charger."""
    station = f"/chargers/{world.station.pk}/"
    return {
        "/": (NAME, STRANGER),
        "/installations/chargingstation/": (IDENTITY, NAME),
        f"/installations/chargingstation/?q={quote(IDENTITY)}": (IDENTITY, NAME),
        station: (IDENTITY, NAME, LABEL, TAG),
        f"{station}messages/": (),
        f"{station}history/": (VENDOR, FIRMWARE, ERROR),
        "/charging/session/": (NAME, LABEL, TAG),
        f"/sessions/{world.known.pk}/": (NAME, LABEL),
        f"/sessions/{world.unknown.pk}/": (NAME, TAG),
        "/cards/token/": (CARD, LABEL),
        "/ocpp/handshakerefusal/": (STRANGER,),
        f"/ocpp/handshakerefusal/{world.refusal.pk}/change/": (STRANGER,),
        f"/chargers/add/?refusal={world.refusal.public_id}": (STRANGER,),
    }


def portal(world: World) -> Mapping[str, tuple[str, ...]]:
    return {
        "/": (NAME,),
        "/chargers/": (NAME,),
        f"/chargers/{world.station.public_id}/": (IDENTITY, NAME, ERROR),
        "/sessions/": (NAME, LABEL),
        f"/sessions/{world.known.public_id}/": (NAME, LABEL),
        f"/sessions/{world.unknown.public_id}/": (NAME,),
    }


def what_is_wrong(page: Page, said: tuple[str, ...]) -> dict[str, object]:
    """Texts that are not there as they were said, those that turn what stands around them, a script that ran."""
    text = page.locator("body").inner_text()
    turned = [found for found in page.evaluate(TURNING) if found[1] or not ENDS.search(found[0])]
    wrong = {
        "missing": [one for one in said if one not in text],
        "turned": turned,
        "ran": page.evaluate("window.ran"),
    }
    return {name: what for name, what in wrong.items() if what}


def look_through(
    page: Page, url: Callable[[str], str], pages: Mapping[str, tuple[str, ...]]
) -> dict[str, dict[str, object]]:
    """What is wrong, by page."""
    found = {}
    for path, said in pages.items():
        page.goto(url(path))
        found[path] = what_is_wrong(page, said)
    return {path: wrong for path, wrong in found.items() if wrong}


def test_the_back_office_shows_what_was_said(world, desk, page):
    assert look_through(page, desk.url, back_office(world)) == {}


@pytest.mark.parametrize(("term", "said"), [(IDENTITY, NAME), (CARD, LABEL)])
def test_search_shows_what_was_said(world, desk, page, term, said, axe_clean):
    """Each row by its whole name."""
    page.goto(desk.url("/"))
    page.get_by_role("button", name="Search everything").click()
    box = page.get_by_placeholder("Type to search")
    box.fill(term)
    box.press("End")
    expect(page.locator("#command-results-list")).to_contain_text(said)
    assert what_is_wrong(page, (said,)) == {}
    axe_clean(page)


def test_the_portal_shows_what_was_said(world, page, refused):
    sign_in(page, world.desk.portal(), world.desk.tenant.manager)
    assert look_through(page, world.desk.portal, portal(world)) == {}
    assert refused == []


def saved(page: Page, path: str) -> list[list[str]]:
    """The rows of a file that the page offers, without its head."""
    text = page.evaluate("path => fetch(path).then((answer) => answer.text())", path)
    return [*csv.reader(io.StringIO(text))][1:]


def test_files_of_the_back_office_hold_no_formula(world, desk, page):
    """A text that begins like one has an apostrophe, and neither a number below zero nor other texts have."""
    [charger] = [row for row in saved(page, "/export/chargers/") if IDENTITY in row[0]]
    assert charger == [f"'{text}" for text in (IDENTITY, NAME, NAME, VENDOR, MODEL)]
    [place] = saved(page, "/export/locations/")
    assert (place[0], place[1], place[6]) == (f"'{NAME}", "Harbour Street 1", "-33.900000")
    assert [f"'{CARD}", f"'{LABEL}"] in [row[:2] for row in saved(page, "/export/cards/")]


def test_files_of_the_portal_hold_no_formula(world, page):
    sign_in(page, world.desk.portal(), world.desk.tenant.manager)
    page.wait_for_url(world.desk.portal())
    rows = saved(page, "/sessions/?export=csv&sort=started_at")
    assert [row[2:5] for row in rows] == [
        [f"'{NAME}", f"'{NAME} #1", f"'{LABEL}"],
        [f"'{NAME}", f"'{NAME} #2", "another card"],
    ]
    assert not any(cell.startswith("'") for row in rows for cell in row[:2] + row[5:])
    assert f"'{NAME}" in [row[0] for row in saved(page, "/chargers/?export=csv")]
