"""What the side bar holds, in our own words; whose operator this is; the first steps of an empty installation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import User
from apps.cards.models import Token
from apps.installations.models import ChargingStation, Location

HOME = _("Today")

# Group → (title, icon, model). A page is listed once its admin is registered and the user may open it.
GROUPS: list[tuple[Any, list[tuple[Any, str, str]]]] = [
    (
        _("Chargers"),
        [
            (_("Locations"), "location_on", "installations.Location"),
            (_("Chargers"), "ev_station", "installations.ChargingStation"),
            (_("Charger models"), "category", "installations.StationModel"),
            (_("Hardware units"), "memory", "installations.HardwareUnit"),
            (_("Commands"), "terminal", "installations.Command"),
            (_("Connections"), "cable", "installations.ConnectionInterval"),
            (_("Refused connections"), "link_off", "ocpp.HandshakeRefusal"),
            (_("Quarantined messages"), "report", "ocpp.QuarantinedFrame"),
        ],
    ),
    (
        _("Sessions"),
        [
            (_("Sessions"), "bolt", "charging.Session"),
            (_("Review"), "fact_check", "charging.ReviewItem"),
            (_("On the way to a price"), "hourglass_top", "charging.Settlement"),
            (_("CDRs"), "receipt", "charging.Cdr"),
            (_("Card answers"), "rule", "charging.Authorisation"),
        ],
    ),
    (
        _("Cards"),
        [
            (_("Cards"), "credit_card", "cards.Token"),
            (_("Card orders"), "local_shipping", "cards.CardOrder"),
        ],
    ),
    (
        _("Prices"),
        [
            (_("Tariffs"), "sell", "tariffs.Tariff"),
            (_("VAT rates"), "percent", "tariffs.VatRate"),
        ],
    ),
    (
        _("Customers"),
        [
            (_("Contracts"), "contract", "contracts.Contract"),
            (_("Billing accounts"), "account_balance_wallet", "contracts.BillingAccount"),
            (_("Parties"), "handshake", "contracts.Party"),
            (_("Organisations"), "apartment", "accounts.Organisation"),
            (_("People"), "group", "accounts.Membership"),
            (_("Invitations"), "mail", "accounts.Invitation"),
        ],
    ),
    (
        _("Billing"),
        [
            (_("Billing runs"), "calendar_month", "billing.BillingRun"),
            (_("Invoices"), "receipt_long", "billing.Invoice"),
        ],
    ),
    (
        _("Settings"),
        [
            (_("Brands"), "palette", "accounts.Brand"),
            (_("Sellers"), "storefront", "accounts.Seller"),
            (_("API keys"), "key", "accounts.ApiKey"),
            (_("Charger URL keys"), "vpn_key", "ocpp.OperatorKey"),
            (_("E-mails"), "outgoing_mail", "notifications.Mail"),
            (_("Audit trail"), "history", "accounts.AuditEntry"),
        ],
    ),
    (
        _("Platform"),
        [
            (_("Operators"), "domain", "accounts.Operator"),
            (_("Users"), "person", "accounts.User"),
            (_("Unknown operator keys"), "block", "ocpp.StrangerRefusal"),
            (_("Gateways"), "dns", "ocpp.GatewayLease"),
            (_("Schedules"), "schedule", "django_q.Schedule"),
            (_("Queued tasks"), "queue", "django_q.OrmQ"),
            (_("Finished tasks"), "task_alt", "django_q.Success"),
            (_("Failed tasks"), "error", "django_q.Failure"),
        ],
    ),
]
# Pages that are reached from a charger's own.
ELSEWHERE = frozenset({"installations.EVSE", "installations.Connector", "installations.Boot"})
_ICONS = {label: icon for _title, pages in GROUPS for _name, icon, label in pages}


@dataclass(frozen=True, slots=True)
class Step:
    """One of the three first steps. State: done, next, or later."""

    title: Any
    text: Any
    state: str
    link: str | None


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """The theme's `SIDEBAR.navigation`: groups with the pages that this user may open."""
    groups: list[dict[str, Any]] = [
        {"title": None, "items": [{"title": HOME, "icon": "space_dashboard", "link": reverse("admin:index")}]}
    ]
    for title, pages in GROUPS:
        items = [page for page in (_page(request, *one) for one in pages) if page]
        if items:
            groups.append({"title": title, "items": items, "separator": True})
    return groups


def account_links(request: HttpRequest) -> list[dict[str, Any]]:
    """What the user's own menu holds beside the theme switch and signing out."""
    links = [("account_change_password", _("Change password")), ("mfa_index", _("Second factor"))]
    return [{"title": title, "link": reverse(name)} for name, title in links]


def icon_of(model: type[Model]) -> str:
    return _ICONS.get(model._meta.label, "tag")


def operator_context(request: HttpRequest) -> dict[str, Any]:
    """`operator`: the one chosen, or None; `can_switch`: whether there are others to choose from."""
    if not isinstance(request.user, User):
        return {}
    chosen = next((one for one in request.operators if one.pk == request.actor.operator_id), None)
    return {"operator": chosen, "can_switch": len(request.operators) > 1}


def start_steps(request: HttpRequest) -> list[Step]:
    """The first steps; empty for those who may not take them."""
    steps: list[Step] = []
    wanted: list[tuple[type[Model], Any, Any]] = [
        (Location, _("Add a location"), _("A place with chargers: its address, time zone and host.")),
        (ChargingStation, _("Add a charger"), _("You get the URL, identity and key with which it connects.")),
        (Token, _("Add cards"), _("Drivers authorise with them at your chargers.")),
    ]
    for model, title, text in wanted:
        if not admin.site.is_registered(model):
            continue
        model_admin = admin.site.get_model_admin(model)
        if not model_admin.has_add_permission(request):
            continue
        done = model_admin.get_queryset(request).exists()
        state = "done" if done else "later" if any(step.state != "done" for step in steps) else "next"
        link = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{'changelist' if done else 'add'}")
        steps.append(Step(title, text, state, link))
    return steps


def _page(request: HttpRequest, title: Any, icon: str, label: str) -> dict[str, Any] | None:
    model, link = _list_of(label)
    if model is None or not admin.site.get_model_admin(model).has_view_permission(request):
        return None
    return {"title": title, "icon": icon, "link": link}


@cache
def _list_of(label: str) -> tuple[type[Model] | None, str]:
    """A model and its list, both the same for everybody; nothing if it has none."""
    model = apps.get_model(label)
    if not admin.site.is_registered(model):
        return None, ""
    return model, reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
