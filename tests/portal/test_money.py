"""Prices in the portal: what each role sees of them, and what nobody there sees."""

from __future__ import annotations

import re
from decimal import Decimal
from importlib import import_module

import pytest
import time_machine
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.accounts.permissions import Role
from apps.charging.models import HoldReason, SettlementState
from apps.portal.selectors.overview import change
from tests.factories.accounts import MembershipFactory, OrganisationFactory
from tests.factories.cards import TokenFactory
from tests.factories.installations import LocationFactory, StationFactory
from tests.portal.money import HOST, lines_of, viewer_of, with_file
from tests.reports.worlds import at, bill, ended_session, price, settle

PAGES = ["/cards/", "/cards/order/", "/invoices/", "/report/", "/report/?export=csv", "/report/?export=pdf"]


# --- prices -----------------------------------------------------------------------------------------------------------
def test_a_session_s_price_is_explained_line_by_line(ours, contract, manager):
    session = ended_session(ours, at(10, 5), energy_wh=12_345)
    price(session, contract)
    page = manager.get(f"/sessions/{session.public_id}/", headers=HOST).text
    for told in ("12.345 kWh", "€0.49", "per kWh", "€6.05", "VAT 19 %", "€1.15", "€7.20", "Why this price?"):
        assert told in page, told
    assert f"Contract of the card (Oct. 5, 2026):</span> {contract}" in page
    german = manager.get(f"/sessions/{session.public_id}/", headers={**HOST, "accept-language": "de"}).text
    assert "12,345 kWh" in german
    assert "0,49\xa0€" in german


def test_the_list_shows_prices_or_why_there_is_none(ours, contract, manager):
    price(ended_session(ours, at(10, 5)), contract)
    settle(ended_session(ours, at(10, 6)), SettlementState.HELD, HoldReason.NO_CONTRACT)
    ended_session(ours, at(10, 7))
    settle(ended_session(ours, at(10, 8)), SettlementState.FREE)
    page = manager.get("/sessions/", headers=HOST).text
    for told in ("€4.90", "No contract covers the card on the day of the session.", "not priced yet", "free of charge"):
        assert told in page, told
    for state, count in {"priced": 1, "held": 1, "waiting": 1, "free": 1, "nonsense": 4}.items():
        found = manager.get(f"/sessions/?price={state}", headers=HOST).text
        assert f"{count} session{'s' if count > 1 else ''}<" in found, state
    rows = lines_of(manager.get("/sessions/?export=csv&price=priced", headers=HOST))
    assert (rows[0]["Price, net"], rows[0]["VAT"], rows[0]["Currency"]) == ("4.90", "0.93", "EUR")


def test_a_driver_sees_the_price_with_vat_of_own_sessions_alone(ours, contract, driver):
    own = ended_session(ours, at(10, 5))
    price(own, contract)
    pool = TokenFactory(operator=ours.operator, organisation=ours.fleet, label="Pool")
    foreign = ended_session(ours, at(10, 6), token=pool)
    price(foreign, contract, per_kwh="0.11")
    page = driver.get("/sessions/", headers=HOST).text
    assert "Price with VAT" in page
    assert "€5.83" in page
    assert "€1.1" not in page
    receipt = driver.get(f"/sessions/{own.public_id}/", headers=HOST).text
    assert "Receipt" in receipt
    assert "€5.83" in receipt
    assert driver.get(f"/sessions/{foreign.public_id}/", headers=HOST).status_code == 404


def test_a_driver_sees_no_invoice_no_card_and_no_report(ours, contract, driver):
    invoice = with_file(bill(contract, [price(ended_session(ours, at(10, 5)), contract)], number="A-1", month=10))
    for path in [*PAGES, f"/invoices/{invoice.public_id}/", f"/invoices/{invoice.public_id}/file/"]:
        assert driver.get(path, headers=HOST).status_code == 404, path
    assert 'href="/invoices/"' not in driver.get("/", headers=HOST).text


def test_the_cost_of_another_card_at_an_own_place_is_not_told(ours, contract, manager):
    other = OrganisationFactory(operator=ours.operator)
    token = TokenFactory(operator=ours.operator, organisation=other)
    session = ended_session(ours, at(10, 5), token=token, energy_wh=77_000)
    price(session, contract)
    held = ended_session(ours, at(10, 6), token=token)
    settle(held, SettlementState.HELD, HoldReason.NO_TARIFF)
    for path in (
        "/sessions/",
        f"/sessions/{session.public_id}/",
        f"/sessions/{held.public_id}/",
        "/",
        "/report/?month=2026-10",
    ):
        page = manager.get(path, headers=HOST).text
        assert "37.73" not in page, path
        assert "has no prices for the day" not in page, path
    # Nor by asking for it.
    for state in ("held", "priced"):
        assert "0 sessions" in manager.get(f"/sessions/?price={state}", headers=HOST).text


def test_who_may_not_see_prices_sees_sessions_without(client, ours, contract):
    session = ended_session(ours, at(10, 5))
    price(session, contract)
    client.force_login(viewer_of(ours))
    for path in ("/sessions/", f"/sessions/{session.public_id}/", "/"):
        page = client.get(path, headers=HOST).text
        assert "4.90" not in page, path
        assert "5.83" not in page, path
    assert 'name="price"' not in client.get("/sessions/", headers=HOST).text
    assert "Price, net" not in lines_of(client.get("/sessions/?export=csv", headers=HOST))[0]
    for path in PAGES:
        assert client.get(path, headers=HOST).status_code == 404, path


def test_a_viewer_here_who_is_a_manager_there_sees_the_money_there_alone(client, ours, contract):
    user = viewer_of(ours)
    town = OrganisationFactory(operator=ours.operator, name="Town")
    MembershipFactory(operator=ours.operator, role=Role.MANAGER, organisation=town, user=user)
    invoice = bill(contract, [price(ended_session(ours, at(10, 5)), contract)], number="A-1", month=10)
    client.force_login(user)
    host = {"host": "amber.localhost"}
    assert "4.90" not in client.get("/sessions/", headers=host).text
    assert "A-1" not in client.get("/invoices/", headers=host).text
    assert client.get(f"/invoices/{invoice.public_id}/", headers=host).status_code == 404
    assert "0.00 kWh" in client.get("/report/?month=2026-10", headers=host).text


# --- the first page ---------------------------------------------------------------------------------------------------
@time_machine.travel(at(11, 20, 12))
@pytest.mark.parametrize(
    ("who", "label", "now", "before"),
    [("manager", "net", "€14.70", "€9.80"), ("driver", "with VAT", "€17.49", "€11.66")],
)
def test_the_first_page_tells_cost_and_what_is_held(ours, contract, client, who, label, now, before):
    client.force_login(getattr(ours, who))
    price(ended_session(ours, at(11, 3), energy_wh=30_000), contract)
    price(ended_session(ours, at(10, 3), energy_wh=20_000), contract)
    price(ended_session(ours, at(10, 21), energy_wh=90_000), contract)
    settle(ended_session(ours, at(11, 4)), SettlementState.HELD, HoldReason.NO_CONTRACT)
    page = client.get("/", headers=HOST).text
    assert re.search(rf'Cost this month, {label}</span>\s*<span class="figure">{now}<', page)
    assert f"of your own cards · +50 % · last month by this day: {before}" in page
    assert "1 session has no price yet" in page
    assert "/sessions/?price=held" in page


@time_machine.travel(at(11, 20, 12))
def test_cost_is_of_the_month_of_supply_as_the_report_has_it(ours, contract, manager):
    """Begun before midnight at the place, ended after it: the day of the end counts, and its month."""
    price(ended_session(ours, at(10, 31, 22, 30)), contract)
    price(ended_session(ours, at(10, 20, 21, 30), energy_wh=90_000), contract)
    price(ended_session(ours, at(9, 30, 21, 30), energy_wh=20_000), contract)
    page = manager.get("/", headers=HOST).text
    assert re.search(r'Cost this month, net</span>\s*<span class="figure">€4.90<', page)
    assert "last month by this day: €9.80" in page
    report = manager.get("/report/?month=2026-11", headers=HOST).text
    assert re.search(r'Cost, net</span>\s*<span class="figure">€4.90<', report)


@time_machine.travel(at(11, 20, 12), tick=False)
def test_cost_says_whose_cards_it_is_of_to_those_who_see_others_at_their_places(ours, contract, client):
    price(ended_session(ours, at(11, 3)), contract)
    client.force_login(ours.manager)
    assert "of your own cards" in client.get("/", headers=HOST).text
    client.force_login(ours.owner)
    page = client.get("/", headers={"host": "amber.localhost"}).text
    assert "€4.90" in page
    assert "of your own cards" not in page


@pytest.mark.parametrize("who", ["manager", "driver"])
@time_machine.travel(at(11, 20, 12), tick=False)
def test_the_first_page_reads_the_prices_once_a_minute(ours, contract, client, who, monkeypatch):
    client.force_login(getattr(ours, who))
    price(ended_session(ours, at(11, 3)), contract)
    first = _queries_of_prices(client)
    assert first
    assert not _queries_of_prices(client)
    module = import_module("apps.portal.selectors.overview")  # its package has a function of that name
    assert module.COSTS_KEPT_S == 60
    cache.clear()
    monkeypatch.setattr(module, "COSTS_KEPT_S", 0)  # Redis goes by its own clock
    assert [_queries_of_prices(client), _queries_of_prices(client)] == [first, first]


def _queries_of_prices(client) -> int:
    with CaptureQueriesContext(connection) as context:
        assert re.search("€(4.90|5.83)", client.get("/", headers=HOST).text)
    return sum('FROM "charging_cdr"' in one["sql"] or "charging_rateditem" in one["sql"] for one in context)


@time_machine.travel(at(11, 20, 12), tick=False)
def test_what_is_kept_of_the_prices_is_nobody_else_s(ours, rival, contract, client):
    """Manager, driver, another driver, a viewer and the operator ask one after the other, within the minute."""
    price(ended_session(ours, at(11, 3)), contract)
    pool = TokenFactory(operator=ours.operator, organisation=ours.fleet)
    price(ended_session(ours, at(11, 4), token=pool), contract)
    other = MembershipFactory(operator=ours.operator, role=Role.DRIVER, organisation=ours.fleet).user
    asked = [(ours.manager, "€9.80"), (ours.driver, "€5.83"), (other, None), (viewer_of(ours), None)]
    for user, cost in [*asked, *reversed(asked)]:
        client.force_login(user)
        told = re.search(
            r'Cost this month, [^<]+</span>\s*<span class="figure">([^<]+)<', client.get("/", headers=HOST).text
        )
        assert (told and told[1]) == cost
    client.force_login(rival.owner)
    assert "€" not in client.get("/", headers={"host": rival.brand.host}).text


@time_machine.travel(at(11, 20, 12), tick=False)
def test_what_is_kept_of_the_prices_is_of_the_host_that_was_asked(ours, contract, client):
    """A driver here, who only looks on elsewhere: with VAT where all that one is here is a driver."""
    price(ended_session(ours, at(11, 3)), contract)
    town = OrganisationFactory(operator=ours.operator, name="Town")
    MembershipFactory(operator=ours.operator, role=Role.ORG_VIEWER, organisation=town, user=ours.driver)
    client.force_login(ours.driver)
    assert "€5.83" in client.get("/", headers=HOST).text
    assert "€4.90" in client.get("/", headers={"host": "amber.localhost"}).text


@pytest.mark.parametrize(
    ("now", "before", "told"),
    [(12, 10, "+20 %"), (5, 10, "−50 %"), (10, 10, "±0 %"), (5, 0, ""), (Decimal("1.01"), Decimal("3.00"), "−66 %")],
)
def test_a_change_is_told_in_percent(now, before, told):
    assert change(now, before) == told


@pytest.mark.parametrize("path", ["/sessions/", "/cards/", "/invoices/", "/report/?month=2026-10", "/"])
def test_more_rows_need_no_more_queries(ours, contract, manager, path, django_assert_max_num_queries):
    for number in range(30):
        token = TokenFactory(
            operator=ours.operator, organisation=ours.fleet, holder=ours.driver, label=f"Card {number}"
        )
        place = LocationFactory(operator=ours.operator, host=ours.fleet)
        station = StationFactory(operator=ours.operator, location=place)
        cdr = price(ended_session(ours, at(10, 1 + number % 28), token=token, station=station), contract)
        with_file(bill(contract, [cdr], number=f"A-{number}", month=10))
        settle(ended_session(ours, at(10, 2), token=token), SettlementState.HELD, HoldReason.NO_CONTRACT)
    with django_assert_max_num_queries(16):
        assert manager.get(path, headers=HOST).status_code == 200


def test_what_people_write_is_text(ours, contract, manager):
    hostile = "</script><b>{{7*7}}\u202e=cmd()"
    ours.token.label = ours.station.name = hostile
    ours.token.save()
    ours.station.save()
    contract.account.name = hostile
    contract.account.save()
    session = ended_session(ours, at(10, 5))
    invoice = bill(contract, [price(session, contract)], number="A-1", month=10)
    for path in (
        "/cards/",
        "/report/?month=2026-10",
        "/report/?month=2026-10&by=charger",
        f"/invoices/{invoice.public_id}/",
        f"/sessions/{session.public_id}/",
        f"/cards/{ours.token.public_id}/block/",
    ):
        page = manager.get(path, headers=HOST).text
        assert "</script><b>" not in page, path
        assert "&lt;/script&gt;&lt;b&gt;{{7*7}}" in page, path
    ours.token.label = "=cmd()"
    ours.token.save()
    price(ended_session(ours, at(10, 6)), contract)
    _before, row = lines_of(manager.get("/report/?month=2026-10&export=csv", headers=HOST))
    assert row["Card"] == "'=cmd()"
