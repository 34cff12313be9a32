"""What the gateway keeps: keys, leases, frames, refused handshakes, quarantine."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from apps.core.models import PublicIdModel, TenantModel, known
from apps.core.querysets import TenantQuerySet
from apps.core.timeseries import TimeSeriesModel
from apps.installations.models import ChargingStation
from apps.installations.querysets import AtStationQuerySet


class OperatorKey(TenantModel):
    """The operator's part of the charger URL: short, not guessable; several may be valid while chargers are moved."""

    key = models.CharField(_("key"), max_length=16, unique=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    valid_until = models.DateTimeField(_("valid until"), null=True, blank=True)

    objects = TenantQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("charger URL key")
        verbose_name_plural = _("charger URL keys")

    def __str__(self) -> str:
        return self.key


class StationKey(TenantModel):
    """A station's password as salted keyed BLAKE2b; several may be valid while it is rotated."""

    station = models.ForeignKey(
        ChargingStation, on_delete=models.PROTECT, related_name="keys", verbose_name=_("charger")
    )
    salt = models.BinaryField(max_length=16, editable=False)
    digest = models.BinaryField(max_length=32, editable=False)
    pepper_version = models.PositiveSmallIntegerField(editable=False)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    valid_until = models.DateTimeField(_("valid until"), null=True, blank=True)
    last_used_at = models.DateTimeField(_("last used at"), null=True, editable=False)

    objects = AtStationQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("charger key")
        verbose_name_plural = _("charger keys")

    def __str__(self) -> str:
        return f"{self.station} {self.created_at:%Y-%m-%d}"


class GatewayLease(models.Model):
    """A running gateway process. Without a beat for 20 s its stations are offline (contract G11)."""

    name = models.CharField(_("name"), max_length=64, primary_key=True)
    host = models.CharField(_("host"), max_length=120)
    pid = models.PositiveIntegerField(_("process"))
    started_at = models.DateTimeField(_("started at"))
    beat_at = models.DateTimeField(_("last beat"))

    class Meta:
        verbose_name = _("gateway")
        verbose_name_plural = _("gateways")

    def __str__(self) -> str:
        return self.name


class BatchMark(models.Model):
    """The last committed batch of a lane, written in its transaction: a repeat whose own id stands here was committed
    (contract G8)."""

    lane = models.CharField(max_length=80, primary_key=True)
    batch = models.UUIDField()

    class Meta:
        verbose_name = _("batch")
        verbose_name_plural = _("batches")

    def __str__(self) -> str:
        return self.lane


class FrameDirection(models.TextChoices):
    IN = "in", _("from the charger")
    OUT = "out", _("to the charger")


class Frame(TimeSeriesModel):
    """One OCPP-J exchange: a CALL with its answer, secrets masked. Key: (received_at, connection, sequence)."""

    pk = models.CompositePrimaryKey("station_id", "received_at", "generation", "sequence")
    partition_by = "received_at"
    received_at = models.DateTimeField(_("at"))
    station_id = models.BigIntegerField()
    generation = models.BigIntegerField()
    sequence = models.BigIntegerField()
    operator_id = models.BigIntegerField()
    direction = models.CharField(_("direction"), max_length=3, choices=FrameDirection.choices)
    action = models.CharField(_("action"), max_length=50)
    message_id = models.CharField(_("message id"), max_length=40)
    request = models.TextField(_("request"))
    response = models.TextField(_("response"), blank=True)
    error_code = models.CharField(_("error code"), max_length=40, blank=True)
    latency_ms = models.IntegerField(_("latency (ms)"), null=True)

    objects = TenantQuerySet.as_manager()
    everything = models.Manager()

    class Meta:
        default_manager_name = "everything"
        verbose_name = _("message")
        verbose_name_plural = _("messages")


class RefusalReason(models.TextChoices):
    """Why a connection was refused, in words."""

    UNKNOWN_STATION = "unknown_station", _("This operator has no charger of this identity.")
    BAD_IDENTITY = "bad_identity", _("The identity in the URL cannot be one of a charger.")
    NO_PASSWORD = "no_password", _("The charger sent no password.")
    BAD_AUTHORIZATION = "bad_authorization", _("The charger's Authorization header is not Basic authentication.")
    OTHER_USER = "other_user", _("The user name is not the identity in the URL.")
    NO_KEY = "no_key", _("No key has been issued for this charger, or it has run out.")
    WRONG_PASSWORD = "wrong_password", _("The password is wrong.")
    NO_PROTOCOL = "no_protocol", _("The charger offers no OCPP version that Voltdesk speaks.")


# What to do about it.
REMEDIES = {
    RefusalReason.UNKNOWN_STATION: _("Adopt it here, or correct the identity in the charger."),
    RefusalReason.BAD_IDENTITY: _("Give the charger an identity of at most 48 characters without slash and colon."),
    RefusalReason.NO_PASSWORD: _("Set the key in the charger (AuthorizationKey, security profile 1 or 2)."),
    RefusalReason.BAD_AUTHORIZATION: _("Set the charger to security profile 1 or 2: user name and password."),
    RefusalReason.OTHER_USER: _("Set the charger's user name to its identity, or leave it to the charger."),
    RefusalReason.NO_KEY: _("Issue a new key and set it in the charger."),
    RefusalReason.WRONG_PASSWORD: _("Issue a new key and set it in the charger; the key is case-insensitive hex."),
    RefusalReason.NO_PROTOCOL: _("Set the charger to OCPP 1.6 JSON (subprotocol ocpp1.6)."),
}


class HandshakeRefusal(PublicIdModel, TenantModel):
    """A refused connection: who, why, what to do. One row per (operator, identity, address) with a counter."""

    identity = models.CharField(_("identity"), max_length=64)
    address = models.CharField(_("address"), max_length=64)
    station = models.ForeignKey(
        ChargingStation, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("charger")
    )
    reason = models.CharField(_("reason"), max_length=40, choices=RefusalReason)
    count = models.PositiveIntegerField(_("tries"), default=1)
    first_at = models.DateTimeField(_("first at"))
    last_at = models.DateTimeField(_("last at"))
    user_agent = models.CharField(_("user agent"), max_length=120, blank=True)

    objects = TenantQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("refused connection")
        verbose_name_plural = _("refused connections")
        permissions = [("adopt_handshakerefusal", "Can adopt unknown chargers")]
        constraints = [
            models.UniqueConstraint(fields=["operator", "identity", "address"], name="handshake_refusal_once"),
            models.CheckConstraint(condition=known("reason", RefusalReason), name="handshake_refusal_reason"),
        ]
        indexes = [models.Index(fields=["operator", "-last_at"], name="handshake_refusal_last")]

    def __str__(self) -> str:
        return f"{self.identity} ({self.address})"


class StrangerRefusal(models.Model):
    """A refused connection under a key that no operator has: no tenant, so platform staff alone see it."""

    key = models.CharField(_("key"), max_length=64)
    identity = models.CharField(_("identity"), max_length=64)
    address = models.CharField(_("address"), max_length=64)
    count = models.PositiveIntegerField(_("tries"), default=1)
    first_at = models.DateTimeField(_("first at"))
    last_at = models.DateTimeField(_("last at"))

    class Meta:
        verbose_name = _("connection without operator")
        verbose_name_plural = _("connections without operator")
        constraints = [models.UniqueConstraint(fields=["key", "identity", "address"], name="stranger_refusal_once")]

    def __str__(self) -> str:
        return f"{self.identity} ({self.address})"


class RepairCount(TenantModel):
    """How often a kind of repair was made to a station's messages (gateway contract, repair rather than refuse)."""

    station = models.ForeignKey(
        ChargingStation, on_delete=models.PROTECT, related_name="repair_counts", verbose_name=_("charger")
    )
    name = models.CharField(_("repair"), max_length=60)
    count = models.BigIntegerField(_("times"), default=0)
    last_at = models.DateTimeField(_("last at"))

    objects = AtStationQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("repaired message")
        verbose_name_plural = _("repaired messages")
        constraints = [models.UniqueConstraint(fields=["station", "name"], name="repair_count_once")]

    def __str__(self) -> str:
        return f"{self.name}: {self.count}"


class QuarantinedFrame(TenantModel):
    """A message that could not be stored as what it says; confirmed, kept as bytes (contract G7)."""

    station = models.ForeignKey(ChargingStation, on_delete=models.PROTECT, related_name="+", verbose_name=_("charger"))
    received_at = models.DateTimeField(_("received at"))
    generation = models.BigIntegerField()
    sequence = models.BigIntegerField()
    raw = models.BinaryField(_("message"))
    error = models.TextField(_("error"))

    objects = AtStationQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("quarantined message")
        verbose_name_plural = _("quarantined messages")
        constraints = [
            models.UniqueConstraint(fields=["station", "generation", "sequence"], name="quarantined_frame_once")
        ]

    def __str__(self) -> str:
        return f"{self.station_id} {self.received_at:%Y-%m-%d %H:%M}"
