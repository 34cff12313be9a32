"""What the gateway keeps: refused connections and what to do about them, keys of the charger URL, quarantine."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from apps.core.admin import (
    ActionVariant,
    ColumnFilter,
    PlatformAdmin,
    ReadOnlyAdmin,
    ReasonForm,
    action,
    display,
    reason_action,
)
from apps.ocpp import selectors, services
from apps.ocpp.models import (
    GatewayLease,
    HandshakeRefusal,
    OperatorKey,
    QuarantinedFrame,
    RefusalReason,
    StrangerRefusal,
)


class ReasonFilter(ColumnFilter):
    title = _("reason")
    parameter_name = "why"
    column = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(one.value, str(one.label)) for one in RefusalReason]


def can_be_adopted(refusal: HandshakeRefusal) -> bool:
    return refusal.reason == RefusalReason.UNKNOWN_STATION and refusal.station_id is None


@admin.register(HandshakeRefusal)
class HandshakeRefusalAdmin(ReadOnlyAdmin):
    """Whom the gateway sent away, why, and what to do."""

    list_display = ("identity", "why", "what_to_do", "count", "last_at", "address", "charger")
    list_filter = (ReasonFilter,)
    list_select_related = ("station",)
    search_fields = ("identity", "address", "user_agent")
    ordering = ("-last_at", "-pk")
    fields = readonly_fields = (
        *("identity", "why", "what_to_do", "charger", "count", "first_at", "last_at", "address", "user_agent"),
    )
    actions_detail = ("adopt", "renew_key")

    @display(description=_("why"), ordering="reason")
    def why(self, refusal: HandshakeRefusal) -> str:
        return selectors.describe_refusals([refusal])[0].reason

    @display(description=_("what to do"))
    def what_to_do(self, refusal: HandshakeRefusal) -> str:
        if refusal.reason == RefusalReason.UNKNOWN_STATION and refusal.station_id is not None:
            return gettext("It has been adopted. Set its key in the charger.")
        return selectors.describe_refusals([refusal])[0].remedy

    @display(description=_("charger"))
    def charger(self, refusal: HandshakeRefusal) -> str:
        if refusal.station is None:
            return "–"
        return format_html(
            '<a href="{}">{}</a>', reverse("backoffice:station", args=[refusal.station_id]), refusal.station
        )

    @action(description=_("Adopt"), url_path="adopt", icon="add_link", permissions=["ocpp.adopt_handshakerefusal"])
    def adopt(self, request: HttpRequest, object_id: str) -> HttpResponse:
        refusal = self.get_object(request, object_id)
        return redirect(f"{reverse('backoffice:add_station')}?refusal={refusal.public_id}")

    adopt.applies = can_be_adopted

    @action(
        description=_("Issue a new key"),
        url_path="renew-key",
        icon="key",
        permissions=["installations.change_chargingstation"],
    )
    def renew_key(self, request: HttpRequest, object_id: str) -> HttpResponse:
        refusal = self.get_object(request, object_id)
        if refusal.station_id is None:
            return redirect("admin:ocpp_handshakerefusal_change", refusal.pk)
        return redirect("backoffice:station_key", refusal.station_id)

    renew_key.applies = lambda refusal: refusal.station_id is not None


@admin.register(OperatorKey)
class OperatorKeyAdmin(ReadOnlyAdmin):
    list_display = ("key", "created_at", "valid_until")
    ordering = ("-created_at",)
    fields = readonly_fields = ("key", "created_at", "valid_until")
    actions_detail = ("rotate",)

    @reason_action(
        description=_("Replace"),
        permission="ocpp.add_operatorkey",
        consequence=_(
            "A new key is made for the charger URL. The older ones go on opening it for a while: move all chargers to "
            "the new URL until then."
        ),
        applies=lambda key: key.valid_until is None,
        icon="autorenew",
        variant=ActionVariant.DANGER,
    )
    def rotate(self, request: HttpRequest, key: OperatorKey, form: ReasonForm) -> None:
        services.rotate_operator_key(actor=request.actor, now=timezone.now())
        self.message_user(request, gettext("A new key is in use."), messages.SUCCESS)


@admin.register(QuarantinedFrame)
class QuarantinedFrameAdmin(ReadOnlyAdmin):
    """Messages that could not be stored as what they say: confirmed, and kept as bytes."""

    list_display = ("received_at", "station", "error")
    list_select_related = ("station",)
    search_fields = ("station__identity", "station__name", "error")
    ordering = ("-received_at", "-pk")
    fields = readonly_fields = ("station", "received_at", "generation", "sequence", "error", "text")

    @display(description=_("message"))
    def text(self, frame: QuarantinedFrame) -> str:
        return bytes(frame.raw).decode("utf-8", "backslashreplace")


@admin.register(StrangerRefusal)
class StrangerRefusalAdmin(PlatformAdmin, ReadOnlyAdmin):
    """Connections under a key that no operator has."""

    list_display = ("key", "identity", "address", "count", "first_at", "last_at")
    search_fields = ("key", "identity", "address")
    ordering = ("-last_at", "-pk")


@admin.register(GatewayLease)
class GatewayLeaseAdmin(PlatformAdmin, ReadOnlyAdmin):
    list_display = ("name", "host", "pid", "started_at", "beat_at")
    ordering = ("name",)
