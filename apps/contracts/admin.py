"""Parties, billing accounts, and contracts with their terms."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import models
from django.db.models import Count, OuterRef, Q, Subquery, Value
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from apps.accounts.selectors import operator_today
from apps.contracts import selectors, services
from apps.contracts.forms import ContractForm, EndForm, TermsForm
from apps.contracts.models import BillingAccount, Contract, ContractVersion, Party
from apps.core.admin import (
    Changes,
    DropdownFilter,
    ModelAdmin,
    RelatedFilter,
    TabularInline,
    display,
    reason_action,
    visible_rows,
)
from apps.tariffs.models import Tariff

CARDS_SHOWN = 50
_TONES = {"running": "success", "ended": "default", "future": "info"}


class Created(ModelAdmin):
    """Rows that a service makes and audits; what a form changes later, the base writes."""

    def log(self, request: HttpRequest, obj: Any, verb: str, changes: Changes, why: str = "") -> None:
        if verb != "added":
            super().log(request, obj, verb, changes, why)


class AccountInline(TabularInline):
    model = BillingAccount
    fields = readonly_fields = ("account", "city", "email", "contracts_running")
    verbose_name_plural = _("billing accounts")
    can_delete = False
    show_title = False
    max_num = 0
    ordering = ("number",)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[BillingAccount]:
        rows: models.QuerySet[BillingAccount] = super().get_queryset(request)
        return rows.annotate(contracts_count=_running_contracts(request, "contracts__"))

    @display(description=_("billing account"))
    def account(self, account: BillingAccount) -> str:
        return _link("contracts_billingaccount", account)

    @display(description=_("contracts"))
    def contracts_running(self, account: Any) -> str:
        return str(account.contracts_count)


@admin.register(Party)
class PartyAdmin(Created):
    list_display = ("name", "kind", "organisation", "contracts_running")
    list_filter = ("kind", ("organisation", RelatedFilter))
    list_select_related = ("organisation",)
    search_fields = ("name", "organisation__name")
    ordering = ("name",)
    fields = (("name", "kind"), "organisation")
    autocomplete_fields = ("organisation",)
    inlines = (AccountInline,)
    empty_text = _("Who buys: companies, public bodies, persons. Each has billing accounts, and they have contracts.")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Party]:
        rows: models.QuerySet[Party] = super().get_queryset(request)
        return rows.annotate(contracts_count=_running_contracts(request, "accounts__contracts__"))

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return self.inlines if obj else ()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("organisation",) if obj is not None and obj.is_settled() else ()

    @display(description=_("running contracts"), ordering="contracts_count")
    def contracts_running(self, party: Any) -> str:
        url = reverse("admin:contracts_contract_changelist")
        return format_html('<a href="{}?account__party__id__exact={}">{}</a>', url, party.pk, party.contracts_count)

    def save_model(self, request: HttpRequest, obj: Party, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        obj.pk = services.create_party(actor=request.actor, **form.cleaned_data).pk

    def archive_object(self, request: HttpRequest, obj: Party, why: str) -> None:
        services.archive_party(actor=request.actor, party=obj, today=_today(request), why=why)


@admin.register(BillingAccount)
class BillingAccountAdmin(Created):
    list_display = ("number", "name", "party", "city", "email", "contracts_running")
    list_display_links = ("number", "name")
    list_filter = (("party", RelatedFilter), "country", "language")
    list_select_related = ("party",)
    search_fields = ("number", "name", "party__name", "email", "vat_id", "city")
    ordering = ("number",)
    fieldsets = (
        (None, {"fields": (("party", "number"), ("email", "language"), ("vat_id", "reference"))}),
        (
            _("Address on invoices"),
            {"fields": (("name", "addition"), ("street", "postal_code"), ("city", "country"))},
        ),
    )
    autocomplete_fields = ("party",)
    empty_text = _("Where invoices go: address, VAT id, language, e-mail.")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # Its invoices are seen by the party's organisation, whenever they were made.
        return ("party", "number") if obj else ()

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        offered = {"number": selectors.next_number(request.actor, BillingAccount)}
        return offered | super().get_changeform_initial_data(request)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[BillingAccount]:
        rows: models.QuerySet[BillingAccount] = super().get_queryset(request)
        return rows.annotate(contracts_count=_running_contracts(request, "contracts__"))

    @display(description=_("running contracts"), ordering="contracts_count")
    def contracts_running(self, account: Any) -> str:
        url = reverse("admin:contracts_contract_changelist")
        return format_html('<a href="{}?account__id__exact={}">{}</a>', url, account.pk, account.contracts_count)

    def save_model(self, request: HttpRequest, obj: BillingAccount, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        obj.pk = services.create_account(actor=request.actor, **form.cleaned_data).pk

    def archive_object(self, request: HttpRequest, obj: BillingAccount, why: str) -> None:
        services.archive_account(actor=request.actor, account=obj, today=_today(request), why=why)


class RunningFilter(DropdownFilter):
    title = _("state")
    parameter_name = "show"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("running", gettext("Running")), ("ended", gettext("Ended")), ("future", gettext("To come"))]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        today = _today(request)
        if self.value() == "running":
            return queryset.running_on(today)
        if self.value() == "ended":
            return queryset.filter(ends_on__lt=today)
        return queryset.filter(starts_on__gt=today) if self.value() == "future" else queryset


@admin.register(Contract)
class ContractAdmin(Created):
    form = ContractForm
    list_display = ("number", "name", "party", "life", "tariff_today", "cards_on_it", "starts_on", "ends_on")
    list_display_links = ("number", "name")
    list_filter = (RunningFilter, ("account__party", RelatedFilter), ("account", RelatedFilter), "currency")
    list_select_related = ("account__party",)
    search_fields = ("number", "name", "account__name", "account__number", "account__party__name")
    ordering = ("number",)
    fields = (
        ("account", "number"),
        ("name", "currency"),
        ("starts_on", "ends_on"),
        ("tariff", "base_fee"),
    )
    autocomplete_fields = ("account",)
    actions_detail = ("add_version", "end")
    change_form_outer_after_template = "backoffice/contract_terms.html"
    empty_text = _("What a customer agreed to: a tariff and a monthly fee, from a day on. Cards charge on a contract.")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Contract]:
        today = _today(request)
        versions = ContractVersion.objects.visible_to(request.actor).filter(contract=OuterRef("pk")).in_force(today)
        bound = Q(tokens__valid_from__lte=today) & (Q(tokens__valid_to=None) | Q(tokens__valid_to__gte=today))
        rows: models.QuerySet[Contract] = super().get_queryset(request)
        return rows.annotate(
            today=Value(today, models.DateField()),
            tariff_name=Subquery(versions.values("tariff__name")[:1]),
            tariff_key=Subquery(versions.values("tariff")[:1]),
            cards_count=Count("tokens", filter=bound & _running(today), distinct=True),
        )

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is not None:  # its terms are versions of their own by then
            kwargs["form"] = forms.ModelForm
        form = super().get_form(request, obj, change=change, **kwargs)
        if "tariff" in form.base_fields:
            tariffs = visible_rows(Tariff, request).filter(archived_at=None)
            form.base_fields["tariff"].queryset = tariffs.order_by("name")
            form.base_fields["tariff"].label_from_instance = lambda one: f"{one} ({one.currency})"
        return form

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields if obj is None else self.fields[:-1]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("account", "number", "currency", "starts_on", "ends_on") if obj else ()

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        number = selectors.next_number(request.actor, Contract)
        offered = {"number": number, "starts_on": _today(request)}
        return offered | super().get_changeform_initial_data(request)

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        contract = self.get_object(request, object_id)
        today = _today(request)
        cards = contract.tokens.select_related("token__organisation", "token__holder").order_by("-valid_from", "-pk")
        context = {
            "terms": [(one, one.state(today)) for one in selectors.history_of_terms(request.actor, contract)],
            "cards": cards[:CARDS_SHOWN],
            "today": today,
            **(extra_context or {}),
        }
        return super().change_view(request, object_id, form_url, context)

    def save_model(self, request: HttpRequest, obj: Contract, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        obj.pk = services.create_contract(actor=request.actor, **form.cleaned_data).pk

    @display(description=_("party"), ordering="account__party__name")
    def party(self, contract: Contract) -> str:
        return str(contract.account.party)

    @display(description=_("state"), label=_TONES)
    def life(self, contract: Any) -> tuple[str, str]:
        if contract.starts_on > contract.today:
            return "future", gettext("to come")
        if contract.ends_on is not None and contract.ends_on < contract.today:
            return "ended", gettext("ended")
        return "running", gettext("running")

    @display(description=_("tariff today"), ordering="tariff_name")
    def tariff_today(self, contract: Any) -> str:
        if contract.tariff_key is None:
            return "–"
        url = reverse("tariffs:tariff", args=[contract.tariff_key])
        return format_html('<a href="{}">{}</a>', url, contract.tariff_name)

    @display(description=_("cards today"), ordering="cards_count")
    def cards_on_it(self, contract: Any) -> str:
        url = reverse("admin:cards_token_changelist")
        return format_html(
            '<a href="{}?contracts__contract__id__exact={}">{}</a>', url, contract.pk, contract.cards_count
        )

    @reason_action(
        description=_("Change the terms"),
        permission="change",
        consequence=_("From that day on, sessions on this contract have these terms. What is written is final."),
        form_class=TermsForm,
        icon="edit_calendar",
    )
    def add_version(self, request: HttpRequest, contract: Contract, form: TermsForm) -> None:
        services.add_version(actor=request.actor, contract=contract, today=_today(request), **form.cleaned_data)
        self.message_user(request, gettext("The new terms are written."), messages.SUCCESS)

    @reason_action(
        description=_("Set the end"),
        permission="change",
        consequence=_("After its last day, cards on this contract are refused until they are on another one."),
        form_class=EndForm,
        icon="event_busy",
    )
    def end(self, request: HttpRequest, contract: Contract, form: EndForm) -> None:
        services.end_contract(actor=request.actor, contract=contract, today=_today(request), **form.cleaned_data)
        self.message_user(request, gettext("The end of the contract is set."), messages.SUCCESS)


def _running_contracts(request: HttpRequest, path: str) -> Count:
    return Count(path.removesuffix("__"), filter=_running(_today(request), path), distinct=True)


def _running(today: dt.date, path: str = "") -> Q:
    """Contracts that run today, reached by `path`."""
    ends = Q(**{f"{path}ends_on": None}) | Q(**{f"{path}ends_on__gte": today})
    return Q(**{f"{path}starts_on__lte": today}) & ends


def _link(name: str, row: models.Model) -> str:
    return format_html('<a href="{}">{}</a>', reverse(f"admin:{name}_change", args=[row.pk]), row)


def _today(request: HttpRequest) -> Any:
    """The operator's date, read once a request."""
    if not hasattr(request, "operator_today"):
        request.operator_today = operator_today(request.actor.operator_id)
    return request.operator_today
