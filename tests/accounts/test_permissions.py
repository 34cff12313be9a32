"""The one table role × permission."""

from __future__ import annotations

import pytest

from apps.accounts import permissions, selectors, services
from apps.accounts.models import Operator
from apps.accounts.permissions import OPERATOR_ROLES, ORGANISATION_ROLES, Role
from apps.core.actor import Actor, Kind
from tests.factories.accounts import UserFactory

DECISIVE = {
    "accounts.change_brand": {Role.OWNER},
    "accounts.change_membership": {Role.OWNER},
    "accounts.add_apikey": {Role.OWNER},
    "accounts.view_auditentry": {Role.OWNER, Role.OPERATIONS, Role.FINANCE},
    "accounts.invite_membership": {Role.OWNER, Role.MANAGER},
    "notifications.view_mail": {Role.OWNER, Role.OPERATIONS},
    "notifications.change_mail": {Role.OWNER, Role.OPERATIONS},
    "installations.change_location": {Role.OWNER, Role.OPERATIONS, Role.TECHNICIAN},
    "installations.view_location": frozenset(Role) - {Role.DRIVER},
    "installations.command_chargingstation": {Role.OWNER, Role.OPERATIONS, Role.TECHNICIAN, Role.SUPPORT},
    "ocpp.adopt_handshakerefusal": {Role.OWNER, Role.OPERATIONS, Role.TECHNICIAN},
    "ocpp.view_frame": OPERATOR_ROLES,
    "cards.change_token": {Role.OWNER, Role.OPERATIONS, Role.SUPPORT},
    "cards.block_token": {Role.OWNER, Role.OPERATIONS, Role.MANAGER},
    "cards.view_token": frozenset(Role) - {Role.ORG_VIEWER},
    "charging.view_session": frozenset(Role),
    "charging.repair_session": {Role.OWNER, Role.OPERATIONS, Role.FINANCE},
    "charging.view_reviewitem": OPERATOR_ROLES,
}


@pytest.mark.parametrize("permission", DECISIVE)
def test_exactly_these_roles_hold_it(permission):
    assert permission in permissions.everything()
    assert {role for role in Role if permission in permissions.of_role(role)} == set(DECISIVE[permission])


@pytest.mark.parametrize("role", Role)
def test_no_role_of_a_tenant_reaches_the_platform(role):
    held = permissions.of_role(role)
    assert held
    for name in ("accounts.view_user", "accounts.change_operator", "django_q.add_schedule", "mfa.view_authenticator"):
        assert name in permissions.platform_only()
        assert name not in held
    for name in ("ocpp.view_strangerrefusal", "ocpp.view_gatewaylease", "charging.change_counter"):
        assert name in permissions.platform_only()
        assert name not in held


@pytest.mark.parametrize("role", [Role.VIEWER, Role.ORG_VIEWER, Role.ORG_FINANCE, Role.DRIVER])
def test_a_reader_changes_nothing(role):
    assert all(name.partition(".")[2].startswith("view_") for name in permissions.of_role(role))


def test_what_an_api_key_may_hold_are_rights_that_an_owner_has():
    assert frozenset(permissions.API_SCOPES) <= permissions.of_role(Role.OWNER)


# --- granting ---------------------------------------------------------------------------------------------------------
def acting(role: Role, operator: Operator) -> Actor:
    return Actor(
        kind=Kind.SESSION,
        operator_id=operator.pk,
        user=UserFactory(),
        permissions=permissions.of_role(role),
        operator_wide=True,
        label=role,
    )


@pytest.mark.parametrize("role", sorted(OPERATOR_ROLES))
@pytest.mark.parametrize("granted", sorted(OPERATOR_ROLES))
def test_a_role_is_granted_only_by_those_whose_rights_include_all_of_its_own(ours, role, granted):
    actor, user = acting(Role(role), ours.operator), UserFactory()
    allowed = permissions.of_role(granted) <= permissions.of_role(role)
    if allowed:
        assert services.grant_role(actor=actor, user=user, operator=ours.operator, role=granted).role == granted
    else:
        with pytest.raises(services.CannotGrantRole):
            services.grant_role(actor=actor, user=user, operator=ours.operator, role=granted)
    assert (granted in selectors.grantable_roles(actor)) == allowed


def test_nobody_below_makes_an_owner():
    higher = permissions.of_role(Role.OWNER)
    assert not [role for role in Role if role != Role.OWNER and higher <= permissions.of_role(role)]


@pytest.mark.parametrize("role", sorted(ORGANISATION_ROLES))
def test_no_role_inside_an_organisation_is_operator_wide(ours, role):
    with pytest.raises(services.CannotGrantRole):
        services.grant_role(
            actor=acting(Role.OWNER, ours.operator), user=UserFactory(), operator=ours.operator, role=role
        )


def test_an_owner_grants_nothing_at_another_operator(ours, rival):
    actor = acting(Role.OWNER, ours.operator)
    with pytest.raises(services.CannotGrantRole):
        services.grant_role(actor=actor, user=ours.owner, operator=rival.operator, role=Role.VIEWER)
    with pytest.raises(services.CannotGrantRole):
        services.grant_role(
            actor=actor, user=ours.owner, operator=ours.operator, role=Role.DRIVER, organisation=rival.fleet
        )
