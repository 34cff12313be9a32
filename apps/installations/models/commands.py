"""What we ask of a charger."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from apps.core.models import PublicIdModel, TenantModel, known
from apps.installations.models.inventory import ChargingStation
from apps.installations.querysets import (
    AtStationQuerySet,
)


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
