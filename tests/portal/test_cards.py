"""Cards in the portal: listed, ordered, ended."""

from __future__ import annotations

import pytest
from django.utils import timezone

from apps.accounts.models import AuditEntry
from apps.accounts.permissions import Role
from apps.cards.models import CardOrder, Token, TokenState
from tests.factories.accounts import MembershipFactory
from tests.factories.cards import TokenFactory
from tests.factories.cast import CANARY
from tests.portal.money import HOST, lines_of
from tests.reports.worlds import at, ended_session


def test_cards_are_listed_with_state_and_contract(ours, contract, manager):
    ended_session(ours, at(10, 5))
    Token.everything.create(
        operator=ours.operator, organisation=ours.fleet, label="Ordered card", state=TokenState.ORDERED, uid=None
    )
    expired = TokenFactory(operator=ours.operator, organisation=ours.fleet, label="Old card")
    Token.everything.filter(pk=expired.pk).update(expires_at=timezone.now())
    page = manager.get("/cards/", headers=HOST).text
    for told in ("Amber card", "Amber driver", contract.number, "active", "ordered", "expired", "5 Oct 2026"):
        assert told in page, told
    for query, count in {
        "?state=expired": "1 card",
        "?state=active": "1 card",
        "?state=ordered": "1 card",
        "?contract=yes": "2 cards",
        "?contract=no": "1 card",
        "?q=driver": "1 card",
        "?q=nobody": "0 cards",
    }.items():
        assert f">{count}<" in manager.get(f"/cards/{query}", headers=HOST).text, query
    assert [row["Card"] for row in lines_of(manager.get("/cards/?export=csv", headers=HOST))] == [
        "Amber card",
        "Old card",
        "Ordered card",
    ]


def test_cards_are_ordered(ours, manager):
    page = manager.post(
        "/cards/order/",
        {
            "rows": "2",
            "count": "2",
            "label_1": "Van 7",
            "holder_1": "",
            "label_2": "",
            "holder_2": str(ours.driver.public_id),
            "address": "Quay 7\n20457 Hamburg",
            "note": "For the new vans.",
        },
        headers=HOST,
    )
    assert page.status_code == 302
    order = CardOrder.everything.get()
    assert (order.organisation, order.address, order.ordered_by) == (ours.fleet, "Quay 7\n20457 Hamburg", ours.manager)
    assert list(order.tokens.order_by("pk").values_list("label", "holder", "state")) == [
        ("Van 7", None, TokenState.ORDERED),
        ("", ours.driver.pk, TokenState.ORDERED),
    ]
    assert AuditEntry.everything.filter(action="cardorder.placed", why="For the new vans.").exists()
    assert "2 cards were ordered." in manager.get("/cards/", headers=HOST).text


@pytest.mark.parametrize(
    "sent",
    [
        {"rows": "1", "count": "3", "address": "Quay 7"},
        {"rows": "3", "count": "3", "resize": "1", "address": "Quay 7"},
        {"rows": "1", "count": "1", "address": ""},
        {"rows": "1", "count": "1", "address": "Quay 7", "holder_1": "00000000-0000-0000-0000-000000000000"},
        {"rows": "9999999999", "count": "x", "address": "Quay 7"},
        {"rows": "-1", "count": "²", "address": "Quay 7"},
        {"rows": "9" * 5_000, "count": "-" + "9" * 5_000, "address": "Quay 7"},
        {},
    ],
)
def test_what_is_no_order_is_shown_again(ours, manager, sent):
    page = manager.post("/cards/order/", {"label_1": "Van 7", **sent}, headers=HOST)
    assert page.status_code == 200
    assert "Van 7" in page.text
    assert not CardOrder.everything.exists()


def test_a_card_s_driver_is_somebody_of_the_organisation(ours, rival, manager):
    page = manager.get("/cards/order/", headers=HOST).text
    assert "Amber driver" in page
    assert CANARY not in page
    assert "Amber owner" not in page
    sent = {"rows": "1", "count": "1", "address": "Quay 7", "holder_1": str(rival.driver.public_id)}
    assert manager.post("/cards/order/", sent, headers=HOST).status_code == 200
    assert not CardOrder.everything.exists()


@pytest.mark.parametrize(("path", "state"), [("block", TokenState.BLOCKED), ("lost", TokenState.LOST)])
def test_a_card_is_ended_with_a_reason(ours, manager, path, state):
    url = f"/cards/{ours.token.public_id}/{path}/"
    assert manager.post(url, {"why": " "}, headers=HOST).status_code == 200
    ours.token.refresh_from_db()
    assert ours.token.state == TokenState.ACTIVE
    assert manager.post(url, {"why": "Left in a taxi."}, headers=HOST).status_code == 302
    ours.token.refresh_from_db()
    assert ours.token.state == state
    assert AuditEntry.everything.get(action=f"token.{state}").why == "Left in a taxi."


def test_who_only_looks_blocks_and_orders_nothing(client, ours, rival):
    finance = MembershipFactory(operator=ours.operator, role=Role.ORG_FINANCE, organisation=ours.fleet).user
    client.force_login(finance)
    page = client.get("/cards/", headers=HOST).text
    assert "Amber card" in page
    assert "Order cards" not in page
    assert "Report lost" not in page
    for path in ("/cards/order/", f"/cards/{ours.token.public_id}/block/", f"/cards/{rival.token.public_id}/lost/"):
        assert client.post(path, {"why": "x"}, headers=HOST).status_code == 404, path
    ours.token.refresh_from_db()
    assert ours.token.state == TokenState.ACTIVE
