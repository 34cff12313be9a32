"""Tariffs, whose pages are `tariffs.views`, and VAT rates."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db import models
from django.db.models import Count, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from apps.accounts.selectors import operator_today
from apps.core.admin import ActionVariant, DropdownFilter, ModelAdmin, ReasonForm, display, reason_action
from apps.tariffs import selectors, services
from apps.tariffs.forms import RenameForm
from apps.tariffs.models import Tariff, TariffVersion, VatRate
from apps.tariffs.views import tariff_url


class PricesFilter(DropdownFilter):
    title = _("prices")
    parameter_name = "prices"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("none", gettext("None in force")), ("draft", gettext("Has a draft"))]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        if self.value() == "none":
            return queryset.filter(number_in_force=None)
        return queryset.filter(draft_number__isnull=False) if self.value() == "draft" else queryset


@admin.register(Tariff)
class TariffAdmin(ModelAdmin):
    audited_by_service = True
    list_display = ("name_link", "currency", "in_force", "valid_from", "draft", "contracts_on_it")
    list_display_links = None
    list_filter = ("currency", PricesFilter)
    search_fields = ("name",)
    ordering = ("name", "pk")
    fields = ("name", "currency")
    actions_detail = ("rename", "discard_draft")
    empty_text = _("What a kWh, an hour or a session costs. Contracts name a tariff; its prices change from a date on.")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Tariff]:
        today = operator_today(request.actor.operator_id)
        versions = TariffVersion.objects.visible_to(request.actor).filter(tariff=OuterRef("pk"))
        on_it = selectors.contract_versions_on(OuterRef("pk"), today=today).values("tariff")
        rows: models.QuerySet[Tariff] = super().get_queryset(request)
        return rows.annotate(
            number_in_force=Subquery(versions.in_force(today).values("number")[:1]),
            in_force_since=Subquery(versions.in_force(today).values("valid_from")[:1]),
            draft_number=Subquery(versions.filter(published_at=None).values("number")[:1]),
            contracts_count=Coalesce(Subquery(on_it.annotate(count=Count("pk")).values("count")), 0),
        )

    @display(description=_("tariff"), ordering="name")
    def name_link(self, tariff: Tariff) -> str:
        return format_html('<a href="{}">{}</a>', tariff_url(tariff), tariff)

    @display(description=_("in force"), ordering="number_in_force")
    def in_force(self, tariff: Any) -> str:
        if tariff.number_in_force is None:
            return gettext("no prices yet")
        return gettext("version %(number)d") % {"number": tariff.number_in_force}

    @display(description=_("since"), ordering="in_force_since")
    def valid_from(self, tariff: Any) -> str:
        return date_format(tariff.in_force_since) if tariff.in_force_since else "–"

    @display(description=_("draft"), ordering="draft_number", label="warning")
    def draft(self, tariff: Any) -> str:
        if tariff.draft_number is None:
            return ""
        return gettext("version %(number)d") % {"number": tariff.draft_number}

    @display(description=_("contracts"), ordering="contracts_count")
    def contracts_on_it(self, tariff: Any) -> str:
        url = reverse("admin:contracts_contract_changelist")
        return format_html('<a href="{}?show=running&tariff_key={}">{}</a>', url, tariff.pk, tariff.contracts_count)

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        """A tariff has a page of its own."""
        return redirect(tariff_url(self.get_object(request, object_id)))

    def save_model(self, request: HttpRequest, obj: Tariff, form: Any, change: bool) -> None:
        made = services.create_tariff(actor=request.actor, name=obj.name, currency=obj.currency)
        obj.pk = made.pk

    def response_add(self, request: HttpRequest, obj: Tariff, post_url_continue: str | None = None) -> HttpResponse:
        return redirect("tariffs:edit", obj.pk)

    def archive_object(self, request: HttpRequest, obj: Tariff, why: str) -> None:
        today = operator_today(request.actor.operator_id)
        services.archive_tariff(actor=request.actor, tariff=obj, today=today, why=why)

    @reason_action(
        description=_("Rename"),
        permission="change",
        consequence=_("Contracts and invoices to come show the new name. Invoices that were sent keep the old one."),
        form_class=RenameForm,
        icon="edit",
    )
    def rename(self, request: HttpRequest, tariff: Tariff, form: RenameForm) -> None:
        services.rename_tariff(actor=request.actor, tariff=tariff, **form.cleaned_data)
        self.message_user(request, gettext("Renamed."), messages.SUCCESS)

    @reason_action(
        description=_("Discard the draft"),
        permission="change",
        consequence=_("The draft and what was typed in it are gone. What is published stays as it is."),
        icon="delete",
        variant=ActionVariant.DANGER,
    )
    def discard_draft(self, request: HttpRequest, tariff: Tariff, form: ReasonForm) -> None:
        draft = selectors.draft_of(request.actor, tariff)
        if draft is not None:
            services.discard_draft(actor=request.actor, version=draft, why=form.cleaned_data["why"])
        self.message_user(request, gettext("The draft is discarded."), messages.SUCCESS)


@admin.register(VatRate)
class VatRateAdmin(ModelAdmin):
    list_display = ("country", "vat_class", "rate", "valid_from")
    list_filter = ("country", "vat_class")
    search_fields = ("country",)
    ordering = ("country", "vat_class", "-valid_from")
    fields = (("country", "vat_class"), ("percent", "valid_from"))
    empty_text = _("A country's rates, each from a date on. Without one, sessions there cannot be priced.")

    @display(description=_("rate"), ordering="percent")
    def rate(self, rate: VatRate) -> str:
        return f"{rate.percent.normalize():f} %"
