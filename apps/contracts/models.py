"""Parties, billing accounts, contracts and their versions."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import LANGUAGES, Organisation, User, country_code
from apps.accounts.vat_ids import validate_vat_id
from apps.contracts.querysets import (
    BillingAccountQuerySet,
    ContractQuerySet,
    ContractVersionQuerySet,
    PartyQuerySet,
)
from apps.core.models import ArchivableModel, PublicIdModel, TenantModel, known
from apps.core.money import validate_currency
from apps.tariffs.models import Tariff


class PartyKind(models.TextChoices):
    COMPANY = "company", _("company or public body")
    PERSON = "person", _("person")


class Party(PublicIdModel, ArchivableModel, TenantModel):
    """A legal entity or a person that buys. `organisation` is who sees its contracts and invoices in the portal: those
    of the past too, so that it is given once and stays."""

    kind = models.CharField(_("kind"), max_length=10, choices=PartyKind.choices, default=PartyKind.COMPANY)
    name = models.CharField(_("name"), max_length=160)
    organisation = models.ForeignKey(
        Organisation,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="parties",
        verbose_name=_("organisation"),
        help_text=_("Its people see the contracts and invoices in the portal."),
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    objects = PartyQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("party")
        verbose_name_plural = _("parties")
        constraints = [
            models.UniqueConstraint(
                "operator",
                Lower("name"),
                condition=Q(archived_at=None),
                name="party_name_once",
                violation_error_message=_("There is a party of this name already."),
            ),
            models.CheckConstraint(condition=known("kind", PartyKind), name="party_kind"),
        ]

    def __str__(self) -> str:
        return self.name

    def is_settled(self) -> bool:
        """Whether its organisation stays what it is, none too: it has one, or a contract."""
        return self.organisation_id is not None or self.accounts.exclude(contracts=None).exists()


class BillingAccount(PublicIdModel, ArchivableModel, TenantModel):
    """Where invoices go: addressee, VAT id, language, e-mail. A party may have several."""

    party = models.ForeignKey(Party, on_delete=models.PROTECT, related_name="accounts", verbose_name=_("party"))
    number = models.CharField(_("customer number"), max_length=20)
    name = models.CharField(_("addressee"), max_length=160)
    addition = models.CharField(
        _("second line"), max_length=160, blank=True, help_text=_("Department or person, below the addressee.")
    )
    street = models.CharField(_("street"), max_length=120)
    postal_code = models.CharField(_("postal code"), max_length=16, blank=True)
    city = models.CharField(_("city"), max_length=80)
    country = models.CharField(
        _("country"), max_length=2, validators=[country_code], help_text=_("ISO 3166-1, two letters")
    )
    vat_id = models.CharField(_("VAT id"), max_length=20, blank=True, validators=[validate_vat_id])
    language = models.CharField(_("language"), max_length=5, choices=LANGUAGES, default="en")
    email = models.EmailField(_("e-mail for invoices"))
    reference = models.CharField(
        _("their reference"),
        max_length=60,
        blank=True,
        help_text=_("Printed on each invoice: order number, cost centre."),
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    objects = BillingAccountQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("billing account")
        verbose_name_plural = _("billing accounts")
        constraints = [
            models.UniqueConstraint(
                fields=["operator", "number"],
                name="billing_account_number_once",
                violation_error_message=_("There is an account of this number already."),
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.number})"


class Contract(PublicIdModel, TenantModel):
    """An agreement to charge in one currency. What is agreed stands in its versions; both dates are in."""

    account = models.ForeignKey(
        BillingAccount, on_delete=models.PROTECT, related_name="contracts", verbose_name=_("billing account")
    )
    number = models.CharField(_("contract number"), max_length=20)
    name = models.CharField(_("name"), max_length=120, blank=True)
    currency = models.CharField(_("currency"), max_length=3, default="EUR", validators=[validate_currency])
    starts_on = models.DateField(_("starts on"))
    ends_on = models.DateField(_("ends on"), null=True, blank=True, help_text=_("Its last day."))
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    objects = ContractQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("contract")
        verbose_name_plural = _("contracts")
        constraints = [
            models.UniqueConstraint(
                fields=["operator", "number"],
                name="contract_number_once",
                violation_error_message=_("There is a contract of this number already."),
            ),
            models.CheckConstraint(
                condition=Q(ends_on=None) | Q(ends_on__gte=F("starts_on")),
                name="contract_ends_after_start",
                violation_error_message=_("The contract would end before it starts."),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.name}".strip()

    def covers(self, day: dt.date) -> bool:
        """Whether it runs on a local date."""
        return self.starts_on <= day and (self.ends_on is None or day <= self.ends_on)


class ContractVersion(PublicIdModel, TenantModel):
    """What a contract says from a local date on, until its next version. Final once written: triggers refuse changes.

    A version that was a mistake is followed by one of the same date: the later written one counts.
    """

    contract = models.ForeignKey(
        Contract, on_delete=models.PROTECT, related_name="versions", verbose_name=_("contract")
    )
    number = models.PositiveIntegerField(_("version"))
    valid_from = models.DateField(_("valid from"))
    tariff = models.ForeignKey(
        Tariff, on_delete=models.PROTECT, related_name="contract_versions", verbose_name=_("tariff")
    )
    base_fee = models.DecimalField(
        _("base fee a month, net"), max_digits=12, decimal_places=2, default=0, validators=[MinValueValidator(0)]
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    created_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, related_name="+", editable=False, verbose_name=_("created by")
    )

    objects = ContractVersionQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("contract version")
        verbose_name_plural = _("contract versions")
        constraints = [
            models.UniqueConstraint(fields=["contract", "number"], name="contract_version_number_once"),
            models.CheckConstraint(condition=Q(base_fee__gte=0), name="contract_version_base_fee"),
        ]
        indexes = [models.Index(F("contract"), F("valid_from").desc(), name="contract_version_in_force")]

    def __str__(self) -> str:
        return _("%(contract)s, version %(number)d") % {"contract": self.contract, "number": self.number}

    def clean(self) -> None:
        super().clean()
        faults: dict[str, Any] = {}
        if self.tariff.currency != self.contract.currency:
            faults["tariff"] = _("The tariff is in %(tariff)s, the contract in %(contract)s.") % {
                "tariff": self.tariff.currency,
                "contract": self.contract.currency,
            }
        if self.valid_from < self.contract.starts_on:
            faults["valid_from"] = _("The contract starts later.")
        if faults:
            raise ValidationError(faults)
