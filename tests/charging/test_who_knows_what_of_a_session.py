"""The host sees a foreign card as "another card", the card's owner a foreign place without its charger."""

from __future__ import annotations

import pytest

from apps.accounts import permissions, selectors
from apps.accounts.permissions import Role
from apps.charging.selectors import session_rows, visible_sessions
from apps.core.actor import Actor, Kind
from tests.factories.accounts import MembershipFactory, OrganisationFactory, UserFactory
from tests.factories.cards import TokenFactory
from tests.factories.charging import make_session
from tests.factories.installations import ConnectorFactory, LocationFactory, StationFactory


def inside(tenant, user, organisation, role) -> Actor:
    driver_of = frozenset({organisation.pk}) if role == Role.DRIVER else frozenset()
    return Actor(
        kind=Kind.SESSION,
        operator_id=tenant.operator.pk,
        user=user,
        organisations={organisation.pk: permissions.of_role(role)},
        driver_of=driver_of,
    )


@pytest.fixture
def elsewhere(ours):
    """A charger of the operator at a place that the fleet does not host."""
    host = OrganisationFactory(operator=ours.operator, name="Town")
    place = LocationFactory(operator=ours.operator, name="Market square", host=host)
    station = StationFactory(operator=ours.operator, location=place, name="Square charger")
    ConnectorFactory(operator=ours.operator, station=station)
    return station


@pytest.fixture
def sessions(ours, elsewhere):
    stranger = UserFactory(email="stranger@example.org", name="Stranger")
    others = elsewhere.location.host
    foreign = TokenFactory(operator=ours.operator, organisation=others, holder=stranger, label="Town card")
    return {
        "own at home": make_session(ours),
        "foreign at home": make_session(ours, token=foreign),
        "unknown at home": make_session(ours, token=None, uid="04CAFE"),
        "own elsewhere": make_session(ours, station=elsewhere),
        "foreign elsewhere": make_session(ours, station=elsewhere, token=foreign),
    }


def known(actor, sessions) -> dict[str, object]:
    rows = {row.public_id: row for row in session_rows(actor, visible_sessions(actor))}
    return {name: rows[one.public_id] for name, one in sessions.items() if one.public_id in rows}


def secrets_of(row) -> tuple:
    return row.card, row.uid, row.driver, row.soc_percent


def test_the_operator_knows_all(ours, sessions, system):
    rows = known(system, sessions)
    assert set(rows) == set(sessions)
    assert rows["foreign at home"].card == "Town card"
    assert rows["foreign at home"].driver == "Stranger"
    assert rows["own elsewhere"].station == "Square charger"
    assert rows["unknown at home"].uid == "04CAFE"


def test_a_fleet_manager_knows_own_cards_and_own_places(ours, sessions):
    rows = known(inside(ours, ours.manager, ours.fleet, Role.MANAGER), sessions)
    assert set(rows) == {"own at home", "foreign at home", "unknown at home", "own elsewhere"}
    assert (rows["own at home"].card, rows["own at home"].station) == ("Amber card", "Amber Charger")
    for name in ("foreign at home", "unknown at home"):
        assert secrets_of(rows[name]) == (None, None, None, None)
        assert rows[name].station == "Amber Charger"
    abroad = rows["own elsewhere"]
    assert (abroad.station, abroad.station_public_id, abroad.connector_number) == (None, None, None)
    assert (abroad.card, abroad.place, abroad.energy_wh) == ("Amber card", "Market square", 5_000)


def test_a_driver_knows_sessions_of_own_cards_without_the_charger(ours, sessions):
    rows = known(inside(ours, ours.driver, ours.fleet, Role.DRIVER), sessions)
    assert set(rows) == {"own at home", "own elsewhere"}
    assert all(row.station is None and row.card == "Amber card" for row in rows.values())


def test_another_driver_of_the_fleet_sees_none_of_them(ours, sessions):
    colleague = UserFactory()
    assert known(inside(ours, colleague, ours.fleet, Role.DRIVER), sessions) == {}


def test_a_driver_here_and_manager_there_is_each_in_its_place(ours, sessions, elsewhere, rf):
    town = elsewhere.location.host
    MembershipFactory(operator=ours.operator, user=ours.driver, organisation=town, role=Role.MANAGER)
    request = rf.get("/")
    request.user, request.brand, request.session = ours.driver, ours.brand, {}
    rows = known(selectors.actor_of_request(request), sessions)
    assert set(rows) == {"own at home", "own elsewhere", "foreign at home", "foreign elsewhere"}
    assert rows["own at home"].station is None
    assert rows["own elsewhere"].station == "Square charger"
    assert secrets_of(rows["foreign elsewhere"])[0] == "Town card"


def test_rows_need_no_query_each(ours, sessions, system, django_assert_num_queries):
    with django_assert_num_queries(1):
        assert len(session_rows(system, visible_sessions(system))) == len(sessions)
