"""The one table role × permission. A permission is Django's `app.action_model`, or an action of our own declared in a
model's `Meta.permissions`. `*` stands for any model of an app."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from django.apps import apps
from django.db import models
from django.utils.translation import gettext_lazy as _


class PlatformRole(models.TextChoices):
    OWNER = "platform_owner", _("platform owner")


class Role(models.TextChoices):
    """Operator roles first, then those inside one organisation."""

    OWNER = "owner", _("owner")
    OPERATIONS = "operations", _("operations")
    TECHNICIAN = "technician", _("technician")
    FINANCE = "finance", _("finance")
    SUPPORT = "support", _("support")
    VIEWER = "viewer", _("viewer")
    MANAGER = "org_manager", _("fleet manager")
    ORG_FINANCE = "org_finance", _("finance (organisation)")
    ORG_VIEWER = "org_viewer", _("viewer (organisation)")
    DRIVER = "org_driver", _("driver")


ORGANISATION_ROLES = frozenset({Role.MANAGER, Role.ORG_FINANCE, Role.ORG_VIEWER, Role.DRIVER})
OPERATOR_ROLES = frozenset(Role) - ORGANISATION_ROLES

# Models that hold other tenants' rows or can run code: for platform staff with a second factor alone.
PLATFORM_APPS = ("django_q.*", "sessions.*", "account.*", "mfa.*", "auth.*", "contenttypes.*")
PLATFORM_ONLY = (
    *PLATFORM_APPS,
    "*_user",
    "accounts.*_operator",
    "charging.*_counter",
    "ocpp.*_batchmark",
    "ocpp.*_gatewaylease",
    "ocpp.*_strangerrefusal",
)

# What an API key may hold, in the words of the page on which it is made.
API_SCOPES: dict[str, Any] = {
    "installations.view_location": _("read locations"),
    "installations.view_chargingstation": _("read chargers and their live state"),
    "installations.add_chargingstation": _("add chargers"),
    "installations.view_command": _("read commands"),
    "installations.command_chargingstation": _("send commands to chargers"),
    "cards.view_token": _("read cards"),
    "cards.add_token": _("add cards"),
    "cards.block_token": _("block cards"),
    "charging.view_session": _("read sessions"),
    "charging.view_reading": _("read the readings of sessions"),
    "charging.view_reviewitem": _("read the review queue"),
    "charging.view_cdr": _("read CDRs"),
    "tariffs.view_tariff": _("read tariffs"),
    "contracts.view_contract": _("read contracts"),
    "billing.view_invoice": _("read invoices"),
    "ocpp.view_handshakerefusal": _("read refused connections"),
}

_VIEW = (
    "installations.view_*",
    "tariffs.view_*",
    "contracts.view_*",
    "cards.view_*",
    "charging.view_*",
    "ocpp.view_*",
    "billing.view_*",
    "accounts.view_organisation",
)
_MONEY = ("tariffs.*", "contracts.*", "billing.*", "cards.assign_contract", "charging.correct_cdr")

_TABLE: dict[str, tuple[str, ...]] = {
    Role.OWNER: (
        "accounts.*",
        "notifications.*",
        "installations.*",
        "tariffs.*",
        "contracts.*",
        "cards.*",
        "charging.*",
        "ocpp.*",
        "billing.*",
    ),
    Role.OPERATIONS: (
        *_VIEW,
        "accounts.view_*",
        "accounts.add_organisation",
        "accounts.change_organisation",
        "notifications.*",
        "installations.*",
        "cards.*",
        "charging.*",
        "ocpp.*",
    ),
    Role.TECHNICIAN: (
        *_VIEW,
        "installations.add_*",
        "installations.change_*",
        "installations.command_chargingstation",
        "ocpp.adopt_handshakerefusal",
    ),
    Role.FINANCE: (
        *_VIEW,
        *_MONEY,
        "accounts.view_*",
        "accounts.change_seller",
        "accounts.*_sellerregistration",
        "charging.repair_session",
    ),
    Role.SUPPORT: (*_VIEW, "installations.command_chargingstation", "cards.change_token"),
    Role.VIEWER: _VIEW,
    Role.MANAGER: (
        "installations.view_*",
        "cards.view_*",
        "cards.order_token",
        "cards.block_token",
        "charging.view_session",
        "charging.view_reading",
        "charging.view_cdr",
        "contracts.view_*",
        "billing.view_invoice",
        "accounts.view_organisation",
        "accounts.invite_membership",
    ),
    Role.ORG_FINANCE: (
        "installations.view_*",
        "cards.view_*",
        "charging.view_session",
        "charging.view_reading",
        "charging.view_cdr",
        "contracts.view_*",
        "billing.view_invoice",
        "accounts.view_organisation",
    ),
    Role.ORG_VIEWER: ("installations.view_*", "charging.view_session", "charging.view_reading"),
    Role.DRIVER: ("charging.view_session", "charging.view_cdr", "cards.view_token"),
}


@cache
def of_role(role: str) -> frozenset[str]:
    """Every permission that a role holds, written out."""
    return _matching(_TABLE[role]) - platform_only()


@cache
def platform_only() -> frozenset[str]:
    """Permissions that no tenant's role ever holds."""
    return _matching(PLATFORM_ONLY)


@cache
def everything() -> frozenset[str]:
    """All permissions of all installed models."""
    return frozenset(
        f"{model._meta.app_label}.{codename}"
        for model in apps.get_models()
        for codename in [
            *(f"{action}_{model._meta.model_name}" for action in model._meta.default_permissions),
            *(codename for codename, _name in model._meta.permissions),
        ]
    )


def _matching(patterns: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name for name in everything() if any(fnmatchcase(name, pattern) for pattern in patterns))
