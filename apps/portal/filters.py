"""Filters of the portal's lists; they live in the URL."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import django_filters as filters
from django import forms
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _

from apps.accounts.permissions import ORGANISATION_ROLES, Role
from apps.charging.models import SessionState
from apps.installations.models import Location
from apps.portal import selectors

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
    """`from` and `to` are days, both included, in the operator's time zone."""

    state = filters.ChoiceFilter(label=_("State"), choices=SessionState.choices, empty_label=_("all"))
    location = filters.ModelChoiceFilter(
        label=_("Location"), queryset=_own_locations, to_field_name="public_id", empty_label=_("all")
    )
    since = filters.DateFilter(label=_("From"), method="from_day", widget=_DAY)
    until = filters.DateFilter(label=_("To"), method="to_day", widget=_DAY)

    def from_day(self, rows: QuerySet[Any], name: str, value: dt.date) -> QuerySet[Any]:
        return rows.filter(started_at__gte=self._midnight(value))

    def to_day(self, rows: QuerySet[Any], name: str, value: dt.date) -> QuerySet[Any]:
        if value == dt.date.max:
            return rows
        return rows.filter(started_at__lt=self._midnight(value + dt.timedelta(days=1)))

    def _midnight(self, day: dt.date) -> dt.datetime:
        zone = ZoneInfo(self.request.brand.operator.time_zone)
        return dt.datetime.combine(max(day, dt.date(1970, 1, 2)), dt.time(), zone)
