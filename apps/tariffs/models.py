"""Tariffs with their versions, and VAT rates."""

from __future__ import annotations

from decimal import Decimal

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import User, country_code
from apps.core.models import ArchivableModel, PublicIdModel, TenantModel, known
from apps.core.money import validate_currency
from apps.tariffs import elements, rating
from apps.tariffs.elements import VatClass
from apps.tariffs.querysets import TariffQuerySet, TariffVersionQuerySet, VatRateQuerySet


class Tariff(PublicIdModel, ArchivableModel, TenantModel):
    """A price list under one name and in one currency. What it says stands in its versions."""

    name = models.CharField(_("name"), max_length=120)
    currency = models.CharField(_("currency"), max_length=3, default="EUR", validators=[validate_currency])
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    objects = TariffQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("tariff")
        verbose_name_plural = _("tariffs")
        permissions = [("publish_tariff", "Can publish tariffs")]
        constraints = [
            models.UniqueConstraint(
                "operator",
                Lower("name"),
                condition=Q(archived_at=None),
                name="tariff_name_once",
                violation_error_message=_("There is a tariff of this name already."),
            )
        ]

    def __str__(self) -> str:
        return self.name


class PriceBasis(models.TextChoices):
    NET = "net", _("net, VAT is added")


class TariffVersion(PublicIdModel, TenantModel):
    """What a tariff says from a local date on: its elements in OCPI's shape (`elements.read`). A draft until it is
    published; then final, which triggers enforce. `sha256` is that of the canonical elements."""

    Basis = PriceBasis

    tariff = models.ForeignKey(Tariff, on_delete=models.PROTECT, related_name="versions", verbose_name=_("tariff"))
    number = models.PositiveIntegerField(_("version"))
    valid_from = models.DateField(_("valid from"), null=True, blank=True)
    price_basis = models.CharField(
        _("price basis"), max_length=5, choices=PriceBasis.choices, default=PriceBasis.NET, editable=False
    )
    elements = models.JSONField(_("prices"), default=list)
    fee_after_minutes = models.PositiveSmallIntegerField(
        _("no fee below (minutes)"),
        default=0,
        help_text=_("A session without energy that is shorter pays no fee."),
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    published_at = models.DateTimeField(_("published at"), null=True, editable=False)
    published_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, related_name="+", editable=False, verbose_name=_("published by")
    )
    sha256 = models.CharField(_("fingerprint"), max_length=64, blank=True, editable=False)

    objects = TariffVersionQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("tariff version")
        verbose_name_plural = _("tariff versions")
        constraints = [
            models.UniqueConstraint(fields=["tariff", "number"], name="tariff_version_number_once"),
            models.UniqueConstraint(fields=["tariff"], condition=Q(published_at=None), name="tariff_version_one_draft"),
            models.CheckConstraint(
                condition=Q(published_at=None) | (Q(valid_from__isnull=False) & ~Q(sha256="")),
                name="tariff_version_published_whole",
            ),
            models.CheckConstraint(condition=known("price_basis", PriceBasis), name="tariff_version_basis"),
        ]
        indexes = [models.Index(F("tariff"), F("valid_from").desc(), name="tariff_version_in_force")]

    def __str__(self) -> str:
        return _("%(tariff)s, version %(number)d") % {"tariff": self.tariff, "number": self.number}

    @property
    def is_draft(self) -> bool:
        return self.published_at is None

    @property
    def terms(self) -> rating.Terms:
        """What the engine needs of it. Raises ValidationError where the elements cannot be read."""
        return rating.Terms(self.tariff.currency, elements.read(self.elements), self.fee_after_minutes * 60)


class VatRate(TenantModel):
    """A country's rate in percent for a VAT class, from a local date on until the next one."""

    country = models.CharField(
        _("country"), max_length=2, validators=[country_code], help_text=_("ISO 3166-1, two letters")
    )
    vat_class = models.CharField(_("class"), max_length=12, choices=VatClass.choices, default=VatClass.STANDARD)
    percent = models.DecimalField(
        _("rate (%)"),
        max_digits=5,
        decimal_places=2,
        validators=[MinValueValidator(Decimal(0)), MaxValueValidator(Decimal(100))],
    )
    valid_from = models.DateField(_("valid from"))

    objects = VatRateQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("VAT rate")
        verbose_name_plural = _("VAT rates")
        constraints = [
            models.UniqueConstraint(
                fields=["operator", "country", "vat_class", "valid_from"],
                name="vat_rate_once",
                violation_error_message=_("There is a rate from this date already."),
            ),
            models.CheckConstraint(condition=known("vat_class", VatClass), name="vat_rate_class"),
            models.CheckConstraint(condition=Q(percent__gte=0, percent__lte=100), name="vat_rate_percent"),
        ]

    def __str__(self) -> str:
        return f"{self.country} {self.percent.normalize():f} %"
