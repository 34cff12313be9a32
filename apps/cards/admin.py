"""Cards: what is printed on them, whose they are, and whether they open a charger."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import Membership, User
from apps.cards import services
from apps.cards.models import Token, TokenState
from apps.core.admin import ActionVariant, ModelAdmin, ReasonForm, RelatedFilter, display, reason_action
from apps.installations.admin import CsvButtons

_TONES = {
    TokenState.ACTIVE: "success",
    TokenState.BLOCKED: "danger",
    TokenState.LOST: "danger",
    TokenState.SHIPPED: "info",
    TokenState.ORDERED: "info",
    "expired": "warning",
}


@admin.register(Token)
class TokenAdmin(CsvButtons, ModelAdmin):
    csv_kind = "cards"
    list_display = ("name", "uid", "visual_number", "organisation", "holder", "life", "expires_at")
    list_filter = ("state", ("organisation", RelatedFilter), "type", "byte_order")
    list_select_related = ("organisation", "holder")
    search_fields = ("uid", "label", "visual_number", "organisation__name", "holder__email")
    ordering = ("label", "uid")
    fields = (
        ("uid", "byte_order"),
        ("label", "visual_number"),
        ("organisation", "holder"),
        ("type", "expires_at"),
        "life",
    )
    readonly_fields = ("life",)
    actions_detail = ("activate", "block", "report_lost")

    @display(description=_("card"), ordering="label")
    def name(self, token: Token) -> str:
        return str(token)

    @display(description=_("state"), ordering="state", label=_TONES)
    def life(self, token: Token) -> tuple[str, str]:
        if token.state == TokenState.ACTIVE and token.is_expired(timezone.now()):
            return "expired", gettext("expired")
        return token.state, token.get_state_display()

    def get_field_queryset(self, db: str | None, db_field: Any, request: HttpRequest) -> models.QuerySet[Any]:
        """A card is held by somebody of this operator."""
        if db_field.name != "holder":
            return super().get_field_queryset(db, db_field, request)
        people = Membership.objects.visible_to(request.actor).current().values("user")
        return User.objects.filter(pk__in=people).order_by("email")

    @reason_action(
        description=_("Activate"),
        permission="change",
        consequence=_("From the next time it is shown, the card is accepted."),
        applies=lambda token: token.state != TokenState.ACTIVE,
        icon="check_circle",
    )
    def activate(self, request: HttpRequest, token: Token, form: ReasonForm) -> None:
        services.activate_token(actor=request.actor, token=token, why=form.cleaned_data["why"])
        self.message_user(request, gettext("The card is active."), messages.SUCCESS)

    @reason_action(
        description=_("Block"),
        permission="change",
        consequence=_("From the next time it is shown, the card is refused as blocked. A running session goes on."),
        applies=lambda token: token.state not in (TokenState.BLOCKED, TokenState.LOST),
        icon="block",
        variant=ActionVariant.DANGER,
    )
    def block(self, request: HttpRequest, token: Token, form: ReasonForm) -> None:
        services.block_token(actor=request.actor, token=token, why=form.cleaned_data["why"])
        self.message_user(request, gettext("The card is blocked."), messages.SUCCESS)

    @reason_action(
        description=_("Report lost"),
        permission="change",
        consequence=_("From the next time it is shown, the card is refused. A running session goes on."),
        applies=lambda token: token.state != TokenState.LOST,
        icon="search_off",
    )
    def report_lost(self, request: HttpRequest, token: Token, form: ReasonForm) -> None:
        services.report_lost(actor=request.actor, token=token, why=form.cleaned_data["why"])
        self.message_user(request, gettext("The card counts as lost."), messages.SUCCESS)
