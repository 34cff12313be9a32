"""Resources of API v1. Each view reads through the key's actor and makes one domain call to write."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from django.db.models import Prefetch, QuerySet
from django.utils import timezone
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins, status, viewsets
from rest_framework.decorators import action
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.selectors import operator_today
from apps.api import filters, serializers
from apps.api.authentication import ApiKeyAuthentication, HoldsScope, KeyThrottle
from apps.api.pagination import InOrder, Newest, OldestReading
from apps.api.parsers import JsonParser
from apps.billing.models import Invoice, InvoiceLine
from apps.cards import services as cards
from apps.cards.models import Token, TokenContract
from apps.charging.models import Cdr, RatedItem, ReviewItem, Session
from apps.charging.selectors import reading_counts, readings_of
from apps.contracts.models import Contract, ContractVersion
from apps.core.actor import Actor
from apps.installations import selectors as installation_selectors
from apps.installations import services as installations
from apps.installations.models import ChargingStation, Command, Connector, Location
from apps.installations.services import ConnectorSpec
from apps.ocpp import services as ocpp
from apps.ocpp.models import HandshakeRefusal
from apps.ocpp.selectors import charger_url
from apps.tariffs.models import Tariff, TariffVersion


class TenantViewSet(viewsets.GenericViewSet):
    """Rows of the key's tenant, found by public id. `scopes`: action → the permission it needs."""

    authentication_classes = (ApiKeyAuthentication,)
    permission_classes = (HoldsScope,)
    throttle_classes = (KeyThrottle,)
    parser_classes = (JsonParser,)
    renderer_classes = (JSONRenderer,)
    filter_backends = (DjangoFilterBackend,)
    pagination_class = Newest
    lookup_field = "public_id"
    lookup_value_converter = "uuid"
    model: ClassVar[Any]
    scopes: ClassVar[dict[str, str]]

    @property
    def actor(self) -> Actor:
        return cast("Actor", self.request.auth)

    def get_queryset(self) -> QuerySet[Any]:
        if getattr(self, "swagger_fake_view", False):
            return self.model.objects.none()
        return self.narrow(self.model.objects.visible_to(self.actor))

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """The joins that a page needs, so that no row costs a query."""
        return rows


class LocationViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, TenantViewSet):
    model = Location
    serializer_class = serializers.LocationSerializer
    scopes = dict.fromkeys(("list", "retrieve"), "installations.view_location")

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows.filter(archived_at=None)


@extend_schema_view(
    create=extend_schema(
        request=serializers.NewStationSerializer, responses={201: serializers.CreatedStationSerializer}
    )
)
class StationViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, TenantViewSet):
    """Chargers. Creating one answers the URL and, this once, the key with which it connects."""

    model = ChargingStation
    serializer_class = serializers.StationSerializer
    filterset_class = filters.StationFilter
    scopes = {
        "list": "installations.view_chargingstation",
        "retrieve": "installations.view_chargingstation",
        "live": "installations.view_chargingstation",
        "create": "installations.add_chargingstation",
    }

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        connectors = Connector.objects.visible_to(self.actor).filter(archived_at=None).select_related("evse")
        return (
            rows.filter(archived_at=None)
            .select_related("location", "model", "state")
            .prefetch_related(Prefetch("connectors", connectors.order_by("number")))
        )

    def create(self, request: Request) -> Response:
        new = serializers.NewStationSerializer(data=request.data, context={"request": request})
        new.is_valid(raise_exception=True)
        fields = new.validated_data
        specs = [ConnectorSpec(**one) for one in fields.pop("connectors", [])] or [ConnectorSpec(1)]
        now = timezone.now()
        made, key = ocpp.register_station(actor=self.actor, connectors=specs, now=now, **fields)
        station = self.get_queryset().get(pk=made.pk)
        station.url = charger_url(operator_id=station.operator_id, identity=station.identity, now=now)
        station.key = key
        return Response(serializers.CreatedStationSerializer(station).data, status=status.HTTP_201_CREATED)

    @extend_schema(responses=serializers.StationLiveSerializer)
    @action(detail=True)
    def live(self, request: Request, public_id: Any) -> Response:
        """Online, status by connector, clock offset, last seen."""
        state = installation_selectors.live_state(self.actor, self.get_object())
        return Response(serializers.StationLiveSerializer(state).data)


class TokenViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, TenantViewSet):
    """Cards."""

    model = Token
    serializer_class = serializers.TokenSerializer
    filterset_class = filters.TokenFilter
    scopes = {
        "list": "cards.view_token",
        "retrieve": "cards.view_token",
        "create": "cards.add_token",
        "block": "cards.block_token",
    }

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        contracts = TokenContract.objects.unscoped("of tokens that the actor sees").select_related("contract")
        return rows.select_related("organisation").prefetch_related(Prefetch("contracts", contracts))

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "day": operator_today(self.actor.operator_id)}

    def create(self, request: Request) -> Response:
        new = self.get_serializer(data=request.data)
        new.is_valid(raise_exception=True)
        token = cards.create_token(actor=self.actor, **new.validated_data)
        return Response(self.get_serializer(token).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=serializers.ReasonSerializer, responses=serializers.TokenSerializer)
    @action(detail=True, methods=["post"])
    def block(self, request: Request, public_id: Any) -> Response:
        """From the next Authorize on, the card is answered Blocked."""
        token = self.get_object()
        reason = serializers.ReasonSerializer(data=request.data)
        reason.is_valid(raise_exception=True)
        token = cards.block_token(actor=self.actor, token=token, why=reason.validated_data["why"])
        return Response(self.get_serializer(token).data)


class SessionViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, TenantViewSet):
    model = Session
    serializer_class = serializers.SessionSerializer
    filterset_class = filters.SessionFilter
    ordering = ("-started_at", "-id")
    scopes = {
        "list": "charging.view_session",
        "retrieve": "charging.view_session",
        "readings": "charging.view_reading",
    }

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        items = ReviewItem.objects.unscoped("codes of sessions that the actor sees").open()
        return rows.select_related("station", "location", "token", "live").prefetch_related(
            Prefetch("review_items", items, to_attr="open_items")
        )

    def get_serializer(self, *args: Any, **kwargs: Any) -> Any:
        """With the readings of the whole page counted at once."""
        rows = args[0] if args and kwargs.get("many") else args[:1]
        counts = reading_counts(self.actor, rows) if rows else {}
        kwargs["context"] = {**self.get_serializer_context(), "reading_counts": counts}
        return serializers.SessionSerializer(*args, **kwargs)

    @extend_schema(responses=serializers.ReadingSerializer(many=True), filters=False)
    @action(detail=True, pagination_class=OldestReading, filterset_class=None)
    def readings(self, request: Request, public_id: Any) -> Response:
        """The readings behind the session, oldest first."""
        session = self.get_object()
        page = self.paginate_queryset(readings_of(self.actor, session))
        context = {**self.get_serializer_context(), "session": session}
        return self.get_paginated_response(serializers.ReadingSerializer(page, many=True, context=context).data)


class ReviewItemViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, TenantViewSet):
    """Doubts, with or without a session."""

    model = ReviewItem
    serializer_class = serializers.ReviewItemSerializer
    filterset_class = filters.ReviewItemFilter
    ordering = ("-opened_at", "-id")
    scopes = dict.fromkeys(("list", "retrieve"), "charging.view_reviewitem")

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows.select_related("station", "session")


class HandshakeViewSet(mixins.ListModelMixin, TenantViewSet):
    """Refused connections: why, and what to do."""

    model = HandshakeRefusal
    serializer_class = serializers.HandshakeSerializer
    filterset_class = filters.HandshakeFilter
    ordering = ("-last_at", "-id")
    scopes = {"list": "ocpp.view_handshakerefusal"}

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows.select_related("station")


class CommandViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, TenantViewSet):
    """What was asked of chargers. Create one, then follow `state`, `answered_by` and `detail`."""

    model = Command
    serializer_class = serializers.CommandSerializer
    filterset_class = filters.CommandFilter
    ordering = ("-created_at", "-id")
    scopes = {
        "list": "installations.view_command",
        "retrieve": "installations.view_command",
        "create": "installations.command_chargingstation",
    }

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows.select_related("station")

    def create(self, request: Request) -> Response:
        new = self.get_serializer(data=request.data)
        new.is_valid(raise_exception=True)
        command = installations.request_command(actor=self.actor, now=timezone.now(), **new.validated_data)
        return Response(self.get_serializer(command).data, status=status.HTTP_202_ACCEPTED)


class TariffViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, TenantViewSet):
    """Tariffs with their published versions, the newest first."""

    model = Tariff
    serializer_class = serializers.TariffSerializer
    scopes = dict.fromkeys(("list", "retrieve"), "tariffs.view_tariff")

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        versions = TariffVersion.objects.visible_to(self.actor).published().order_by("-valid_from", "-number")
        return rows.active().prefetch_related(Prefetch("versions", versions, to_attr="published_versions"))


class ContractViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, TenantViewSet):
    """Contracts with their versions, the newest first."""

    model = Contract
    serializer_class = serializers.ContractSerializer
    filterset_class = filters.ContractFilter
    scopes = dict.fromkeys(("list", "retrieve"), "contracts.view_contract")

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        versions = ContractVersion.objects.visible_to(self.actor).select_related("tariff")
        newest = versions.order_by("-valid_from", "-number")
        return rows.select_related("account").prefetch_related(Prefetch("versions", newest))


class CdrViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, TenantViewSet):
    """Sessions with their prices, and credits. Nothing here ever changes."""

    model = Cdr
    serializer_class = serializers.CdrSerializer
    filterset_class = filters.CdrFilter
    ordering = ("-ended_at", "-id")
    scopes = dict.fromkeys(("list", "retrieve"), "charging.view_cdr")

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        items = RatedItem.objects.visible_to(self.actor).order_by("pk")
        related = ("session", "credits", "token", "contract_version__contract", "tariff_version")
        return rows.select_related(*related).prefetch_related(Prefetch("items", items))


class InvoiceViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, TenantViewSet):
    """Final invoices and credit notes."""

    model = Invoice
    serializer_class = serializers.InvoiceSerializer
    filterset_class = filters.InvoiceFilter
    ordering = ("-finalised_at", "-id")
    scopes = dict.fromkeys(("list", "retrieve", "lines"), "billing.view_invoice")

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows.final().select_related("account", "cancels").defer("snapshot", "cancels__snapshot")

    @extend_schema(responses=serializers.InvoiceLineSerializer(many=True), filters=False)
    @action(detail=True, pagination_class=InOrder, filterset_class=None)
    def lines(self, request: Request, public_id: Any) -> Response:
        """What it bills, in its order."""
        rows = InvoiceLine.objects.visible_to(self.actor).filter(invoice=self.get_object()).select_related("cdr")
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(serializers.InvoiceLineSerializer(page, many=True).data)
