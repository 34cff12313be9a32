"""What lists can be narrowed by. Related rows are named by their public ids."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.core.exceptions import ValidationError
from django_filters import rest_framework as filters
from django_filters.fields import IsoDateTimeField

from apps.billing.models import Invoice
from apps.cards.models import Token
from apps.charging.models import Cdr, ReviewItem, Session
from apps.contracts.models import Contract
from apps.installations.models import ChargingStation, Command
from apps.ocpp.models import HandshakeRefusal


class InstantField(IsoDateTimeField):
    """An instant of the years 1 to 9999 in UTC: with its offset taken off, a date at their edge lies outside."""

    def to_python(self, value: Any) -> dt.datetime | None:
        instant: dt.datetime | None = super().to_python(value)
        try:
            return instant and instant.astimezone(dt.UTC)
        except OverflowError as error:
            raise ValidationError(self.error_messages["invalid"], code="invalid") from error


class InstantFilter(filters.IsoDateTimeFilter):
    field_class = InstantField


class StationFilter(filters.FilterSet):
    location = filters.UUIDFilter("location__public_id")
    online = filters.BooleanFilter("state__online")
    identity = filters.CharFilter(lookup_expr="iexact")

    class Meta:
        model = ChargingStation
        fields = ("location", "online", "identity")


class TokenFilter(filters.FilterSet):
    uid = filters.CharFilter(lookup_expr="iexact")
    organisation = filters.UUIDFilter("organisation__public_id")

    class Meta:
        model = Token
        fields = ("uid", "state", "organisation")


class SessionFilter(filters.FilterSet):
    station = filters.UUIDFilter("station__public_id")
    location = filters.UUIDFilter("location__public_id")
    token = filters.UUIDFilter("token__public_id")
    started_from = InstantFilter("started_at", lookup_expr="gte")
    started_before = InstantFilter("started_at", lookup_expr="lt")

    class Meta:
        model = Session
        fields = ("station", "location", "token", "state", "transaction_id", "started_from", "started_before")


class ReviewItemFilter(filters.FilterSet):
    station = filters.UUIDFilter("station__public_id")
    session = filters.UUIDFilter("session__public_id")
    without_session = filters.BooleanFilter("session", lookup_expr="isnull")

    class Meta:
        model = ReviewItem
        fields = ("station", "session", "without_session", "code", "state", "blocking")


class HandshakeFilter(filters.FilterSet):
    identity = filters.CharFilter(lookup_expr="iexact")

    class Meta:
        model = HandshakeRefusal
        fields = ("identity", "reason")


class CommandFilter(filters.FilterSet):
    station = filters.UUIDFilter("station__public_id")

    class Meta:
        model = Command
        fields = ("station", "state", "action")


class ContractFilter(filters.FilterSet):
    account = filters.CharFilter("account__number")

    class Meta:
        model = Contract
        fields = ("number", "account", "currency")


class CdrFilter(filters.FilterSet):
    session = filters.UUIDFilter("session__public_id")
    token = filters.UUIDFilter("token__public_id")
    account = filters.CharFilter("account__number")
    ended_from = InstantFilter("ended_at", lookup_expr="gte")
    ended_before = InstantFilter("ended_at", lookup_expr="lt")

    class Meta:
        model = Cdr
        fields = ("session", "token", "account", "kind", "currency", "ended_from", "ended_before")


class InvoiceFilter(filters.FilterSet):
    account = filters.CharFilter("account__number")
    issued_from = filters.DateFilter("issue_date", lookup_expr="gte")
    issued_before = filters.DateFilter("issue_date", lookup_expr="lt")

    class Meta:
        model = Invoice
        fields = ("number", "account", "kind", "currency", "issued_from", "issued_before")
