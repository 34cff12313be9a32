"""Billing runs, invoices and credit notes with their lines, and what bills what."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils.dates import MONTHS
from django.utils.formats import date_format
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import Document, Seller, SellerRegistration, User
from apps.billing.querysets import (
    BilledQuerySet,
    BillingRunQuerySet,
    DeliveryQuerySet,
    InvoiceFileQuerySet,
    InvoiceLineQuerySet,
    InvoiceQuerySet,
)
from apps.charging.models import Cdr, RatedItem
from apps.contracts.models import BillingAccount, Contract
from apps.core.models import PublicIdModel, TenantModel, known
from apps.core.querysets import TenantQuerySet
from apps.notifications.models import Mail
from apps.tariffs.elements import VatClass

NUMBER_DIGITS = 6


class InvoiceKind(models.TextChoices):
    INVOICE = "invoice", _("invoice")
    CREDIT_NOTE = "credit_note", _("credit note")


class InvoiceSeries(TenantModel):
    """The numbers of one registration, kind and year, drawn one after the other with the row locked. The dates of its
    invoices never go back."""

    registration = models.ForeignKey(
        SellerRegistration, on_delete=models.PROTECT, related_name="series", verbose_name=_("VAT registration")
    )
    kind = models.CharField(_("kind"), max_length=12, choices=InvoiceKind.choices)
    year = models.PositiveSmallIntegerField(_("year"))
    next = models.PositiveIntegerField(_("next number"), default=1)
    last_issued_on = models.DateField(_("last issue date"), null=True)

    objects = TenantQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("number series")
        verbose_name_plural = _("number series")
        constraints = [
            models.UniqueConstraint(fields=["registration", "kind", "year"], name="invoice_series_once"),
            models.CheckConstraint(condition=known("kind", InvoiceKind), name="invoice_series_kind"),
        ]

    def __str__(self) -> str:
        return self.number(self.next)

    def number(self, count: int) -> str:
        """`DE2026-000123`; of credit notes `DE-C2026-000123`."""
        mark = "-C" if self.kind == InvoiceKind.CREDIT_NOTE else ""
        return f"{self.registration.number_prefix}{mark}{self.year}-{count:0{NUMBER_DIGITS}}"


class RunState(models.TextChoices):
    DRAFTING = "drafting", _("being drafted")
    DRAFTED = "drafted", _("drafted")
    FINALISING = "finalising", _("being finalised")
    FINALISED = "finalised", _("finalised")


class BillingRun(PublicIdModel, TenantModel):
    """All that is billable for a month by a cut-off. What comes later goes to the next run.

    `done` of `total` are accounts while it is drafted, invoices while it is finalised; `problems` are stopped drafts.
    `drafting` counts how often it was drafted, the last time from `began_at` on: drafts of an earlier one are thrown
    away, and a task of an earlier one does nothing. `moved_at` shows whether a task is at work.
    """

    State = RunState

    period = models.DateField(_("month"))
    number = models.PositiveSmallIntegerField(_("run of the month"))
    cutoff_at = models.DateTimeField(_("cut-off"))
    state = models.CharField(_("state"), max_length=10, choices=RunState.choices, default=RunState.DRAFTING)
    drafting = models.PositiveSmallIntegerField(default=1, editable=False)
    done = models.PositiveIntegerField(_("done"), default=0)
    total = models.PositiveIntegerField(_("of"), default=0)
    problems = models.PositiveIntegerField(_("stopped drafts"), default=0)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    created_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, related_name="+", editable=False, verbose_name=_("created by")
    )
    began_at = models.DateTimeField(_("this drafting began at"))
    moved_at = models.DateTimeField(_("last moved at"))
    finalised_at = models.DateTimeField(_("finalised at"), null=True)

    objects = BillingRunQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("billing run")
        verbose_name_plural = _("billing runs")
        permissions = [("run_billingrun", "Can start billing runs"), ("finalise_billingrun", "Can finalise runs")]
        constraints = [
            models.UniqueConstraint(fields=["operator", "period", "number"], name="billing_run_once"),
            models.CheckConstraint(condition=known("state", RunState), name="billing_run_state"),
        ]

    def __str__(self) -> str:
        return f"{MONTHS[self.period.month]} {self.period.year}, {self.number}"

    @property
    def ends_on(self) -> dt.date:
        """The last day of its month."""
        return (self.period.replace(day=28) + dt.timedelta(days=4)).replace(day=1) - dt.timedelta(days=1)

    @property
    def is_busy(self) -> bool:
        return self.state in (RunState.DRAFTING, RunState.FINALISING)


class InvoiceState(models.TextChoices):
    DRAFT = "draft", _("draft")
    STOPPED = "stopped", _("stopped")
    FINAL = "final", _("final")


class Problem(models.TextChoices):
    """Why a draft is stopped. The text takes the problem's own words (`Invoice.problems`)."""

    NO_REGISTRATION = "no_registration", _("%(seller)s has no VAT registration in %(country)s on %(day)s.")
    NO_TAX_ID = "no_tax_id", _("%(seller)s has neither a VAT id nor a tax number; an invoice must show one.")
    NO_SELLER_ADDRESS = "no_seller_address", _("The address of %(seller)s is incomplete; an invoice must show it.")
    NO_VAT_RATE = "no_vat_rate", _("There is no VAT rate for %(country)s on %(day)s.")
    CURRENCY = "currency", _("Contract %(contract)s is in %(expected)s, its lines are in %(found)s.")
    REVIEW = "review", _("A doubt about the session of %(day)s at %(place)s is open.")
    NEGATIVE = "negative", _("The total is below zero. It waits for later sessions, or you repay it by hand.")
    FAILED = (
        "failed",
        _("An unexpected error stopped this draft; the server's log has it. Draft again, or leave it to the next run."),
    )


class Invoice(PublicIdModel, TenantModel):
    """An invoice, from draft to final, or a credit note that takes back all of the invoice that it `cancels`.

    Final since `finalised_at`: triggers refuse changes. `snapshot` is all that its PDF shows, `sha256` that of the
    snapshot's canonical JSON. What comes later is rows beside it: `InvoiceFile`, `Delivery`, the credit note.
    """

    Kind = InvoiceKind
    State = InvoiceState

    run = models.ForeignKey(
        BillingRun, on_delete=models.PROTECT, null=True, related_name="invoices", verbose_name=_("billing run")
    )
    drafting = models.PositiveSmallIntegerField(default=1, editable=False)
    kind = models.CharField(_("kind"), max_length=12, choices=InvoiceKind.choices, default=InvoiceKind.INVOICE)
    account = models.ForeignKey(
        BillingAccount, on_delete=models.PROTECT, related_name="invoices", verbose_name=_("billing account")
    )
    seller = models.ForeignKey(Seller, on_delete=models.PROTECT, related_name="invoices", verbose_name=_("seller"))
    country = models.CharField(_("country of the supply"), max_length=2)
    registration = models.ForeignKey(
        SellerRegistration,
        on_delete=models.PROTECT,
        null=True,
        related_name="invoices",
        verbose_name=_("VAT registration"),
    )
    currency = models.CharField(_("currency"), max_length=3)
    state = models.CharField(_("state"), max_length=10, choices=InvoiceState.choices, default=InvoiceState.DRAFT)
    problem = models.CharField(_("stopped by"), max_length=20, choices=Problem.choices, blank=True)
    problems = models.JSONField(_("problems"), default=list)
    period_from = models.DateField(_("from"))
    period_to = models.DateField(_("to"))
    number = models.CharField(_("number"), max_length=32, blank=True)
    issue_date = models.DateField(_("issue date"), null=True)
    cancels = models.OneToOneField(
        "self", on_delete=models.PROTECT, null=True, related_name="credit_note", verbose_name=_("cancels")
    )
    net = models.DecimalField(_("net"), max_digits=14, decimal_places=2, default=0)
    vat = models.DecimalField(_("VAT"), max_digits=14, decimal_places=2, default=0)
    gross = models.DecimalField(_("total"), max_digits=14, decimal_places=2, default=0)
    snapshot = models.JSONField(_("snapshot"), default=dict)
    sha256 = models.CharField(_("fingerprint"), max_length=64, blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    finalised_at = models.DateTimeField(_("finalised at"), null=True)

    objects = InvoiceQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("invoice")
        verbose_name_plural = _("invoices")
        permissions = [("cancel_invoice", "Can cancel invoices"), ("deliver_invoice", "Can send invoices again")]
        constraints = [
            models.UniqueConstraint(
                fields=["run", "account", "seller", "country", "registration", "currency"],
                condition=Q(kind="invoice", registration__isnull=False),
                name="invoice_once_a_run",
            ),
            models.UniqueConstraint(
                fields=["run", "account", "seller", "country", "currency"],
                condition=Q(kind="invoice", registration=None),
                name="invoice_unregistered_once_a_run",
            ),
            models.UniqueConstraint(fields=["operator", "number"], condition=~Q(number=""), name="invoice_number_once"),
            models.CheckConstraint(condition=known("kind", InvoiceKind), name="invoice_kind"),
            models.CheckConstraint(condition=known("state", InvoiceState), name="invoice_state"),
            models.CheckConstraint(condition=known("problem", Problem, blank=True), name="invoice_problem"),
            models.CheckConstraint(condition=~Q(state="stopped") | ~Q(problem=""), name="invoice_stopped_by"),
            models.CheckConstraint(condition=Q(kind="invoice") ^ Q(cancels__isnull=False), name="invoice_cancels"),
            models.CheckConstraint(
                condition=~Q(state="final")
                | (Q(finalised_at__isnull=False, registration__isnull=False, issue_date__isnull=False) & ~Q(number="")),
                name="invoice_final_whole",
            ),
        ]
        indexes = [
            models.Index(fields=["operator", "-issue_date"], name="invoice_operator"),
            models.Index(fields=["account", "-issue_date"], name="invoice_account"),
            models.Index(fields=["operator", "created_at"], condition=Q(state="stopped"), name="invoice_stopped"),
        ]

    def __str__(self) -> str:
        return self.number or f"{self.get_state_display()}: {self.account}"

    @property
    def is_final(self) -> bool:
        return self.finalised_at is not None

    @property
    def problem_texts(self) -> list[str]:
        """Why it is stopped, in the reader's language."""
        return [problem_text(one) for one in self.problems if isinstance(one, dict)]


def problem_text(problem: dict[str, Any]) -> str:
    """The sentence of one problem: its code and the words that the code's text takes."""
    words = {**problem}
    if "day" in words:
        words["day"] = date_format(dt.date.fromisoformat(words["day"]))
    return str(Problem(words["code"]).label) % words


class LineKind(models.TextChoices):
    SESSION = "session", _("session")
    BASE_FEE = "base_fee", _("base fee")


class LineUnit(models.TextChoices):
    KWH = "kwh", _("kWh")
    SESSION = "session", _("session")
    MONTH = "month", _("month")


class InvoiceLine(TenantModel):
    """One line: a CDR's part in one VAT class, or a contract's base fee of a month. Amounts are net.

    `text` are the words (place, zone, charger, card, driver …) and `parts`, the quantities with their unit prices.
    `vat_percent` is empty while there is no rate, which stops the draft. Final with its invoice: triggers refuse
    changes; that no line is added is up to the services, which hold the run's row.
    """

    Kind = LineKind
    Unit = LineUnit

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="lines", verbose_name=_("invoice"))
    position = models.PositiveIntegerField(_("position"))
    kind = models.CharField(_("kind"), max_length=10, choices=LineKind.choices)
    cdr = models.ForeignKey(Cdr, on_delete=models.PROTECT, null=True, related_name="lines", verbose_name=_("CDR"))
    contract = models.ForeignKey(
        Contract, on_delete=models.PROTECT, null=True, related_name="lines", verbose_name=_("contract")
    )
    since = models.DateTimeField(_("from"), null=True)
    until = models.DateTimeField(_("to"), null=True)
    supplied_on = models.DateField(_("date of the supply"))
    text = models.JSONField(_("text"), default=dict)
    quantity = models.DecimalField(_("quantity"), max_digits=18, decimal_places=6)
    unit = models.CharField(_("unit"), max_length=10, choices=LineUnit.choices)
    net = models.DecimalField(_("net"), max_digits=14, decimal_places=2)
    vat_class = models.CharField(_("VAT class"), max_length=12, choices=VatClass.choices)
    vat_percent = models.DecimalField(_("VAT (%)"), max_digits=5, decimal_places=2, null=True)
    country = models.CharField(_("country of the supply"), max_length=2)
    finalised_at = models.DateTimeField(_("finalised at"), null=True)

    objects = InvoiceLineQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("invoice line")
        verbose_name_plural = _("invoice lines")
        constraints = [
            models.UniqueConstraint(fields=["invoice", "position"], name="invoice_line_position"),
            models.UniqueConstraint(
                fields=["invoice", "cdr", "vat_class"], condition=Q(cdr__isnull=False), name="invoice_line_once"
            ),
            models.CheckConstraint(condition=known("kind", LineKind), name="invoice_line_kind"),
            models.CheckConstraint(condition=known("unit", LineUnit), name="invoice_line_unit"),
            models.CheckConstraint(condition=known("vat_class", VatClass), name="invoice_line_vat_class"),
            models.CheckConstraint(
                condition=Q(kind="session", cdr__isnull=False) | Q(kind="base_fee", contract__isnull=False),
                name="invoice_line_of",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.position}"


class BilledItem(TenantModel):
    """A rated item stands on a line. A credit note of the line's invoice releases it, so that it is billed again."""

    item = models.ForeignKey(RatedItem, on_delete=models.PROTECT, related_name="links", verbose_name=_("rated item"))
    line = models.ForeignKey(
        InvoiceLine, on_delete=models.PROTECT, related_name="billed_items", verbose_name=_("invoice line")
    )
    released_at = models.DateTimeField(_("released at"), null=True)

    objects = BilledQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("billed item")
        verbose_name_plural = _("billed items")
        constraints = [models.UniqueConstraint(fields=["item"], condition=Q(released_at=None), name="billed_item_once")]

    def __str__(self) -> str:
        return str(self.item_id)


class BilledFee(TenantModel):
    """A contract's base fee of a month stands on a line; released like an item."""

    contract = models.ForeignKey(Contract, on_delete=models.PROTECT, related_name="+", verbose_name=_("contract"))
    month = models.DateField(_("month"))
    line = models.ForeignKey(
        InvoiceLine, on_delete=models.PROTECT, related_name="billed_fees", verbose_name=_("invoice line")
    )
    released_at = models.DateTimeField(_("released at"), null=True)

    objects = BilledQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("billed fee")
        verbose_name_plural = _("billed fees")
        constraints = [
            models.UniqueConstraint(fields=["contract", "month"], condition=Q(released_at=None), name="billed_fee_once")
        ]

    def __str__(self) -> str:
        return f"{self.month:%Y-%m}"


class InvoiceFile(TenantModel):
    """The PDF of an invoice. It can be drawn again: the same snapshot makes the same bytes."""

    invoice = models.OneToOneField(Invoice, on_delete=models.PROTECT, related_name="file", verbose_name=_("invoice"))
    document = models.ForeignKey(Document, on_delete=models.PROTECT, related_name="+", verbose_name=_("document"))
    rendered_at = models.DateTimeField(_("rendered at"))

    objects = InvoiceFileQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("invoice file")
        verbose_name_plural = _("invoice files")

    def __str__(self) -> str:
        return str(self.document)


class Delivery(TenantModel):
    """An invoice was sent to somebody, the first time or once more. How that went is the mail's state."""

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="deliveries", verbose_name=_("invoice"))
    mail = models.OneToOneField(Mail, on_delete=models.PROTECT, related_name="+", verbose_name=_("e-mail"))
    at = models.DateTimeField(_("at"))

    objects = DeliveryQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")

    def __str__(self) -> str:
        return str(self.mail.recipient)
