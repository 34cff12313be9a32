"""Locations and what stands there. Live columns never share a row with edited ones: `StationState` and `ConnectorState`
are written by the gateway's batches alone."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import Organisation, Seller, country_code
from apps.core.models import ArchivableModel, PublicIdModel, TenantModel, known
from apps.core.querysets import TenantQuerySet
from apps.core.timeseries import TimeSeriesModel
from apps.installations.querysets import (
    AtLocationQuerySet,
    AtStationQuerySet,
    ConnectorStateQuerySet,
    LocationQuerySet,
    StationQuerySet,
)


class UnknownCardPolicy(models.TextChoices):
    """What a location does with a card that nobody here knows."""

    REFUSE = "refuse", _("refuse")
    ACCEPT_FREE = "accept_free", _("accept, free of charge")
    ACCEPT_REVIEW = "accept_review", _("accept and review")


class Location(PublicIdModel, ArchivableModel, TenantModel):
    """A place with chargers (OCPI 2.2.1 8.3.1)."""

    name = models.CharField(_("name"), max_length=120)
    street = models.CharField(_("street"), max_length=120)
    postal_code = models.CharField(_("postal code"), max_length=16, blank=True)
    city = models.CharField(_("city"), max_length=80)
    country = models.CharField(
        _("country"), max_length=2, validators=[country_code], help_text=_("ISO 3166-1, two letters")
    )
    latitude = models.DecimalField(
        _("latitude"),
        max_digits=9,
        decimal_places=6,
        null=True,
        blank=True,
        validators=[MinValueValidator(-90), MaxValueValidator(90)],
    )
    longitude = models.DecimalField(
        _("longitude"),
        max_digits=9,
        decimal_places=6,
        null=True,
        blank=True,
        validators=[MinValueValidator(-180), MaxValueValidator(180)],
    )
    time_zone = models.CharField(_("time zone"), max_length=64, default="Europe/Berlin")
    opening_hours = models.JSONField(
        _("opening hours"),
        default=dict,
        blank=True,
        help_text=_('OCPI Hours: {"twentyfourseven": true} or {"regular_hours": […]}'),
    )
    publish = models.BooleanField(_("publish"), default=False, help_text=_("Show this location to roaming partners."))
    host = models.ForeignKey(
        Organisation, on_delete=models.PROTECT, null=True, blank=True, related_name="locations", verbose_name=_("host")
    )
    seller = models.ForeignKey(
        Seller, on_delete=models.PROTECT, null=True, blank=True, related_name="locations", verbose_name=_("seller")
    )
    unknown_cards = models.CharField(
        _("unknown cards"), max_length=20, choices=UnknownCardPolicy.choices, default=UnknownCardPolicy.REFUSE
    )

    objects = LocationQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("location")
        verbose_name_plural = _("locations")
        constraints = [
            models.UniqueConstraint(
                "operator",
                Lower("name"),
                condition=Q(archived_at=None),
                name="location_name_once",
                violation_error_message=_("There is a location of this name already."),
            ),
            models.CheckConstraint(condition=known("unknown_cards", UnknownCardPolicy), name="location_unknown_cards"),
        ]

    def __str__(self) -> str:
        return self.name


class Contact(TenantModel):
    """Who does what at a location, and whom to call."""

    class Task(models.TextChoices):
        SITE = "site", _("site manager")
        ELECTRICIAN = "electrician", _("electrician")
        SECURITY = "security", _("gate and security")
        EMERGENCY = "emergency", _("emergency")
        OTHER = "other", _("other")

    location = models.ForeignKey(
        Location, on_delete=models.CASCADE, related_name="contacts", verbose_name=_("location")
    )
    task = models.CharField(_("task"), max_length=20, choices=Task.choices, default=Task.SITE)
    name = models.CharField(_("name"), max_length=120)
    phone = models.CharField(_("phone"), max_length=40, blank=True)
    email = models.EmailField(_("e-mail"), blank=True)
    note = models.CharField(_("note"), max_length=200, blank=True)

    objects = AtLocationQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("contact")
        verbose_name_plural = _("contacts")

    def __str__(self) -> str:
        return f"{self.name} ({self.get_task_display()})"


class StationModel(TenantModel):
    """A make and model of charger, with what is typical for it."""

    vendor = models.CharField(_("vendor"), max_length=60)
    name = models.CharField(_("model"), max_length=60)
    max_power_w = models.PositiveIntegerField(_("maximum power (W)"), null=True, blank=True)
    note = models.TextField(_("note"), blank=True)

    objects = TenantQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("charger model")
        verbose_name_plural = _("charger models")
        constraints = [models.UniqueConstraint("operator", Lower("vendor"), Lower("name"), name="station_model_once")]

    def __str__(self) -> str:
        return f"{self.vendor} {self.name}"


identity_validator = RegexValidator(
    r"^[A-Za-z0-9*\-_=+|@.]{1,48}$", _("1 to 48 letters, digits and * - _ = + | @ . (OCPP identifierString).")
)


class ChargingStation(PublicIdModel, ArchivableModel, TenantModel):
    """A charger as the operator knows it. The metal in it is a `HardwareUnit`, which may be swapped."""

    identity = models.CharField(
        _("identity"),
        max_length=48,
        validators=[identity_validator],
        help_text=_("How the charger names itself in OCPP."),
    )
    name = models.CharField(_("name"), max_length=80, blank=True)
    location = models.ForeignKey(
        Location, on_delete=models.PROTECT, related_name="stations", verbose_name=_("location")
    )
    model = models.ForeignKey(
        StationModel, on_delete=models.PROTECT, null=True, blank=True, related_name="stations", verbose_name=_("model")
    )
    traced_until = models.DateTimeField(
        _("traced until"), null=True, blank=True, help_text=_("Until then heartbeats enter the frame log too.")
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    objects = StationQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("charger")
        verbose_name_plural = _("chargers")
        permissions = [("command_chargingstation", "Can send commands to chargers")]
        constraints = [
            models.UniqueConstraint(
                "operator",
                Lower("identity"),
                condition=Q(archived_at=None),
                name="station_identity_once",
                violation_error_message=_("There is a charger of this identity already."),
            )
        ]

    def __str__(self) -> str:
        return self.name or self.identity


class HardwareUnit(TenantModel):
    """One piece of hardware, by serial number; where it hangs is a `HardwareAssignment`."""

    serial = models.CharField(_("serial number"), max_length=60)
    vendor = models.CharField(_("vendor"), max_length=60, blank=True)
    model = models.CharField(_("model"), max_length=60, blank=True)
    firmware = models.CharField(_("firmware"), max_length=60, blank=True)
    iccid = models.CharField(_("SIM (ICCID)"), max_length=22, blank=True)
    imsi = models.CharField(_("SIM (IMSI)"), max_length=22, blank=True)

    objects = TenantQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("hardware unit")
        verbose_name_plural = _("hardware units")
        constraints = [models.UniqueConstraint("operator", Lower("vendor"), "serial", name="hardware_unit_once")]

    def __str__(self) -> str:
        return self.serial


class HardwareAssignment(TenantModel):
    """Which unit hung at which station from when to when (half open)."""

    unit = models.ForeignKey(HardwareUnit, on_delete=models.PROTECT, related_name="assignments", verbose_name=_("unit"))
    station = models.ForeignKey(
        ChargingStation, on_delete=models.PROTECT, related_name="hardware", verbose_name=_("charger")
    )
    installed_at = models.DateTimeField(_("from"))
    removed_at = models.DateTimeField(_("to"), null=True, blank=True)

    objects = AtStationQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("hardware assignment")
        verbose_name_plural = _("hardware assignments")
        constraints = [
            models.UniqueConstraint(fields=["unit"], condition=Q(removed_at=None), name="hardware_one_place"),
            models.UniqueConstraint(fields=["station"], condition=Q(removed_at=None), name="hardware_one_unit"),
            models.CheckConstraint(
                condition=Q(removed_at=None) | Q(removed_at__gt=F("installed_at")), name="hardware_period"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.unit} @ {self.station}"


class EVSE(PublicIdModel, ArchivableModel, TenantModel):
    """One place to charge one car at a time; a CCS + CHAdeMO unit is one EVSE with two connectors."""

    station = models.ForeignKey(
        ChargingStation, on_delete=models.PROTECT, related_name="evses", verbose_name=_("charger")
    )
    number = models.PositiveSmallIntegerField(_("number"), help_text=_("EVSE id of OCPP 2.x, from 1"))
    evse_id = models.CharField(_("EVSE id"), max_length=48, blank=True, help_text=_("eMI3, such as DE*ABC*E123*1"))

    objects = AtStationQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("EVSE")
        verbose_name_plural = _("EVSEs")
        constraints = [
            models.UniqueConstraint(
                fields=["station", "number"], condition=Q(archived_at=None), name="evse_number_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.station} / {self.number}"


class Connector(PublicIdModel, ArchivableModel, TenantModel):
    """A plug (OCPI 2.2.1 8.3.3), with its numbers in OCPP 1.6 (per station) and 2.x (per EVSE)."""

    class Standard(models.TextChoices):
        TYPE_2 = "IEC_62196_T2", _("Type 2")
        CCS = "IEC_62196_T2_COMBO", _("CCS")
        CHADEMO = "CHADEMO", _("CHAdeMO")
        TYPE_1 = "IEC_62196_T1", _("Type 1")
        SCHUKO = "DOMESTIC_F", _("household (Schuko)")
        UNKNOWN = "UNKNOWN", _("not known yet")

    class Format(models.TextChoices):
        SOCKET = "SOCKET", _("socket")
        CABLE = "CABLE", _("cable")

    class PowerType(models.TextChoices):
        AC_1 = "AC_1_PHASE", _("AC, one phase")
        AC_3 = "AC_3_PHASE", _("AC, three phases")
        DC = "DC", _("DC")

    station = models.ForeignKey(
        ChargingStation, on_delete=models.PROTECT, related_name="connectors", verbose_name=_("charger")
    )
    evse = models.ForeignKey(EVSE, on_delete=models.PROTECT, related_name="connectors", verbose_name=_("EVSE"))
    number = models.PositiveSmallIntegerField(_("connector number"), help_text=_("connectorId of OCPP 1.6, from 1"))
    number_in_evse = models.PositiveSmallIntegerField(_("number in the EVSE"), default=1, help_text=_("OCPP 2.x"))
    standard = models.CharField(_("standard"), max_length=30, choices=Standard.choices, default=Standard.TYPE_2)
    format = models.CharField(_("format"), max_length=10, choices=Format.choices, default=Format.SOCKET)
    power_type = models.CharField(_("power type"), max_length=12, choices=PowerType.choices, default=PowerType.AC_3)
    max_voltage_v = models.PositiveIntegerField(_("maximum voltage (V)"), default=400)
    max_current_a = models.PositiveIntegerField(_("maximum current (A)"), default=32)
    max_power_w = models.PositiveIntegerField(_("maximum power (W)"), default=22_000)
    found_at = models.DateTimeField(
        _("reported by the charger"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("Set where the charger named a connector that the inventory lacked: check its data."),
    )

    objects = AtStationQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("connector")
        verbose_name_plural = _("connectors")
        constraints = [
            models.UniqueConstraint(
                fields=["station", "number"], condition=Q(archived_at=None), name="connector_number_once"
            ),
            models.CheckConstraint(condition=Q(number__gte=1), name="connector_number_from_one"),
        ]

    def __str__(self) -> str:
        return f"{self.station} #{self.number}"


class ConnectorStatus(models.TextChoices):
    """OCPP 1.6 section 7.7, and `Unknown` before the first report."""

    UNKNOWN = "Unknown", _("unknown")
    AVAILABLE = "Available", _("available")
    PREPARING = "Preparing", _("preparing")
    CHARGING = "Charging", _("charging")
    SUSPENDED_EV = "SuspendedEV", _("paused by the car")
    SUSPENDED_EVSE = "SuspendedEVSE", _("paused by the charger")
    FINISHING = "Finishing", _("finishing")
    RESERVED = "Reserved", _("reserved")
    UNAVAILABLE = "Unavailable", _("out of service")
    FAULTED = "Faulted", _("faulted")


class StationState(TenantModel):
    """Live facts of a station, one row each, written by the gateway. `generation` counts its connections: a write of
    an older connection never overwrites a newer one's (gateway contract G9, G10)."""

    station = models.OneToOneField(ChargingStation, on_delete=models.PROTECT, primary_key=True, related_name="state")
    generation = models.BigIntegerField(_("connection number"), default=0)
    online = models.BooleanField(_("online"), default=False)
    gateway = models.CharField(_("gateway"), max_length=64, blank=True)
    connected_at = models.DateTimeField(_("connected at"), null=True)
    disconnected_at = models.DateTimeField(_("disconnected at"), null=True)
    last_seen_at = models.DateTimeField(_("last seen"), null=True)
    booted_at = models.DateTimeField(_("last boot"), null=True)
    status = models.CharField(
        _("status"), max_length=20, choices=ConnectorStatus.choices, default=ConnectorStatus.UNKNOWN
    )
    status_at = models.DateTimeField(_("status since"), null=True)
    status_generation = models.BigIntegerField(default=0)
    status_sequence = models.BigIntegerField(default=0)
    error_code = models.CharField(_("error code"), max_length=60, blank=True)
    error_info = models.CharField(_("error information"), max_length=200, blank=True)
    clock_offset_s = models.FloatField(_("clock offset (s)"), null=True)
    clock_offset_at = models.DateTimeField(_("clock offset measured at"), null=True)
    status_on_connect = models.CharField(_("status on request"), max_length=20, blank=True)

    objects = AtStationQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("live state")
        verbose_name_plural = _("live states")
        indexes = [models.Index(fields=["gateway"], condition=Q(online=True), name="station_state_gateway")]

    def __str__(self) -> str:
        return str(self.station_id)


class ConnectorState(TenantModel):
    """Live status of a connector, newest by (generation, sequence)."""

    connector = models.OneToOneField(Connector, on_delete=models.PROTECT, primary_key=True, related_name="state")
    status = models.CharField(
        _("status"), max_length=20, choices=ConnectorStatus.choices, default=ConnectorStatus.UNKNOWN
    )
    status_at = models.DateTimeField(_("status since"), null=True)
    generation = models.BigIntegerField(default=0)
    sequence = models.BigIntegerField(default=0)
    error_code = models.CharField(_("error code"), max_length=60, blank=True)
    error_info = models.CharField(_("error information"), max_length=200, blank=True)

    objects = ConnectorStateQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("connector status")
        verbose_name_plural = _("connector statuses")

    def __str__(self) -> str:
        return self.status


class StatusInterval(TimeSeriesModel):
    """A status began. It lasts until the next row of the same connector (0 is the station itself)."""

    pk = models.CompositePrimaryKey("at", "station_id", "connector_number", "sequence")
    at = models.DateTimeField(_("at"))
    station_id = models.BigIntegerField()
    connector_number = models.PositiveIntegerField(_("connector"))
    sequence = models.BigIntegerField()
    operator_id = models.BigIntegerField()
    received_at = models.DateTimeField(_("received at"))
    status = models.CharField(_("status"), max_length=20)
    error_code = models.CharField(_("error code"), max_length=60, blank=True)
    error_info = models.CharField(_("error information"), max_length=200, blank=True)
    vendor_error_code = models.CharField(_("vendor's error code"), max_length=60, blank=True)

    objects = TenantQuerySet.as_manager()
    everything = models.Manager()

    class Meta:
        default_manager_name = "everything"
        verbose_name = _("status interval")
        verbose_name_plural = _("status intervals")
        indexes = [models.Index(fields=["station_id", "at"], name="status_station")]


class ConnectionInterval(TenantModel):
    """One websocket connection of a station: from, to, and why it ended."""

    class Reason(models.TextChoices):
        CLOSED = "closed", _("closed by the charger")
        LOST = "lost", _("connection lost")
        REPLACED = "replaced", _("replaced by a newer connection")
        GATEWAY_LOST = "gateway lost", _("gateway lost")
        DRAINED = "drained", _("gateway restarted")
        PROTOCOL = "protocol", _("broke the protocol")
        DATABASE = "database", _("database away")

    station = models.ForeignKey(
        ChargingStation, on_delete=models.PROTECT, related_name="connections", verbose_name=_("charger")
    )
    generation = models.BigIntegerField(_("connection number"))
    gateway = models.CharField(_("gateway"), max_length=64)
    address = models.CharField(_("address"), max_length=64, blank=True)
    protocol = models.CharField(_("protocol"), max_length=20)
    started_at = models.DateTimeField(_("from"))
    ended_at = models.DateTimeField(_("to"), null=True)
    reason = models.CharField(_("reason"), max_length=20, choices=Reason.choices, blank=True)
    close_code = models.PositiveSmallIntegerField(_("close code"), null=True)

    objects = AtStationQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("connection")
        verbose_name_plural = _("connections")
        constraints = [models.UniqueConstraint(fields=["station", "generation"], name="connection_once")]
        indexes = [models.Index(fields=["station", "-started_at"], name="connection_station")]

    def __str__(self) -> str:
        return f"{self.station_id} {self.started_at:%Y-%m-%d %H:%M}"


class Boot(TenantModel):
    """A BootNotification as the charger sent it: boot and firmware history."""

    station = models.ForeignKey(
        ChargingStation, on_delete=models.PROTECT, related_name="boots", verbose_name=_("charger")
    )
    received_at = models.DateTimeField(_("received at"))
    generation = models.BigIntegerField(_("connection number"))
    sequence = models.BigIntegerField()
    vendor = models.CharField(_("vendor"), max_length=60, blank=True)
    model = models.CharField(_("model"), max_length=60, blank=True)
    serial = models.CharField(_("serial number"), max_length=60, blank=True)
    firmware = models.CharField(_("firmware"), max_length=60, blank=True)
    iccid = models.CharField(_("SIM (ICCID)"), max_length=22, blank=True)
    imsi = models.CharField(_("SIM (IMSI)"), max_length=22, blank=True)
    meter_type = models.CharField(_("meter type"), max_length=60, blank=True)
    meter_serial = models.CharField(_("meter serial number"), max_length=60, blank=True)

    objects = AtStationQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("boot")
        verbose_name_plural = _("boots")
        constraints = [models.UniqueConstraint(fields=["station", "generation", "sequence"], name="boot_once")]
        indexes = [models.Index(fields=["station", "-received_at"], name="boot_station")]

    def __str__(self) -> str:
        return f"{self.vendor} {self.model} {self.firmware}"


class ProgressReport(TenantModel):
    """What a charger said about a firmware update or an upload of diagnostics: it cannot be asked for again."""

    class About(models.TextChoices):
        FIRMWARE = "firmware", _("firmware update")
        DIAGNOSTICS = "diagnostics", _("diagnostics")

    station = models.ForeignKey(
        ChargingStation, on_delete=models.PROTECT, related_name="progress_reports", verbose_name=_("charger")
    )
    about = models.CharField(_("about"), max_length=20, choices=About.choices)
    status = models.CharField(_("status"), max_length=40)
    received_at = models.DateTimeField(_("received at"))
    generation = models.BigIntegerField(_("connection number"))
    sequence = models.BigIntegerField()

    objects = AtStationQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("progress report")
        verbose_name_plural = _("progress reports")
        constraints = [
            models.UniqueConstraint(fields=["station", "generation", "sequence"], name="progress_report_once"),
            models.CheckConstraint(condition=Q(about__in=["firmware", "diagnostics"]), name="progress_report_about"),
        ]
        indexes = [models.Index(fields=["station", "-received_at"], name="progress_report_station")]

    def __str__(self) -> str:
        return f"{self.get_about_display()}: {self.status}"


class ConfigurationValue(TenantModel):
    """A configuration key of a charger as last read or set (OCPP 1.6 section 9)."""

    station = models.ForeignKey(
        ChargingStation, on_delete=models.PROTECT, related_name="configuration", verbose_name=_("charger")
    )
    key = models.CharField(_("key"), max_length=50)
    value = models.TextField(_("value"), blank=True)
    readonly = models.BooleanField(_("read only"), default=False)
    wanted = models.TextField(_("wanted"), blank=True)
    read_at = models.DateTimeField(_("read at"))
    note = models.CharField(_("note"), max_length=120, blank=True)

    objects = AtStationQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("configuration value")
        verbose_name_plural = _("configuration values")
        constraints = [models.UniqueConstraint(fields=["station", "key"], name="configuration_key_once")]

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


class CommandState(models.TextChoices):
    QUEUED = "queued", _("asked")
    SENT = "sent", _("sent")
    ACCEPTED = "accepted", _("accepted")
    REJECTED = "rejected", _("refused")
    DONE = "done", _("effect seen")
    TIMED_OUT = "timed_out", _("no effect seen in time")
    NOT_DELIVERED = "not_delivered", _("not delivered")
    UNKNOWN = "unknown", _("outcome unknown")


class Command(PublicIdModel, TenantModel):
    """What we ask of a station. Durable before it is sent; `ocpp` delivers it (gateway contract G18)."""

    State = CommandState

    class By(models.TextChoices):
        STATION = "station", _("the charger")
        SYSTEM = "system", _("Voltdesk")

    OPEN = (CommandState.QUEUED, CommandState.SENT, CommandState.ACCEPTED)

    station = models.ForeignKey(
        ChargingStation, on_delete=models.PROTECT, related_name="commands", verbose_name=_("charger")
    )
    action = models.CharField(_("action"), max_length=40)
    payload = models.JSONField(_("payload"), default=dict)
    user = models.ForeignKey(
        "accounts.User", on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("asked by")
    )
    actor = models.CharField(_("asked by"), max_length=160)
    why = models.CharField(_("why"), max_length=300, blank=True)
    waits = models.BooleanField(
        _("waits for the charger"), default=False, help_text=_("Kept for an offline charger until the deadline.")
    )
    created_at = models.DateTimeField(_("asked at"))
    deadline_at = models.DateTimeField(_("deadline"))
    state = models.CharField(_("state"), max_length=20, choices=CommandState.choices, default=CommandState.QUEUED)
    answered_by = models.CharField(_("answered by"), max_length=10, choices=By.choices, blank=True)
    detail = models.CharField(_("detail"), max_length=300, blank=True)
    answer = models.JSONField(_("answer"), null=True)
    message_id = models.CharField(_("message id"), max_length=40, blank=True)
    generation = models.BigIntegerField(null=True)
    sent_at = models.DateTimeField(_("sent at"), null=True)
    answered_at = models.DateTimeField(_("answered at"), null=True)
    finished_at = models.DateTimeField(_("finished at"), null=True)

    objects = AtStationQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("command")
        verbose_name_plural = _("commands")
        constraints = [models.CheckConstraint(condition=known("state", CommandState), name="command_state")]
        indexes = [
            models.Index(
                fields=["station", "created_at"],
                condition=Q(state__in=["queued", "sent", "accepted"]),
                name="command_open",
            ),
            models.Index(fields=["station", "-created_at"], name="command_station"),
        ]

    def __str__(self) -> str:
        return f"{self.action} → {self.station_id}"
