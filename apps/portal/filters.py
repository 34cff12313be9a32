"""Filters of the portal's lists; they live in the URL."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import django_filters as filters
from django import forms
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from apps.accounts.permissions import ORGANISATION_ROLES, Role
from apps.cards.models import TokenContract
from apps.charging.models import SessionState, SettlementState
from apps.installations.models import Location
from apps.portal import selectors
from apps.reports.selectors import SEES_PRICES, own_cards

_SEARCH = forms.TextInput({"type": "search"})
_DAY = forms.DateInput({"type": "date"}, format="%Y-%m-%d")


def _own_locations(request: Any) -> QuerySet[Location]:
    return selectors.visible_locations(request.actor)


class LocationFilter(filters.FilterSet):
    q = filters.CharFilter(label=_("Search by name or town"), method="search", widget=_SEARCH)

    def search(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return rows.filter(Q(name__icontains=value) | Q(city__icontains=value))


class StationFilter(filters.FilterSet):
    q = filters.CharFilter(label=_("Search by name or identity"), method="search", widget=_SEARCH)
    health = filters.ChoiceFilter(label=_("State"), choices=list(selectors.HEALTH.items()), empty_label=_("all"))
    location = filters.ModelChoiceFilter(
        label=_("Location"), queryset=_own_locations, to_field_name="public_id", empty_label=_("all")
    )

    def search(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return rows.filter(Q(name__icontains=value) | Q(identity__icontains=value))


class CardFilter(filters.FilterSet):
    q = filters.CharFilter(label=_("Search by name, number or driver"), method="search", widget=_SEARCH)
    state = filters.ChoiceFilter(
        label=_("State"), choices=list(selectors.CARD_STATES.items()), method="by_state", empty_label=_("all")
    )
    contract = filters.ChoiceFilter(
        label=_("Contract"),
        choices=[("yes", _("with a contract")), ("no", _("without a contract"))],
        method="by_contract",
        empty_label=_("all"),
    )

    def search(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        named = Q(label__icontains=value) | Q(visual_number__icontains=value) | Q(uid__icontains=value)
        return rows.filter(named | Q(holder__name__icontains=value) | Q(holder__email__icontains=value))

    def by_state(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        expired = Q(state="active", expires_at__lte=timezone.now())
        if value == selectors.EXPIRED:
            return rows.filter(expired)
        return rows.filter(~expired, state=value)

    def by_contract(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        today = timezone.now().astimezone(ZoneInfo(self.request.brand.operator.time_zone)).date()
        bound = Exists(
            TokenContract.objects.visible_to(self.request.actor).in_force(today).filter(token=OuterRef("pk"))
        )
        return rows.filter(bound if value == "yes" else ~bound)


class InvoiceFilter(filters.FilterSet):
    """`since` and `until` are dates of issue, both included."""

    q = filters.CharFilter(label=_("Search by number or addressee"), method="search", widget=_SEARCH)
    kind = filters.ChoiceFilter(
        label=_("Kind"),
        choices=[("invoice", _("invoice")), ("cancelled", _("cancelled invoice")), ("credit_note", _("credit note"))],
        method="by_kind",
        empty_label=_("all"),
    )
    since = filters.DateFilter(label=_("From"), field_name="issue_date", lookup_expr="gte", widget=_DAY)
    until = filters.DateFilter(label=_("To"), field_name="issue_date", lookup_expr="lte", widget=_DAY)

    def search(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return rows.filter(Q(number__icontains=value) | Q(addressee__icontains=value))

    def by_kind(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        if value == "credit_note":
            return rows.filter(kind=value)
        return rows.filter(kind="invoice", credit_note__isnull=value == "invoice")


class PersonFilter(filters.FilterSet):
    q = filters.CharFilter(label=_("Search by name or e-mail"), method="search", widget=_SEARCH)
    role = filters.ChoiceFilter(
        label=_("Role"),
        choices=[(one.value, one.label) for one in Role if one in ORGANISATION_ROLES],
        empty_label=_("all"),
    )

    def search(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return rows.filter(Q(user__name__icontains=value) | Q(user__email__icontains=value))


class InvitationFilter(filters.FilterSet):
    q = filters.CharFilter(label=_("Search by e-mail"), field_name="email", lookup_expr="icontains", widget=_SEARCH)


class SessionFilter(filters.FilterSet):
    """`since` and `until` are days on which sessions began, both included, in the operator's time zone."""

    state = filters.ChoiceFilter(label=_("State"), choices=SessionState.choices, empty_label=_("all"))
    price = filters.ChoiceFilter(
        label=_("Price"),
        choices=[one for one in SettlementState.choices if one[0] != SettlementState.VOID],
        method="by_price",
        empty_label=_("all"),
    )
    location = filters.ModelChoiceFilter(
        label=_("Location"), queryset=_own_locations, to_field_name="public_id", empty_label=_("all")
    )
    since = filters.DateFilter(label=_("From"), method="from_day", widget=_DAY)
    until = filters.DateFilter(label=_("To"), method="to_day", widget=_DAY)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not selectors.sees_prices(self.request.actor):
            del self.filters["price"]

    def by_price(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        own = rows.filter(own_cards(self.request.actor, SEES_PRICES))
        if value == SettlementState.WAITING:
            return own.filter(Q(settlement__state=value) | Q(settlement=None), state=SessionState.ENDED)
        return own.filter(settlement__state=value)

    def from_day(self, rows: QuerySet[Any], name: str, value: dt.date) -> QuerySet[Any]:
        return rows.filter(started_at__gte=self._midnight(value))

    def to_day(self, rows: QuerySet[Any], name: str, value: dt.date) -> QuerySet[Any]:
        if value == dt.date.max:
            return rows
        return rows.filter(started_at__lt=self._midnight(value + dt.timedelta(days=1)))

    def _midnight(self, day: dt.date) -> dt.datetime:
        zone = ZoneInfo(self.request.brand.operator.time_zone)
        return dt.datetime.combine(max(day, dt.date(1970, 1, 2)), dt.time(), zone)
