"""What the operator edits: locations, chargers, the metal in them, where one plugs in."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import Organisation, Seller, country_code
from apps.core.models import ArchivableModel, PublicIdModel, TenantModel, known
from apps.core.querysets import TenantQuerySet
from apps.installations.querysets import (
    AtLocationQuerySet,
    AtStationQuerySet,
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
    opening_hours = models.JSONField(_("opening hours"), default=dict, blank=True)
    publish = models.BooleanField(_("publish"), default=False, help_text=_("Show this location to roaming partners."))
    host = models.ForeignKey(
        Organisation, on_delete=models.PROTECT, null=True, blank=True, related_name="locations", verbose_name=_("host")
    )
    seller = models.ForeignKey(
        Seller,
        on_delete=models.PROTECT,
        related_name="locations",
        verbose_name=_("seller"),
        help_text=_("Who sells what is charged here: its VAT registration and name are on the invoices."),
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
