"""Shapes of the API. Energy is Wh, power W, times UTC; ids are public UUIDs."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.accounts.models import Organisation
from apps.billing.models import Invoice, InvoiceLine
from apps.cards.models import Token, TokenType
from apps.charging.models import Cdr, RatedItem, Reading, ReviewItem, Session
from apps.charging.selectors import is_own_card, is_own_place
from apps.contracts.models import Contract, ContractVersion
from apps.installations.models import ChargingStation, Command, Connector, Location, StationModel
from apps.ocpp.models import REMEDIES, HandshakeRefusal, RefusalReason
from apps.tariffs.models import Tariff, TariffVersion


class VisibleField(serializers.SlugRelatedField):
    """A related row by its public id, among those that the key's actor sees: any other does not exist."""

    def __init__(self, model: Any, **kwargs: Any) -> None:
        self.model = model
        super().__init__(slug_field="public_id", queryset=model.objects, **kwargs)

    def get_queryset(self) -> Any:
        return self.model.objects.visible_to(self.context["request"].auth)

    def to_representation(self, obj: Any) -> str:
        return str(obj.public_id)


class ConnectorSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="public_id", read_only=True)
    evse = serializers.IntegerField(source="evse.number", read_only=True)

    class Meta:
        model = Connector
        fields = (
            *("id", "number", "evse", "number_in_evse", "standard", "format", "power_type"),
            *("max_voltage_v", "max_current_a", "max_power_w", "found_at"),
        )
        read_only_fields = fields


class LocationSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="public_id", read_only=True)

    class Meta:
        model = Location
        fields = (
            *("id", "name", "street", "postal_code", "city", "country", "latitude", "longitude", "time_zone"),
            *("opening_hours", "publish"),
        )
        read_only_fields = fields
        extra_kwargs = {
            "opening_hours": {"help_text": 'OCPI Hours: {"twentyfourseven": true} or {"regular_hours": […]}, or empty'}
        }


class NewConnectorSerializer(serializers.Serializer):
    number = serializers.IntegerField(min_value=1, max_value=99)
    evse = serializers.IntegerField(min_value=1, max_value=99, required=False)
    standard = serializers.ChoiceField(Connector.Standard.choices, default=Connector.Standard.TYPE_2)
    format = serializers.ChoiceField(Connector.Format.choices, default=Connector.Format.SOCKET)
    power_type = serializers.ChoiceField(Connector.PowerType.choices, default=Connector.PowerType.AC_3)
    max_voltage_v = serializers.IntegerField(min_value=1, max_value=1500, default=400)
    max_current_a = serializers.IntegerField(min_value=1, max_value=3000, default=32)
    max_power_w = serializers.IntegerField(min_value=1, max_value=4_000_000, default=22_000)


class NewStationSerializer(serializers.Serializer):
    identity = serializers.CharField(max_length=48)
    name = serializers.CharField(max_length=80, default="", allow_blank=True)
    location = VisibleField(Location)
    connectors = NewConnectorSerializer(many=True, required=False)
    why = serializers.CharField(
        max_length=300, default="", allow_blank=True, help_text="Kept in the history with the key that is issued."
    )


class StationSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="public_id", read_only=True)
    location = serializers.UUIDField(source="location.public_id", read_only=True)
    model = serializers.SerializerMethodField()
    online = serializers.BooleanField(source="state.online", read_only=True)
    last_seen_at = serializers.DateTimeField(source="state.last_seen_at", read_only=True)
    connectors = ConnectorSerializer(many=True, read_only=True)

    class Meta:
        model = ChargingStation
        fields = ("id", "identity", "name", "location", "model", "online", "last_seen_at", "connectors", "created_at")
        read_only_fields = fields

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_model(self, station: ChargingStation) -> str | None:
        model: StationModel | None = station.model
        return str(model) if model is not None else None


class CreatedStationSerializer(StationSerializer):
    """What creating a station tells, once: where the charger connects and with which key."""

    url = serializers.CharField(read_only=True, help_text="The websocket URL to set in the charger.")
    key = serializers.CharField(read_only=True, help_text="The charger's password. It is shown this once.")

    class Meta:
        model = ChargingStation
        fields = (*StationSerializer.Meta.fields, "url", "key")


class ConnectorLiveSerializer(serializers.Serializer):
    number = serializers.IntegerField(help_text="0 is the station itself.")
    status = serializers.CharField()
    since = serializers.DateTimeField(allow_null=True)
    error_code = serializers.CharField()
    error_info = serializers.CharField()


class StationLiveSerializer(serializers.Serializer):
    online = serializers.BooleanField()
    connected_at = serializers.DateTimeField(allow_null=True)
    disconnected_at = serializers.DateTimeField(allow_null=True)
    last_seen_at = serializers.DateTimeField(allow_null=True)
    booted_at = serializers.DateTimeField(allow_null=True)
    clock_offset_s = serializers.FloatField(allow_null=True, help_text="How far its clock is ahead; null: not known.")
    connectors = ConnectorLiveSerializer(many=True)


class TokenSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="public_id", read_only=True)
    uid = serializers.CharField(max_length=36, allow_null=True, help_text="Null while an ordered card is not sent.")
    organisation = VisibleField(Organisation, required=False, allow_null=True)
    type = serializers.ChoiceField(TokenType.choices, default=TokenType.RFID)
    contract = serializers.SerializerMethodField(help_text="The contract that covers the card today; null: none.")

    class Meta:
        model = Token
        fields = (
            *("id", "uid", "type", "byte_order", "visual_number", "label", "organisation", "state", "expires_at"),
            *("contract", "created_at"),
        )
        read_only_fields = ("state", "created_at")

    @extend_schema_field(serializers.UUIDField(allow_null=True))
    def get_contract(self, token: Token) -> str | None:
        day = self.context["day"]
        current = (one.contract for one in token.contracts.all() if one.covers(day) and one.contract.covers(day))
        return next((str(contract.public_id) for contract in current), None)


class ReasonSerializer(serializers.Serializer):
    why = serializers.CharField(max_length=300)


class SessionSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="public_id", read_only=True)
    station = serializers.UUIDField(source="station.public_id", read_only=True)
    location = serializers.UUIDField(source="location.public_id", read_only=True)
    token = serializers.UUIDField(source="token.public_id", read_only=True, allow_null=True, default=None)
    energy_wh = serializers.SerializerMethodField()
    power_w = serializers.IntegerField(source="live.power_w", read_only=True, allow_null=True)
    soc_percent = serializers.IntegerField(source="live.soc_percent", read_only=True, allow_null=True)
    review_codes = serializers.SerializerMethodField()
    settled = serializers.SerializerMethodField(help_text="False while an open blocking review item holds it back.")
    readings = serializers.SerializerMethodField(help_text="How many readings are stored.")

    class Meta:
        model = Session
        fields = (
            *("id", "station", "location", "connector_number", "token", "uid", "protocol", "transaction_id", "state"),
            *("authorisation_status", "authorisation_reason", "free_by_policy", "started_at", "started_sent"),
            *("meter_start_wh", "ended_at", "ended_sent", "meter_stop_wh", "energy_wh", "stop_reason"),
            *("power_w", "soc_percent", "start_offset_s", "stop_offset_s", "review_codes", "settled", "readings"),
        )
        read_only_fields = fields

    def to_representation(self, session: Session) -> dict[str, Any]:
        """A foreign card at an own place keeps its UID and driver, an own card elsewhere the station, to itself."""
        shown: dict[str, Any] = super().to_representation(session)
        actor = self.context["request"].auth
        if not is_own_card(actor, session):
            shown |= {"token": None, "uid": "", "soc_percent": None}
        if not is_own_place(actor, session):
            shown |= {"station": None, "connector_number": None, "transaction_id": None}
        return shown

    @extend_schema_field(serializers.IntegerField(allow_null=True))
    def get_energy_wh(self, session: Session) -> int | None:
        if session.energy_wh is not None:
            return session.energy_wh
        return session.live.energy_wh if session.live.register_wh is not None else None

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_review_codes(self, session: Session) -> list[str]:
        return sorted(item.code for item in session.open_items)

    def get_settled(self, session: Session) -> bool:
        return session.state == "ended" and not any(item.blocking for item in session.open_items)

    def get_readings(self, session: Session) -> int:
        counts: dict[int, int] = self.context["reading_counts"]
        return counts.get(session.pk, 0)


class ReadingSerializer(serializers.ModelSerializer):
    class Meta:
        model = Reading
        fields = (
            *("at", "received_at", "connector_number", "context", "register_wh", "power_w", "current_a", "voltage_v"),
            *("soc_percent", "notes"),
        )
        read_only_fields = fields

    def to_representation(self, reading: Reading) -> dict[str, Any]:
        """What its session keeps to itself: the battery of a foreign card's car, the connector of a foreign place."""
        shown: dict[str, Any] = super().to_representation(reading)
        actor, session = self.context["request"].auth, self.context["session"]
        if not is_own_card(actor, session):
            shown["soc_percent"] = None
        if not is_own_place(actor, session):
            shown["connector_number"] = None
        return shown


class ReviewItemSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="public_id", read_only=True)
    station = serializers.UUIDField(source="station.public_id", read_only=True, allow_null=True, default=None)
    session = serializers.UUIDField(source="session.public_id", read_only=True, allow_null=True, default=None)
    description = serializers.CharField(source="get_code_display", read_only=True)

    class Meta:
        model = ReviewItem
        fields = (
            *("id", "code", "description", "station", "session", "blocking", "state", "evidence", "opened_at"),
            *("resolution", "resolved_at", "why"),
        )
        read_only_fields = fields


class HandshakeSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="public_id", read_only=True)
    station = serializers.UUIDField(source="station.public_id", read_only=True, allow_null=True, default=None)
    why = serializers.SerializerMethodField()
    what_to_do = serializers.SerializerMethodField()

    class Meta:
        model = HandshakeRefusal
        fields = (
            *("id", "identity", "address", "station", "reason", "why", "what_to_do", "count", "first_at", "last_at"),
            "user_agent",
        )
        read_only_fields = fields

    def get_why(self, refusal: HandshakeRefusal) -> str:
        return str(RefusalReason(refusal.reason).label)

    def get_what_to_do(self, refusal: HandshakeRefusal) -> str:
        return str(REMEDIES[RefusalReason(refusal.reason)])


class CommandSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="public_id", read_only=True)
    station = VisibleField(ChargingStation)
    why = serializers.CharField(max_length=300, required=False, allow_blank=True, default="")
    payload = serializers.DictField(required=False, default=dict)

    class Meta:
        model = Command
        fields = (
            *("id", "station", "action", "payload", "why", "actor", "state", "answered_by", "detail", "answer"),
            *("created_at", "deadline_at", "sent_at", "answered_at", "finished_at"),
        )
        read_only_fields = (
            *("actor", "state", "answered_by", "detail", "answer"),
            *("created_at", "deadline_at", "sent_at", "answered_at", "finished_at"),
        )


class TariffVersionSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="public_id", read_only=True)

    class Meta:
        model = TariffVersion
        fields = (
            *("id", "number", "valid_from", "price_basis", "elements", "fee_after_minutes", "published_at"),
            "sha256",
        )
        read_only_fields = fields


class TariffSerializer(serializers.ModelSerializer):
    """Elements have OCPI's shape (2.2.1, 11.4.4); prices are text, net, with a VAT class."""

    id = serializers.UUIDField(source="public_id", read_only=True)
    versions = TariffVersionSerializer(source="published_versions", many=True, read_only=True)

    class Meta:
        model = Tariff
        fields = ("id", "name", "currency", "versions", "created_at")
        read_only_fields = fields


class ContractVersionSerializer(serializers.ModelSerializer):
    id = serializers.UUIDField(source="public_id", read_only=True)
    tariff = serializers.UUIDField(source="tariff.public_id", read_only=True)

    class Meta:
        model = ContractVersion
        fields = ("id", "number", "valid_from", "tariff", "base_fee")
        read_only_fields = fields


class ContractSerializer(serializers.ModelSerializer):
    """The version that holds on a day is the one with the latest `valid_from` up to it; of two, the higher number."""

    id = serializers.UUIDField(source="public_id", read_only=True)
    account = serializers.CharField(source="account.number", read_only=True, help_text="Customer number.")
    customer = serializers.CharField(source="account.name", read_only=True)
    versions = ContractVersionSerializer(many=True, read_only=True)

    class Meta:
        model = Contract
        fields = ("id", "number", "name", "account", "customer", "currency", "starts_on", "ends_on", "versions")
        read_only_fields = fields


class RatedItemSerializer(serializers.ModelSerializer):
    class Meta:
        model = RatedItem
        fields = ("dimension", "quantity", "billed", "exact", "amount", "vat_class", "vat_percent", "periods")
        read_only_fields = fields


class CdrSerializer(serializers.ModelSerializer):
    """A session with its price, net. A `credit` takes back the CDR that it names in `credits`."""

    id = serializers.UUIDField(source="public_id", read_only=True)
    session = serializers.UUIDField(source="session.public_id", read_only=True)
    credits = serializers.UUIDField(source="credits.public_id", read_only=True, allow_null=True, default=None)
    token = serializers.UUIDField(source="token.public_id", read_only=True)
    contract = serializers.UUIDField(source="contract_version.contract.public_id", read_only=True)
    tariff_version = serializers.UUIDField(source="tariff_version.public_id", read_only=True)
    items = RatedItemSerializer(many=True, read_only=True)

    class Meta:
        model = Cdr
        fields = (
            *("id", "kind", "version", "credits", "session", "token", "contract", "tariff_version", "place", "card"),
            *("started_at", "ended_at", "energy_wh", "charging_s", "parking_s", "meter_start_wh", "meter_stop_wh"),
            *("interpolated", "country", "supplied_on", "currency", "total", "items", "explanation", "evidence"),
            "created_at",
        )
        read_only_fields = fields

    def to_representation(self, cdr: Cdr) -> dict[str, Any]:
        """An own card elsewhere keeps the station to itself, as its session does."""
        shown: dict[str, Any] = super().to_representation(cdr)
        if not is_own_place(self.context["request"].auth, cdr.session):
            shown["place"] = {name: value for name, value in cdr.place.items() if name not in ("station", "connector")}
        return shown


class InvoiceLineSerializer(serializers.ModelSerializer):
    cdr = serializers.UUIDField(source="cdr.public_id", read_only=True, allow_null=True, default=None)

    class Meta:
        model = InvoiceLine
        fields = (
            *("position", "kind", "cdr", "since", "until", "text", "quantity", "unit", "net", "vat_class"),
            *("vat_percent", "country"),
        )
        read_only_fields = fields


class InvoiceSerializer(serializers.ModelSerializer):
    """A final invoice, or a credit note that takes back the invoice that it names in `cancels`."""

    id = serializers.UUIDField(source="public_id", read_only=True)
    account = serializers.CharField(source="account.number", read_only=True, help_text="Customer number.")
    cancels = serializers.UUIDField(source="cancels.public_id", read_only=True, allow_null=True, default=None)

    class Meta:
        model = Invoice
        fields = (
            *("id", "kind", "number", "issue_date", "period_from", "period_to", "account", "country", "currency"),
            *("net", "vat", "gross", "cancels", "sha256", "finalised_at"),
        )
        read_only_fields = fields
