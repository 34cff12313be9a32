"""Cards: what is printed on them, whose they are, whether they open a charger, and which contract they charge on."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Count, Exists, OuterRef, Prefetch, Q
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import linebreaksbr
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import Membership, User
from apps.accounts.selectors import operator_today
from apps.cards import selectors, services
from apps.cards.forms import BindForm, PriceForm, ShipForm, UnbindForm
from apps.cards.models import CardOrder, Token, TokenContract, TokenState
from apps.core.admin import (
    ActionVariant,
    DropdownFilter,
    ModelAdmin,
    ReadOnlyAdmin,
    ReasonForm,
    RelatedFilter,
    display,
    reason_action,
)
from apps.installations.admin import CsvButtons, SeenInline
from apps.installations.models import Location
from apps.tariffs.words import lines_of, notes_of

MAX_BULK = 500

_TONES = {
    TokenState.ACTIVE: "success",
    TokenState.BLOCKED: "danger",
    TokenState.LOST: "danger",
    TokenState.SHIPPED: "info",
    TokenState.ORDERED: "info",
    "expired": "warning",
}


class BoundFilter(DropdownFilter):
    title = _("contract today")
    parameter_name = "bound"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("no", gettext("None")), ("yes", gettext("Has one"))]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        if self.value() not in ("yes", "no"):
            return queryset
        today = operator_today(request.actor.operator_id)
        rows = TokenContract.objects.visible_to(request.actor).in_force(today)
        bound = Exists(rows.filter(token=OuterRef("pk")))
        return queryset.filter(bound) if self.value() == "yes" else queryset.filter(~bound)


@admin.register(Token)
class TokenAdmin(CsvButtons, ModelAdmin):
    csv_kind = "cards"
    list_display = ("name", "uid", "visual_number", "organisation", "holder", "life", "contract_today", "expires_at")
    list_filter = (
        "state",
        ("organisation", RelatedFilter),
        BoundFilter,
        ("contracts__contract", RelatedFilter),
        "type",
        "byte_order",
    )
    list_select_related = ("organisation", "holder")
    search_fields = ("uid", "label", "visual_number", "organisation__name", "holder__email")
    ordering = ("label", "uid")
    fields = (
        ("uid", "byte_order"),
        ("label", "visual_number"),
        ("organisation", "holder"),
        ("type", "expires_at"),
        "state_in_words",
    )
    readonly_fields = ("state_in_words",)
    actions = ("bind_selected",)
    actions_detail = ("ship", "activate", "bind", "unbind", "block", "report_lost")
    change_form_outer_after_template = "backoffice/card_contracts.html"

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Token]:
        today = operator_today(request.actor.operator_id)
        bound = TokenContract.objects.visible_to(request.actor).in_force(today).select_related("contract")
        rows: models.QuerySet[Token] = super().get_queryset(request)
        return rows.prefetch_related(Prefetch("contracts", bound, to_attr="bound_today"))

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        token = self.get_object(request, object_id)
        bindings = TokenContract.objects.visible_to(request.actor).filter(token=token)
        context = {
            "bindings": bindings.select_related("contract__account").order_by("-valid_from"),
            "today": operator_today(token.operator_id),
            **explained(request, token),
            **(extra_context or {}),
        }
        return super().change_view(request, object_id, form_url, context)

    @display(description=_("contract today"))
    def contract_today(self, token: Any) -> str:
        if not token.bound_today:
            return "–"
        contract = token.bound_today[0].contract
        url = reverse("admin:contracts_contract_change", args=[contract.pk])
        return format_html('<a href="{}">{}</a>', url, contract)

    @display(description=_("card"), ordering="label")
    def name(self, token: Token) -> str:
        return str(token)

    @display(description=_("state"), ordering="state", label=_TONES)
    def life(self, token: Token) -> tuple[str, str]:
        if token.state == TokenState.ACTIVE and token.is_expired(timezone.now()):
            return "expired", gettext("expired")
        return token.state, token.get_state_display()

    @display(description=_("state"))
    def state_in_words(self, token: Token) -> str:
        return self.life(token)[1]

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
        applies=lambda token: token.state != TokenState.ACTIVE and token.uid is not None,
        icon="check_circle",
    )
    def activate(self, request: HttpRequest, token: Token, form: ReasonForm) -> None:
        services.activate_token(actor=request.actor, token=token, why=form.cleaned_data["why"])
        self.message_user(request, gettext("The card is active."), messages.SUCCESS)

    @reason_action(
        description=_("Send"),
        permission="change",
        consequence=_("The card is on its way under this UID. It is refused until it is activated."),
        applies=lambda token: token.is_to_send,
        form_class=ShipForm,
        icon="local_shipping",
    )
    def ship(self, request: HttpRequest, token: Token, form: ShipForm) -> None:
        services.ship_token(actor=request.actor, token=token, **form.cleaned_data)
        self.message_user(request, gettext("The card is on its way."), messages.SUCCESS)

    @reason_action(
        description=_("Bind to a contract"),
        permission="cards.assign_contract",
        consequence=_("Sessions that start in this period are priced by the contract, and billed to its account."),
        form_class=BindForm,
        icon="link",
    )
    def bind(self, request: HttpRequest, token: Token, form: BindForm) -> None:
        services.assign_contract(actor=request.actor, token=token, **form.cleaned_data)
        self.message_user(request, gettext("The card is bound to the contract."), messages.SUCCESS)

    @reason_action(
        description=_("End a contract"),
        permission="cards.assign_contract",
        consequence=_("After that day the card is refused, until it is on another contract. What was priced stays."),
        form_class=UnbindForm,
        icon="link_off",
    )
    def unbind(self, request: HttpRequest, token: Token, form: UnbindForm) -> None:
        today = operator_today(token.operator_id)
        services.end_assignment(actor=request.actor, today=today, **form.cleaned_data)
        self.message_user(request, gettext("The end is set."), messages.SUCCESS)

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
        applies=lambda token: token.state != TokenState.LOST and not token.is_to_send,
        icon="search_off",
    )
    def report_lost(self, request: HttpRequest, token: Token, form: ReasonForm) -> None:
        services.report_lost(actor=request.actor, token=token, why=form.cleaned_data["why"])
        self.message_user(request, gettext("The card counts as lost."), messages.SUCCESS)

    # --- many ---
    def has_assign_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("cards.assign_contract"))

    @admin.action(description=_("Bind to a contract"), permissions=["assign"])
    def bind_selected(self, request: HttpRequest, queryset: models.QuerySet[Token]) -> HttpResponse | None:
        """Which contract; then a preview of what becomes of each card; then it is done."""
        chosen = list(queryset.select_related("organisation")[:MAX_BULK])
        form = BindForm(request.POST if "why" in request.POST else None, request=request, obj=None)
        outcomes, seen = [], ""
        if form.is_bound and form.is_valid():
            seen = form.digest()
            # Only what was looked at is done: a field that was changed since is looked at first.
            if "confirmed" in request.POST and request.POST.get("seen") == seen:
                self._bind(request, chosen, form)
                return None
            outcomes = services.preview_assignments(actor=request.actor, tokens=chosen, binding=form.binding())
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Bind to a contract"),
            "opts": self.opts,
            "form": form,
            "chosen": chosen,
            "fitting": [one for one in outcomes if not one.refusal],
            "unfitting": [one for one in outcomes if one.refusal],
            "previewed": bool(outcomes),
            "seen": seen,
            "most": MAX_BULK,
            "back": reverse("admin:cards_token_changelist"),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "backoffice/bind_cards.html", context)

    def _bind(self, request: HttpRequest, tokens: list[Token], form: BindForm) -> None:
        outcomes = services.assign_contracts(
            actor=request.actor, tokens=tokens, binding=form.binding(), why=form.cleaned_data["why"]
        )
        done = sum(not one.refusal for one in outcomes)
        text = ngettext("%(count)d card is bound.", "%(count)d cards are bound.", done) % {"count": done}
        self.message_user(request, text, messages.SUCCESS)
        if left := len(outcomes) - done:
            text = ngettext("%(count)d card stays as it was.", "%(count)d cards stay as they were.", left)
            self.message_user(request, text % {"count": left}, messages.WARNING)


def explained(request: HttpRequest, token: Token) -> dict[str, Any]:
    """What a card pays at a place, with the way to the answer; the first place and today if nothing was asked."""
    if "place" in request.GET:
        form = PriceForm(request.GET, request=request)
    else:
        places = Location.objects.visible_to(request.actor).filter(archived_at=None)
        place = places.order_by("name").values_list("pk", flat=True).first()
        form = PriceForm({"place": place or "", "on": operator_today(token.operator_id)}, request=request)
    if not form.is_valid():
        return {"price_form": form}
    noon = form.noon()
    path = selectors.price_path(request.actor, token, form.cleaned_data["place"], noon, noon)
    context: dict[str, Any] = {"price_form": form, "price_path": path}
    if path.tariff_version is not None:
        try:
            terms = path.tariff_version.terms
        except ValidationError:
            return context
        context |= {"price_lines": lines_of(terms), "price_notes": notes_of(terms)}
    return context


# --- orders -----------------------------------------------------------------------------------------------------------
class OrderedInline(SeenInline):
    model = Token
    fk_name = "order"
    fields = readonly_fields = ("card", "uid", "visual_number", "holder", "state", "next_step")
    ordering = ("pk",)
    verbose_name_plural = _("cards of this order")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Token]:
        return super().get_queryset(request).select_related("holder")

    @display(description=_("card"))
    def card(self, token: Token) -> str:
        return format_html('<a href="{}">{}</a>', reverse("admin:cards_token_change", args=[token.pk]), token)

    @display(description=_("next step"))
    def next_step(self, token: Token) -> str:
        steps = {TokenState.ORDERED: ("ship", gettext("Send")), TokenState.SHIPPED: ("activate", gettext("Activate"))}
        if token.state not in steps:
            return ""
        name, title = steps[TokenState(token.state)]
        return format_html('<a href="{}">{}</a>', reverse(f"admin:cards_token_{name}", args=[token.pk]), title)


@admin.register(CardOrder)
class CardOrderAdmin(ReadOnlyAdmin):
    list_display = ("name", "organisation", "ordered_at", "ordered_by", "cards_count", "to_send")
    list_filter = (("organisation", RelatedFilter),)
    list_select_related = ("organisation", "ordered_by")
    search_fields = ("organisation__name", "address", "tokens__label")
    ordering = ("-ordered_at", "-pk")
    fields = (("organisation", "ordered_by"), ("lines_of_address", "ordered_at"))
    readonly_fields = ("lines_of_address",)
    inlines = (OrderedInline,)
    empty_text = _("Fleet managers order cards in the portal; here you see what is to be sent.")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[CardOrder]:
        waiting = Count("tokens", filter=Q(tokens__state=TokenState.ORDERED))
        rows: models.QuerySet[CardOrder] = super().get_queryset(request)
        return rows.annotate(tokens_count=Count("tokens"), waiting=waiting)

    @display(description=_("delivery address"))
    def lines_of_address(self, order: CardOrder) -> str:
        return linebreaksbr(order.address)

    @display(description=_("order"), ordering="pk")
    def name(self, order: CardOrder) -> str:
        return str(order)

    @display(description=_("cards"), ordering="tokens_count")
    def cards_count(self, order: Any) -> str:
        return str(order.tokens_count)

    @display(description=_("to send"), ordering="waiting")
    def to_send(self, order: Any) -> str:
        return str(order.waiting) if order.waiting else "–"
