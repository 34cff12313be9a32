"""The outbox of e-mails."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import LANGUAGES, Brand
from apps.core.models import PublicIdModel, TenantModel, known
from apps.core.querysets import TenantQuerySet


class MailState(models.TextChoices):
    QUEUED = "queued", _("queued")
    SENT = "sent", _("sent")
    FAILED = "failed", _("failed")


class Mail(PublicIdModel, TenantModel):
    """One e-mail, rendered once in the recipient's language and kept as it was sent. A link that opens something is
    kept apart until it is sent, and shown to nobody: text and HTML hold `LINK_MARK` in its place."""

    LINK_MARK = "[link]"

    State = MailState

    key = models.CharField(max_length=80, editable=False)
    kind = models.CharField(_("kind"), max_length=40)
    recipient = models.EmailField(_("recipient"))
    language = models.CharField(_("language"), max_length=5, choices=LANGUAGES)
    brand = models.ForeignKey(
        Brand, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("brand")
    )
    subject = models.CharField(_("subject"), max_length=200)
    text = models.TextField(_("text"))
    html = models.TextField(_("HTML"), blank=True)
    link = models.CharField(max_length=400, blank=True, editable=False)
    state = models.CharField(_("state"), max_length=10, choices=MailState.choices, default=MailState.QUEUED)
    error = models.TextField(_("error"), blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    sent_at = models.DateTimeField(_("sent at"), null=True, editable=False)
    # When the last attempt began; of those that were made since somebody asked for it, how many ended without success.
    claimed_at = models.DateTimeField(_("last try"), null=True, editable=False)
    failures = models.PositiveSmallIntegerField(_("failed tries"), default=0, editable=False)
    next_try_at = models.DateTimeField(_("next try"), default=timezone.now, editable=False)

    objects = TenantQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("e-mail")
        verbose_name_plural = _("e-mails")
        constraints = [
            models.CheckConstraint(condition=known("state", MailState), name="mail_state"),
            models.UniqueConstraint(fields=["operator", "key"], name="mail_once"),
        ]
        indexes = [
            models.Index(fields=["operator", "-created_at"], name="mail_operator"),
            models.Index(fields=["next_try_at"], condition=Q(state="queued"), name="mail_waiting"),
        ]

    def __str__(self) -> str:
        return self.subject
