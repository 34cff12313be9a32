"""Tokens that drivers present."""

from __future__ import annotations

import datetime as dt

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import Organisation, User
from apps.accounts.selectors import operator_today
from apps.cards import uid as uids
from apps.cards.querysets import CardOrderQuerySet, TokenContractQuerySet, TokenQuerySet
from apps.contracts.models import Contract
from apps.core.models import PublicIdModel, TenantModel, known


class TokenState(models.TextChoices):
    """A card's life. "Expired" is no state: it follows from the date."""

    ORDERED = "ordered", _("ordered")
    SHIPPED = "shipped", _("shipped")
    ACTIVE = "active", _("active")
    BLOCKED = "blocked", _("blocked")
    LOST = "lost", _("lost")


class ByteOrder(models.TextChoices):
    AS_PRINTED = "as_printed", _("as printed")
    REVERSED = "reversed", _("reversed")
    EITHER = "either", _("either")


class TokenType(models.TextChoices):
    """OCPI 2.2.1 12.4.4."""

    RFID = "RFID", _("RFID card")
    APP_USER = "APP_USER", _("app")
    AD_HOC_USER = "AD_HOC_USER", _("ad hoc")
    OTHER = "OTHER", _("other")


# States in which the UID may be unknown still: it is read when the card is sent.
WITHOUT_UID = frozenset({TokenState.ORDERED, TokenState.BLOCKED, TokenState.LOST})


class CardOrder(PublicIdModel, TenantModel):
    """Cards that an organisation ordered together, and where they go. Its cards say how far each of them is."""

    organisation = models.ForeignKey(
        Organisation, on_delete=models.PROTECT, related_name="card_orders", verbose_name=_("organisation")
    )
    address = models.TextField(_("delivery address"), max_length=500)
    ordered_at = models.DateTimeField(_("ordered at"), auto_now_add=True)
    ordered_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, related_name="+", editable=False, verbose_name=_("ordered by")
    )

    objects = CardOrderQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("card order")
        verbose_name_plural = _("card orders")

    def __str__(self) -> str:
        words = {"number": self.pk or 0, "organisation": self.organisation}
        return gettext("Order %(number)d of %(organisation)s") % words


class Token(PublicIdModel, TenantModel):
    """A card (or app id). `uid` is kept in its normal form, and None until an ordered card is sent; `organisation`
    owns it, `holder` drives with it."""

    State = TokenState

    uid = models.CharField(
        _("UID"), max_length=36, null=True, blank=True, help_text=_("As printed; separators and case do not matter.")
    )
    byte_order = models.CharField(
        _("byte order"), max_length=12, choices=ByteOrder.choices, default=ByteOrder.AS_PRINTED
    )
    type = models.CharField(_("type"), max_length=12, choices=TokenType.choices, default=TokenType.RFID)
    visual_number = models.CharField(_("printed number"), max_length=64, blank=True)
    label = models.CharField(_("label"), max_length=80, blank=True)
    organisation = models.ForeignKey(
        Organisation,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="tokens",
        verbose_name=_("organisation"),
    )
    holder = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="tokens", verbose_name=_("holder")
    )
    state = models.CharField(_("state"), max_length=12, choices=TokenState.choices, default=TokenState.ACTIVE)
    expires_at = models.DateTimeField(_("valid until"), null=True, blank=True)
    order = models.ForeignKey(
        CardOrder,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="tokens",
        editable=False,
        verbose_name=_("card order"),
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    objects = TokenQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("card")
        verbose_name_plural = _("cards")
        permissions = [
            ("order_token", "Can order cards"),
            ("block_token", "Can block cards"),
            ("assign_contract", "Can bind cards to contracts"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["operator", "uid"],
                name="token_uid_once",
                violation_error_message=_("There is a card with this UID already."),
            ),
            models.CheckConstraint(
                condition=Q(uid__isnull=False) | Q(state__in=sorted(WITHOUT_UID)), name="token_uid_unless_ordered"
            ),
            models.CheckConstraint(condition=known("state", TokenState), name="token_state"),
            models.CheckConstraint(condition=known("byte_order", ByteOrder), name="token_byte_order"),
            models.CheckConstraint(condition=known("type", TokenType), name="token_type"),
        ]
        indexes = [models.Index(fields=["organisation"], name="token_organisation")]

    def __str__(self) -> str:
        return self.label or self.visual_number or self.uid or gettext("card without a name")

    def clean(self) -> None:
        self.uid = (uids.normalise(self.uid) if self.uid else "") or None
        super().clean()
        if self.uid is None and self.state not in WITHOUT_UID:
            raise ValidationError({"uid": _("The UID is missing.")})
        if self.pk is not None and self.organisation is not None and (refusal := self._refusal_to_move()):
            raise ValidationError({"organisation": refusal})

    @property
    def is_to_send(self) -> bool:
        """Whether nobody has it yet: it is ordered, or its order was called off before it had a UID."""
        return self.state == TokenState.ORDERED or self.uid is None

    def refusal_of(self, contract: Contract) -> str:
        """Why it may not charge on the contract: an organisation's card is billed to that organisation, or its people
        would see cards of others on their invoices. Empty if it may."""
        party = contract.account.party
        if self.organisation_id is None or self.organisation_id == party.organisation_id:
            return ""
        words = {"card": self.organisation, "contract": contract, "party": party, "other": party.organisation}
        if party.organisation is None:
            text = gettext("The card belongs to %(card)s, %(party)s with contract %(contract)s to no organisation.")
        else:
            text = gettext("The card belongs to %(card)s, contract %(contract)s to %(other)s.")
        return text % words

    def _refusal_to_move(self) -> str:
        """What keeps it with the organisation that it is stored with."""
        rows = TokenContract.objects.unscoped("of this card").filter(token=self.pk)
        moved = rows.exclude(token__organisation=self.organisation).ends_after(operator_today(self.operator_id))
        bound = moved.select_related("contract__account__party__organisation")
        return next(filter(None, (self.refusal_of(row.contract) for row in bound)), "")

    def is_expired(self, now: dt.datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


class TokenContract(TenantModel):
    """Which contract a token charges on, by period: local dates, both in. Two of one token never overlap, which the
    database enforces. Only the end of a period changes; what was charged in it stays what it was."""

    token = models.ForeignKey(Token, on_delete=models.PROTECT, related_name="contracts", verbose_name=_("card"))
    contract = models.ForeignKey(Contract, on_delete=models.PROTECT, related_name="tokens", verbose_name=_("contract"))
    valid_from = models.DateField(_("valid from"))
    valid_to = models.DateField(_("valid to"), null=True, blank=True, help_text=_("Its last day."))
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    objects = TokenContractQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("contract of a card")
        verbose_name_plural = _("contracts of cards")
        constraints = [
            models.CheckConstraint(
                condition=Q(valid_to=None) | Q(valid_to__gte=F("valid_from")),
                name="token_contract_ends_after_start",
                violation_error_message=_("It would end before it starts."),
            )
        ]
        indexes = [models.Index(fields=["token", "valid_from"], name="token_contract_token")]

    def __str__(self) -> str:
        return f"{self.token}: {self.contract}"

    def covers(self, day: dt.date) -> bool:
        """Whether the token charges on the contract on a local date."""
        return self.valid_from <= day and (self.valid_to is None or day <= self.valid_to)
