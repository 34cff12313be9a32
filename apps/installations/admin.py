"""Locations, chargers and what is in them; commands, connections and boots as facts."""

from __future__ import annotations

from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import Count, Prefetch, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.defaultfilters import linebreaksbr
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from apps.accounts.selectors import default_seller
from apps.core.admin import (
    ModelAdmin,
    ReadOnlyAdmin,
    ReasonForm,
    RelatedFilter,
    TabularInline,
    action,
    display,
    reason_action,
)
from apps.core.templatetags.parts import at_place, status_chip
from apps.installations import hours, services
from apps.installations.commands import title_of
from apps.installations.filters import ActionFilter, ConditionFilter, ConnectorStatusFilter, OnlineFilter
from apps.installations.forms import ConnectorForm, HardwareForm, LocationForm
from apps.installations.imports import KINDS
from apps.installations.models import (
    EVSE,
    Boot,
    ChargingStation,
    Command,
    ConnectionInterval,
    Connector,
    Contact,
    HardwareAssignment,
    HardwareUnit,
    Location,
    StationModel,
)
from apps.installations.selectors import Condition, with_condition


def chip(status: str, label: str, since: Any = None) -> str:
    """The status chip of all pages, for a cell."""
    return render_to_string("parts/status_chip.html", status_chip(status, label, since))


def station_link(station: ChargingStation) -> SafeString:
    if station.pk is None:  # a row that a form invented
        return SafeString("")
    return format_html('<a href="{}">{}</a>', reverse("backoffice:station", args=[station.pk]), station)


class CsvButtons:
    """Import and export of a kind, above its list."""

    csv_kind: ClassVar[str]
    actions_list = ("import_csv", "export_csv")

    @action(description=_("Import"), url_path="import", icon="upload", permissions=["import"])
    def import_csv(self, request: HttpRequest) -> HttpResponse:
        return redirect("installations:import", self.csv_kind)

    @action(description=_("Export"), url_path="export", icon="download")
    def export_csv(self, request: HttpRequest) -> HttpResponse:
        return redirect("installations:export", self.csv_kind)

    def has_import_permission(self, request: HttpRequest) -> bool:
        return any(request.actor.can(right) for right in KINDS[self.csv_kind].permissions)


class SeenInline(TabularInline):
    """Children to look at; they are changed on pages of their own."""

    can_delete = False
    show_title = False
    max_num = 0

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


# --- locations --------------------------------------------------------------------------------------------------------
class ContactInline(TabularInline):
    model = Contact
    fields = ("task", "name", "phone", "email", "note")
    ordering = ("task", "name")
    deletable = True


class StationInline(SeenInline):
    model = ChargingStation
    fields = readonly_fields = ("charger", "identity", "model", "condition")
    ordering = ("identity",)
    per_page = 25
    verbose_name_plural = _("chargers here")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[ChargingStation]:
        return with_condition(super().get_queryset(request).filter(archived_at=None)).select_related("model", "state")

    @display(description=_("charger"))
    def charger(self, station: ChargingStation) -> str:
        return station_link(station)

    @display(description=_("state"))
    def condition(self, station: ChargingStation) -> str:
        return condition_chip(station)


@admin.register(Location)
class LocationAdmin(CsvButtons, ModelAdmin):
    csv_kind = "locations"
    form = LocationForm
    list_display = ("name", "city", "country", "host", "stations_in_use", "unknown_cards", "publish")
    list_filter = ("host", "unknown_cards", "publish")
    list_select_related = ("host",)
    search_fields = ("name", "street", "postal_code", "city")
    ordering = ("name",)
    inlines = (ContactInline, StationInline)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Who may not change them reads the opening hours in the form's lines too."""
        read_only = obj is not None and not self.has_change_permission(request, obj)
        opening = "hours_in_lines" if read_only else "opening_hours"
        address = (("street", "postal_code"), ("city", "country"), ("latitude", "longitude"), ("time_zone", opening))
        return (
            (None, {"fields": (("name", "host"), ("seller", "unknown_cards"), "publish")}),
            (_("Place"), {"fields": address}),
        )

    @display(description=_("opening hours"))
    def hours_in_lines(self, location: Location) -> str:
        return linebreaksbr(hours.to_text(location.opening_hours, ZoneInfo(location.time_zone)))

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        seller = default_seller(request.actor.operator_id)
        return {"seller": seller.pk if seller is not None else None} | super().get_changeform_initial_data(request)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Location]:
        in_use = Count("stations", filter=Q(stations__archived_at=None))
        return super().get_queryset(request).annotate(stations_count=in_use)

    @display(description=_("chargers"), ordering="stations_count")
    def stations_in_use(self, location: Location) -> SafeString:
        url = reverse("admin:installations_chargingstation_changelist")
        return format_html('<a href="{}?location__id__exact={}">{}</a>', url, location.pk, location.stations_count)


# --- chargers ---------------------------------------------------------------------------------------------------------
class ConnectorInline(SeenInline):
    model = Connector
    fields = readonly_fields = ("connector", "evse", "standard", "format", "power_type", "max_power_w", "status")
    ordering = ("number",)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Connector]:
        rows = super().get_queryset(request).filter(archived_at=None)
        return rows.select_related("evse__station", "station", "state")

    @display(description=_("connector"))
    def connector(self, connector: Connector) -> SafeString:
        if connector.pk is None:
            return SafeString("")
        url = reverse("admin:installations_connector_change", args=[connector.pk])
        note = gettext("check its data") if connector.found_at else ""
        return format_html('<a href="{}">#{}</a> {}', url, connector.number, note)

    @display(description=_("status"))
    def status(self, connector: Connector) -> str:
        if connector.pk is None:
            return ""
        return chip(connector.state.status, connector.state.get_status_display(), connector.state.status_at)


class HardwareInline(SeenInline):
    model = HardwareAssignment
    fields = readonly_fields = ("unit", "installed_at", "removed_at")
    ordering = ("-installed_at",)
    verbose_name_plural = _("hardware history")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[HardwareAssignment]:
        return super().get_queryset(request).select_related("unit")


def condition_chip(station: Any) -> str:
    if station.pk is None:
        return ""
    told = Condition(station.condition)
    return chip(told.value, str(told.label), station.state.disconnected_at if told is Condition.OFFLINE else None)


@admin.register(ChargingStation)
class ChargingStationAdmin(CsvButtons, ModelAdmin):
    csv_kind = "chargers"
    list_display = ("charger", "identity", "location", "model", "condition", "connector_statuses", "last_seen")
    list_display_links = None
    list_filter = (
        ConditionFilter,
        OnlineFilter,
        ConnectorStatusFilter,
        ("location", RelatedFilter),
        ("model", RelatedFilter),
    )
    search_fields = ("identity", "name", "hardware__unit__serial")
    search_help_text = _("Identity, name or serial number")
    ordering = ("location__name", "identity")
    inlines = (ConnectorInline, HardwareInline)
    fields = (("identity", "name"), ("location", "model"), "traced_until")
    readonly_fields = ("identity",)
    actions_detail = ("live_page", "add_connector", "assign_hardware")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[ChargingStation]:
        # Not list_select_related: Django leaves that out where the rows follow a relation already.
        rows = with_condition(super().get_queryset(request)).select_related("location", "model", "state")
        connectors = Connector.objects.visible_to(request.actor).filter(archived_at=None)
        return rows.prefetch_related(Prefetch("connectors", connectors.order_by("number").select_related("state")))

    @display(description=_("charger"), ordering="name")
    def charger(self, station: ChargingStation) -> SafeString:
        return station_link(station)

    @display(description=_("state"), ordering="condition")
    def condition(self, station: ChargingStation) -> str:
        return condition_chip(station)

    @display(description=_("connectors"))
    def connector_statuses(self, station: ChargingStation) -> str:
        return ", ".join(f"#{one.number} {one.state.get_status_display()}" for one in station.connectors.all())

    @display(description=_("last seen"), ordering="state__last_seen_at")
    def last_seen(self, station: ChargingStation) -> str:
        return at_place(station.state.last_seen_at, station.location.time_zone)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """A charger is added on the page that also shows how it connects."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        return redirect("backoffice:add_station")

    @action(description=_("Live"), url_path="live", icon="monitoring")
    def live_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return redirect("backoffice:station", self.get_object(request, object_id).pk)

    @reason_action(
        description=_("Add a connector"),
        permission="installations.add_connector",
        consequence=_("The connector is added, and an EVSE of its number where the charger has none. Nothing is sent."),
        applies=lambda station: station.archived_at is None,
        form_class=ConnectorForm,
        icon="add",
    )
    def add_connector(self, request: HttpRequest, station: ChargingStation, form: ConnectorForm) -> None:
        services.add_connector(actor=request.actor, station=station, spec=form.spec())
        self.message_user(request, gettext("The connector is added."), messages.SUCCESS)

    @reason_action(
        description=_("Change hardware"),
        permission="change",
        consequence=_("The unit hangs at this charger from then on; what hung here, and where the unit hung, ends."),
        form_class=HardwareForm,
        icon="memory",
    )
    def assign_hardware(self, request: HttpRequest, station: ChargingStation, form: HardwareForm) -> None:
        services.assign_hardware(
            actor=request.actor,
            station=station,
            unit=form.unit,
            at=form.cleaned_data["at"] or timezone.now(),
            why=form.cleaned_data["why"],
        )
        self.message_user(request, gettext("The hardware history is up to date."), messages.SUCCESS)

    def archive_object(self, request: HttpRequest, obj: ChargingStation, why: str) -> None:
        services.archive_station(actor=request.actor, station=obj, now=timezone.now(), why=why)

    def restore_object(self, request: HttpRequest, obj: ChargingStation, why: str) -> None:
        services.restore_station(actor=request.actor, station=obj, why=why)


@admin.register(EVSE)
class EVSEAdmin(ModelAdmin):
    """Its connectors' data are theirs; an EVSE has an id for roaming."""

    list_display = ("station", "number", "evse_id")
    list_select_related = ("station",)
    search_fields = ("station__identity", "station__name", "evse_id")
    ordering = ("station__identity", "number")
    fields = ("station", "number", "evse_id")
    readonly_fields = ("station", "number")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


@admin.register(Connector)
class ConnectorAdmin(CsvButtons, ModelAdmin):
    csv_kind = "connectors"
    list_display = ("name", "station", "standard", "power_type", "max_power_w", "to_check")
    list_filter = ("standard", "power_type", ("found_at", admin.EmptyFieldListFilter))
    list_select_related = ("station", "state")
    search_fields = ("station__identity", "station__name")
    ordering = ("station__identity", "number")
    fields = (
        ("station", "number"),
        ("evse", "number_in_evse"),
        ("standard", "format"),
        ("power_type", "max_power_w"),
        ("max_voltage_v", "max_current_a"),
        "found_at",
    )
    readonly_fields = ("station", "number", "evse", "found_at")
    actions_detail = ("confirm",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @display(description=_("connector"))
    def name(self, connector: Connector) -> str:
        return str(connector)

    @display(description=_("to check"), boolean=True, ordering="found_at")
    def to_check(self, connector: Connector) -> bool:
        return connector.found_at is not None

    @reason_action(
        description=_("Data checked"),
        permission="change",
        consequence=_("The connector is no longer shown as one to check. Correct its data first."),
        applies=lambda connector: connector.found_at is not None,
        icon="check",
    )
    def confirm(self, request: HttpRequest, connector: Connector, form: ReasonForm) -> None:
        services.confirm_connector(actor=request.actor, connector=connector, why=form.cleaned_data["why"])
        self.message_user(request, gettext("Checked."), messages.SUCCESS)


@admin.register(StationModel)
class StationModelAdmin(ModelAdmin):
    list_display = ("name", "vendor", "max_power_w", "chargers")
    search_fields = ("vendor", "name")
    ordering = ("vendor", "name")
    fields = (("vendor", "name"), "max_power_w", "note")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[StationModel]:
        in_use = Count("stations", filter=Q(stations__archived_at=None))
        return super().get_queryset(request).annotate(stations_count=in_use)

    @display(description=_("chargers"), ordering="stations_count")
    def chargers(self, model: StationModel) -> int:
        return int(model.stations_count)


class PlaceInline(SeenInline):
    model = HardwareAssignment
    fields = readonly_fields = ("station", "installed_at", "removed_at")
    ordering = ("-installed_at",)
    verbose_name_plural = _("where it hung")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[HardwareAssignment]:
        return super().get_queryset(request).select_related("station")


@admin.register(HardwareUnit)
class HardwareUnitAdmin(ModelAdmin):
    list_display = ("serial", "vendor", "model", "firmware", "iccid")
    search_fields = ("serial", "vendor", "model", "iccid", "imsi")
    ordering = ("vendor", "serial")
    fields = (("serial", "vendor"), ("model", "firmware"), ("iccid", "imsi"))
    inlines = (PlaceInline,)


# --- facts ------------------------------------------------------------------------------------------------------------
_COMMAND_TONES = {
    "done": "success",
    "accepted": "info",
    "sent": "info",
    "rejected": "danger",
    "timed_out": "warning",
    "not_delivered": "warning",
    "unknown": "warning",
}


@admin.register(Command)
class CommandAdmin(ReadOnlyAdmin):
    list_display = ("what", "charger", "created_at", "actor", "progress", "answered_by", "told", "finished_at")
    list_filter = ("state", ActionFilter, "answered_by")
    list_select_related = ("station",)
    search_fields = ("station__identity", "station__name", "actor", "why")
    ordering = ("-created_at", "-pk")
    date_hierarchy = "created_at"
    fields = (
        *("station", "what", "payload", "state", "actor", "why", "created_at", "deadline_at", "sent_at"),
        *("answered_at", "answered_by", "told", "answer", "finished_at", "public_id"),
    )
    readonly_fields = ("what", "told")

    @display(description=_("what"), ordering="action")
    def what(self, command: Command) -> SafeString:
        return format_html("{}<br><small>{}</small>", title_of(command.action), command.action)

    @display(description=_("charger"), ordering="station__identity")
    def charger(self, command: Command) -> SafeString:
        return station_link(command.station)

    @display(description=_("state"), ordering="state", label=_COMMAND_TONES)
    def progress(self, command: Command) -> tuple[str, str]:
        return command.state, command.get_state_display()

    @display(description=_("detail"))
    def told(self, command: Command) -> str:
        return gettext(command.detail) if command.detail else ""


@admin.register(ConnectionInterval)
class ConnectionIntervalAdmin(ReadOnlyAdmin):
    list_display = ("started_at", "ended_at", "charger", "reason", "close_code", "address", "protocol", "gateway")
    list_filter = ("reason",)
    list_select_related = ("station",)
    search_fields = ("station__identity", "station__name", "address")
    ordering = ("-started_at", "-pk")

    @display(description=_("charger"), ordering="station__identity")
    def charger(self, connection: ConnectionInterval) -> SafeString:
        return station_link(connection.station)


@admin.register(Boot)
class BootAdmin(ReadOnlyAdmin):
    list_display = ("received_at", "charger", "vendor", "model", "firmware", "serial")
    list_select_related = ("station",)
    search_fields = ("station__identity", "station__name", "serial", "firmware", "model")
    ordering = ("-received_at", "-pk")

    @display(description=_("charger"), ordering="station__identity")
    def charger(self, boot: Boot) -> SafeString:
        return station_link(boot.station)
