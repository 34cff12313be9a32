"""Filters of the back office's lists of chargers and commands."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from apps.core.admin import ColumnFilter, DropdownFilter
from apps.installations.commands import RULES
from apps.installations.models import ConnectorState, ConnectorStatus
from apps.installations.selectors import Condition


class OnlineFilter(DropdownFilter):
    title = _("connection")
    parameter_name = "online"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", gettext("Online")), ("no", gettext("Offline")), ("never", gettext("Never connected"))]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        if self.value() == "yes":
            return queryset.filter(state__online=True)
        if self.value() == "no":
            return queryset.filter(state__online=False).exclude(state__connected_at=None)
        return queryset.filter(state__connected_at=None) if self.value() == "never" else queryset


class ConditionFilter(ColumnFilter):
    title = _("state")
    parameter_name = "condition"
    column = "condition"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, str(label)) for value, label in Condition.choices]


class ConnectorStatusFilter(DropdownFilter):
    title = _("status of a connector")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, str(label)) for value, label in ConnectorStatus.choices]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        if self.value() not in ConnectorStatus.values:
            return queryset
        connectors = ConnectorState.objects.visible_to(request.actor).filter(
            connector__archived_at=None, status=self.value()
        )
        having = connectors.values("connector__station")
        return queryset.filter(Q(state__status=self.value()) | Q(pk__in=having))


class ActionFilter(ColumnFilter):
    title = _("action")
    parameter_name = "command"
    column = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, str(rule.title)) for name, rule in RULES.items()]
