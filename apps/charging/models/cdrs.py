"""What became of a session: waiting, held, or priced; the CDR and its rated items, which are never changed."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import Organisation, Seller, User
from apps.cards.models import Token
from apps.charging.models.sessions import Session
from apps.charging.querysets import CdrQuerySet, OfSessionQuerySet, RatedItemQuerySet
from apps.contracts.models import BillingAccount, ContractVersion
from apps.core.models import PublicIdModel, TenantModel, known
from apps.installations.models import ChargingStation, Location
from apps.tariffs.elements import Dimension, VatClass
from apps.tariffs.models import TariffVersion


class SettlementState(models.TextChoices):
    WAITING = "waiting", _("not priced yet")
    HELD = "held", _("held")
    PRICED = "priced", _("priced")
    FREE = "free", _("free of charge")
    VOID = "void", _("void")


class HoldReason(models.TextChoices):
    """Why a session has no price. The text is for operator and customer."""

    REVIEW = "review", _("Something about this session is checked first.")
    NO_CARD = "no_card", _("The card is not known, so nobody can be billed.")
    NO_CONTRACT = "no_contract", _("No contract covers the card on the day of the session.")
    NO_TARIFF = "no_tariff", _("The contract's tariff has no prices for the day of the session.")
    NO_VAT = "no_vat", _("There is no VAT rate for the country and the day.")
    NO_METER = "no_meter", _("The meter at the start or the end is not known.")
    IMPOSSIBLE = "impossible", _("The session's figures contradict each other.")
    FAILED = "failed", _("The price could not be worked out. Your operator looks into it.")


class Settlement(TenantModel):
    """Where an ended session stands on its way to a price. `due_at` is when it is looked at next."""

    State = SettlementState
    Reason = HoldReason

    session = models.OneToOneField(Session, on_delete=models.PROTECT, primary_key=True, related_name="settlement")
    state = models.CharField(
        _("state"), max_length=10, choices=SettlementState.choices, default=SettlementState.WAITING
    )
    reason = models.CharField(_("reason"), max_length=20, choices=HoldReason.choices, blank=True)
    since = models.DateTimeField(_("since"))
    due_at = models.DateTimeField(_("due at"), null=True)

    objects = OfSessionQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("settlement")
        verbose_name_plural = _("settlements")
        constraints = [
            models.CheckConstraint(condition=known("state", SettlementState), name="settlement_state"),
            models.CheckConstraint(condition=known("reason", HoldReason, blank=True), name="settlement_reason"),
            models.CheckConstraint(
                condition=Q(state="held") ^ Q(reason=""),
                name="settlement_held_has_reason",
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="settlement_due"),
            models.Index(fields=["operator", "since"], condition=Q(state="held"), name="settlement_held"),
        ]

    def __str__(self) -> str:
        return self.get_reason_display() or self.get_state_display()


class CdrKind(models.TextChoices):
    CDR = "cdr", _("CDR")
    CREDIT = "credit", _("credit")


class Cdr(PublicIdModel, TenantModel):
    """A session with its price (OCPI 2.2.1, 10.3.1), as everything was at its start. Final: triggers refuse changes.

    A correction is a credit, which takes back all amounts of the CDR that it `credits` under the same `version`, and a
    CDR of the next version. Energy is Wh, times seconds, amounts net in `currency`. `place` and `card` are what they
    were called then; `evidence` names the frames and readings; `explanation` are the lines of the price.
    """

    Kind = CdrKind

    kind = models.CharField(_("kind"), max_length=6, choices=CdrKind.choices, default=CdrKind.CDR)
    session = models.ForeignKey(Session, on_delete=models.PROTECT, related_name="cdrs", verbose_name=_("session"))
    version = models.PositiveSmallIntegerField(_("version"), default=1)
    credits = models.OneToOneField(
        "self", on_delete=models.PROTECT, null=True, related_name="credit", verbose_name=_("takes back")
    )
    location = models.ForeignKey(Location, on_delete=models.PROTECT, related_name="+", verbose_name=_("location"))
    station = models.ForeignKey(ChargingStation, on_delete=models.PROTECT, related_name="+", verbose_name=_("charger"))
    seller = models.ForeignKey(Seller, on_delete=models.PROTECT, related_name="+", verbose_name=_("seller"))
    token = models.ForeignKey(Token, on_delete=models.PROTECT, related_name="cdrs", verbose_name=_("card"))
    host = models.ForeignKey(
        Organisation, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("host")
    )
    organisation = models.ForeignKey(
        Organisation, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("organisation")
    )
    holder = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("driver"))
    account = models.ForeignKey(
        BillingAccount, on_delete=models.PROTECT, related_name="cdrs", verbose_name=_("billing account")
    )
    contract_version = models.ForeignKey(
        ContractVersion, on_delete=models.PROTECT, related_name="+", verbose_name=_("contract")
    )
    tariff_version = models.ForeignKey(
        TariffVersion, on_delete=models.PROTECT, related_name="+", verbose_name=_("tariff")
    )
    place = models.JSONField(_("place"))
    card = models.JSONField(_("card as it was"))
    started_at = models.DateTimeField(_("started at"))
    ended_at = models.DateTimeField(_("ended at"))
    energy_wh = models.BigIntegerField(_("energy (Wh)"))
    charging_s = models.PositiveIntegerField(_("charging time (s)"))
    parking_s = models.PositiveIntegerField(_("parking time (s)"))
    meter_start_wh = models.BigIntegerField(_("meter at the start (Wh)"))
    meter_stop_wh = models.BigIntegerField(_("meter at the end (Wh)"))
    evidence = models.JSONField(_("evidence"))
    explanation = models.JSONField(_("how the price came about"))
    interpolated = models.BooleanField(_("part of the energy is interpolated"), default=False)
    country = models.CharField(_("country of the supply"), max_length=2)
    supplied_on = models.DateField(_("date of the supply"))
    currency = models.CharField(_("currency"), max_length=3)
    total = models.DecimalField(_("total, net"), max_digits=14, decimal_places=2)
    engine = models.CharField(_("rating engine"), max_length=10)
    created_at = models.DateTimeField(_("created at"))

    objects = CdrQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("CDR")
        verbose_name_plural = _("CDRs")
        permissions = [("correct_cdr", "Can correct CDRs")]
        constraints = [
            models.UniqueConstraint(fields=["session", "version", "kind"], name="cdr_once"),
            models.CheckConstraint(condition=known("kind", CdrKind), name="cdr_kind"),
            models.CheckConstraint(condition=Q(kind="credit") ^ Q(credits=None), name="cdr_credit_of_one"),
            models.CheckConstraint(condition=Q(energy_wh__gte=0), name="cdr_energy"),
        ]
        indexes = [
            models.Index(fields=["operator", "-ended_at"], name="cdr_operator"),
            models.Index(fields=["account", "ended_at"], name="cdr_account"),
            models.Index(fields=["organisation", "-ended_at"], name="cdr_organisation"),
        ]

    @property
    def stands(self) -> bool:
        """Whether it is a CDR that no credit took back."""
        return self.kind == CdrKind.CDR and not hasattr(self, "credit")

    def __str__(self) -> str:
        return f"{self.place.get('name', '')} {self.started_at:%Y-%m-%d %H:%M}".strip()


class RatedItem(TenantModel):
    """All of one dimension and VAT class in a CDR, rounded once; negative in a credit. Final: triggers refuse changes.

    Quantities are Wh, seconds, or 1; `billed` is with what the step adds; `exact` is for display. `periods` say which
    element priced which stretch, from which registers (`rating.Period`, numbers as text).
    """

    cdr = models.ForeignKey(Cdr, on_delete=models.PROTECT, related_name="items", verbose_name=_("CDR"))
    dimension = models.CharField(_("what"), max_length=12, choices=Dimension.choices)
    vat_class = models.CharField(_("VAT class"), max_length=12, choices=VatClass.choices)
    vat_percent = models.DecimalField(_("VAT (%)"), max_digits=5, decimal_places=2)
    quantity = models.DecimalField(_("quantity"), max_digits=18, decimal_places=6)
    billed = models.DecimalField(_("quantity billed"), max_digits=18, decimal_places=6)
    exact = models.DecimalField(_("exact amount"), max_digits=18, decimal_places=6)
    amount = models.DecimalField(_("amount, net"), max_digits=14, decimal_places=2)
    periods = models.JSONField(_("periods"), default=list)

    objects = RatedItemQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("rated item")
        verbose_name_plural = _("rated items")
        constraints = [
            models.UniqueConstraint(fields=["cdr", "dimension", "vat_class"], name="rated_item_once"),
            models.CheckConstraint(condition=known("dimension", Dimension), name="rated_item_dimension"),
            models.CheckConstraint(condition=known("vat_class", VatClass), name="rated_item_vat_class"),
        ]

    def __str__(self) -> str:
        return f"{self.get_dimension_display()} {self.amount}"
