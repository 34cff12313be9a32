"""What chargers tell. The gateway and domain functions write it, a form never: no row here is an edited one."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from apps.core.models import TenantModel
from apps.core.querysets import TenantQuerySet
from apps.core.timeseries import TimeSeriesModel
from apps.installations.models.inventory import ChargingStation, Connector
from apps.installations.querysets import (
    AtStationQuerySet,
    ConnectorStateQuerySet,
)


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


class ErrorCode(models.TextChoices):
    """OCPP 1.6 section 7.6. Columns keep what the charger sent, whatever it is."""

    NO_ERROR = "NoError", _("no error")
    CONNECTOR_LOCK = "ConnectorLockFailure", _("The plug cannot be locked or unlocked.")
    EV_COMMUNICATION = "EVCommunicationError", _("The charger and the car do not understand each other.")
    GROUND = "GroundFailure", _("The residual current protection has tripped.")
    HIGH_TEMPERATURE = "HighTemperature", _("It is too hot inside the charger.")
    INTERNAL = "InternalError", _("The charger has an internal fault.")
    LOCAL_LIST = "LocalListConflict", _("The card list in the charger contradicts the operator's.")
    OTHER = "OtherError", _("The charger has another fault.")
    OVER_CURRENT = "OverCurrentFailure", _("The overcurrent protection has tripped.")
    OVER_VOLTAGE = "OverVoltage", _("The mains voltage is too high.")
    POWER_METER = "PowerMeterFailure", _("The energy meter cannot be read.")
    POWER_SWITCH = "PowerSwitchFailure", _("The power cannot be switched on or off.")
    READER = "ReaderFailure", _("The card reader does not work.")
    RESET = "ResetFailure", _("The charger cannot be reset.")
    UNDER_VOLTAGE = "UnderVoltage", _("The mains voltage is too low.")
    WEAK_SIGNAL = "WeakSignal", _("The radio signal is weak.")


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

    pk = models.CompositePrimaryKey("station_id", "at", "connector_number", "sequence")
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
        ARCHIVED = "archived", _("the charger was archived")

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
        # The open ones are found without all that ever were.
        indexes = [
            models.Index(fields=["station", "-started_at"], name="connection_station"),
            models.Index(fields=["station"], condition=Q(ended_at=None), name="connection_open_station"),
            models.Index(fields=["gateway"], condition=Q(ended_at=None), name="connection_open_gateway"),
        ]

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
