"""Sessions and card answers as facts; the review queue with its repairs."""

from __future__ import annotations

import datetime as dt
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import models
from django.db.models import Exists, OuterRef
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from apps.charging import services
from apps.charging.forms import RepairForm
from apps.charging.models import Authorisation, ReviewCode, ReviewItem, ReviewState, Session, SessionState
from apps.core.admin import DropdownFilter, ReadOnlyAdmin, ReasonForm, RelatedFilter, display
from apps.core.templatetags.parts import at_place, kwh, lasted, status_chip

MAX_BULK = 500

# What each repair does, for the person who is about to do it.
CONSEQUENCES = {
    "accept_as_is": _("The figures stay as they are, and this doubt no longer holds the session back."),
    "void_session": _(
        "The session is kept and counts for nothing: it is never billed. Its other doubts are settled too."
    ),
    "close_at_last_reading": _("The session ends at its last reading that shows the meter."),
    "attach_orphan_stop": _("The end that came with this item becomes the session's end, with its time and meter."),
    "merge_duplicates": _("The two become one session with the earlier start; the other one is void."),
    "set_start_meter": _("The meter at the start is set to your figure. What the charger sent is kept beside it."),
    "bridge_meters": _(
        "The energy is what the old and the new meter counted together. What the charger sent is kept beside it."
    ),
    "correct_cdr": _("A credit takes the CDR back, and a new one says what the session says now. Both are billed."),
    "shift_times": _("The session's times are corrected by the offset of the charger's clock. What it sent is kept."),
}


def local(at: Any, zone: str) -> str:
    return at_place(at, zone)


class PeriodFilter(DropdownFilter):
    """How long ago. A calendar of all months would read the whole table for each list."""

    title = _("time")
    parameter_name = "within"
    column: ClassVar[str]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", gettext("Last 24 hours")), ("7", gettext("Last 7 days")), ("31", gettext("Last 31 days"))]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        if self.value() not in ("1", "7", "31"):
            return queryset
        since = timezone.now() - dt.timedelta(days=int(self.value()))
        return queryset.filter(**{f"{self.column}__gte": since})


class BeganFilter(PeriodFilter):
    column = "started_at"


class AskedFilter(PeriodFilter):
    column = "at"


class SettledFilter(DropdownFilter):
    title = _("settled")
    parameter_name = "settled"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("no", gettext("Held back by review")), ("yes", gettext("Nothing holds it back"))]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        if self.value() not in ("yes", "no"):
            return queryset
        holding = ReviewItem.objects.visible_to(request.actor).open()
        held = Exists(holding.filter(session=OuterRef("pk"), blocking=True))
        return queryset.filter(held) if self.value() == "no" else queryset.filter(~held)


@admin.register(Session)
class SessionAdmin(ReadOnlyAdmin):
    list_display = ("began", "charger", "location", "card", "progress", "energy", "lasted", "power", "settled")
    list_filter = (
        BeganFilter,
        "state",
        SettledFilter,
        ("location", RelatedFilter),
        ("organisation", RelatedFilter),
        "free_by_policy",
    )
    list_select_related = ("station", "location", "token", "live")
    search_fields = ("station__identity", "station__name", "uid", "token__label", "token__visual_number")
    search_help_text = _("Charger or card")
    ordering = ("-started_at", "-pk")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Session]:
        holding = ReviewItem.objects.visible_to(request.actor).open()
        held = Exists(holding.filter(session=OuterRef("pk"), blocking=True))
        rows: models.QuerySet[Session] = super().get_queryset(request).annotate(held=held)
        return rows

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        """A session has a page of its own."""
        return redirect("backoffice:session", self.get_object(request, object_id).pk)

    @display(description=_("began"), ordering="started_at")
    def began(self, session: Session) -> str:
        return local(session.started_at, session.location.time_zone)

    @display(description=_("charger"), ordering="station__identity")
    def charger(self, session: Session) -> str:
        url = reverse("backoffice:station", args=[session.station_id])
        return format_html('<a href="{}">{}</a> #{}', url, session.station, session.connector_number)

    @display(description=_("card"))
    def card(self, session: Session) -> str:
        return str(session.token) if session.token else session.uid or "–"

    @display(description=_("state"), ordering="state")
    def progress(self, session: Session) -> str:
        return render_to_string("parts/status_chip.html", status_chip(session.state, session.get_state_display()))

    @display(description=_("energy"))
    def energy(self, session: Session) -> str:
        live = getattr(session, "live", None)
        return kwh(session.energy_wh if session.energy_wh is not None else live and live.energy_wh)

    @display(description=_("lasted"))
    def lasted(self, session: Session) -> str:
        until = session.ended_at
        return lasted(int((until - session.started_at).total_seconds())) if until else "–"

    @display(description=_("power"))
    def power(self, session: Session) -> str:
        live = getattr(session, "live", None)
        if session.state != SessionState.ACTIVE or live is None or live.power_w is None:
            return ""
        return f"{live.power_w / 1000:.2f} kW"

    @display(description=_("review"))
    def settled(self, session: Session) -> str:
        return gettext("held back") if session.held else ""


@admin.register(Authorisation)
class AuthorisationAdmin(ReadOnlyAdmin):
    """Every answer to "may this card charge here?", with its reason."""

    list_display = ("at", "uid", "token", "station", "status", "reason_in_words")
    list_filter = (AskedFilter, "status", "reason")
    list_select_related = ("station", "token")
    search_fields = ("uid", "token__label", "station__identity", "station__name")
    ordering = ("-at", "-pk")
    fields = ("station", "token", "uid", "at", "action", "status", "reason_in_words", "detail", "expires_at")
    readonly_fields = ("reason_in_words",)

    @display(description=_("reason"), ordering="reason")
    def reason_in_words(self, authorisation: Authorisation) -> str:
        return authorisation.get_reason_display()


class OpenFilter(DropdownFilter):
    """The queue shows what is open until something else is asked for."""

    title = _("state")
    parameter_name = "show"
    all_option = ["", _("Open")]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("resolved", gettext("Resolved")), ("all", gettext("Both"))]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        if self.value() == "all":
            return queryset
        return queryset.filter(state=self.value() or ReviewState.OPEN)


@admin.register(ReviewItem)
class ReviewItemAdmin(ReadOnlyAdmin):
    """Doubts about sessions, those that hold one back first, oldest first."""

    list_display = ("doubt", "charger", "session_link", "blocking", "opened_at", "state", "resolution_in_words")
    list_display_links = ("doubt",)
    list_filter = (OpenFilter, "code", "blocking", ("station__location", RelatedFilter))
    list_select_related = ("station__location", "session__location")
    search_fields = ("station__identity", "station__name", "session__uid")
    ordering = ("-blocking", "opened_at", "pk")
    actions = ("accept_selected",)

    @display(description=_("doubt"), ordering="code")
    def doubt(self, item: ReviewItem) -> str:
        return item.get_code_display()

    @display(description=_("charger"), ordering="station__identity")
    def charger(self, item: ReviewItem) -> str:
        if item.station is None:
            return "–"
        return format_html('<a href="{}">{}</a>', reverse("backoffice:station", args=[item.station_id]), item.station)

    @display(description=_("session"), ordering="session__started_at")
    def session_link(self, item: ReviewItem) -> str:
        if item.session is None:
            return "–"
        began = local(item.session.started_at, item.session.location.time_zone)
        return format_html('<a href="{}">{}</a>', reverse("backoffice:session", args=[item.session_id]), began)

    @display(description=_("resolution"))
    def resolution_in_words(self, item: ReviewItem) -> str:
        return str(resolution_title(item))

    # --- one item ---
    def get_urls(self) -> list[URLPattern]:
        repair = path(
            "<path:object_id>/repair/",
            self.admin_site.admin_view(self.repair_view),
            name="charging_reviewitem_repair",
        )
        return [repair, *super().get_urls()]

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        item = self.get_object(request, object_id)
        if not self.has_view_permission(request, item):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": item.get_code_display(),
            "subtitle": str(item.station or ""),
            "opts": self.opts,
            "original": item,
            "item": item,
            "evidence": evidence_lines(item),
            "repairs": repairs_of(item) if request.user.has_perm("charging.repair_session") else (),
            "resolution": resolution_title(item),
            "zone": item.station.location.time_zone if item.station else "UTC",
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "backoffice/review_item.html", context)

    def repair_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """One repair, named by `?how=`: what it does, why, and the value that it needs."""
        item = self.get_object(request, object_id)
        if not request.user.has_perm("charging.repair_session"):
            raise PermissionDenied
        repair = request.GET.get("how", "")
        chosen = next((one for one in repairs_of(item) if one.name == repair), None)
        if chosen is None:
            self.message_user(request, gettext("That is not possible any more."), messages.WARNING)
            return redirect("admin:charging_reviewitem_change", item.pk)
        back = reverse("admin:charging_reviewitem_change", args=[item.pk])
        if item.session_id is not None:
            back = reverse("backoffice:session", args=[item.session_id])
        form = RepairForm(request.POST if request.method == "POST" else None, request=request, obj=item, repair=chosen)
        if request.method == "POST" and form.is_valid():
            try:
                services.repair_item(
                    item=item, repair=repair, actor=request.actor, why=form.cleaned_data["why"], **form.values()
                )
            except ValidationError as error:
                form.add_error(None, error.messages)
            else:
                self.message_user(request, gettext("Resolved."), messages.SUCCESS)
                return redirect(back)
        context = {
            **self.admin_site.each_context(request),
            "title": chosen.title,
            "subtitle": item.get_code_display(),
            "opts": self.opts,
            "original": item,
            "form": form,
            "consequence": CONSEQUENCES[repair],
            "dangerous": repair == "void_session",
            "back": back,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "backoffice/reason.html", context)

    # --- many ---
    def has_repair_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("charging.repair_session"))

    @admin.action(description=_("Accept as they are"), permissions=["repair"])
    def accept_selected(self, request: HttpRequest, queryset: models.QuerySet[ReviewItem]) -> HttpResponse | None:
        """A preview of what would be accepted and what not, then the reason, then one repair an item."""
        chosen = list(queryset.filter(state=ReviewState.OPEN).select_related("station", "session__location")[:MAX_BULK])
        fitting = [item for item in chosen if any(one.name == "accept_as_is" for one in repairs_of(item))]
        confirmed = "why" in request.POST
        form = ReasonForm(request.POST if confirmed else None, request=request, obj=None)
        if confirmed and form.is_valid():
            self._accept(request, fitting, form.cleaned_data["why"])
            return None
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Accept as they are"),
            "opts": self.opts,
            "form": form,
            "fitting": fitting,
            "unfitting": [item for item in chosen if item not in fitting],
            "consequence": CONSEQUENCES["accept_as_is"],
            "back": reverse("admin:charging_reviewitem_changelist"),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "backoffice/accept_items.html", context)

    def _accept(self, request: HttpRequest, items: list[ReviewItem], why: str) -> None:
        refused = 0
        for item in items:
            try:
                services.accept_as_is(item=item, actor=request.actor, why=why)
            except ValidationError:  # somebody else resolved it meanwhile
                refused += 1
        done = len(items) - refused
        text = ngettext("%(count)s item was accepted.", "%(count)s items were accepted.", done) % {"count": done}
        self.message_user(request, text, messages.SUCCESS)
        if refused:
            text = ngettext(
                "%(count)s item was resolved by somebody else.",
                "%(count)s items were resolved by somebody else.",
                refused,
            )
            self.message_user(request, text % {"count": refused}, messages.WARNING)


def repairs_of(item: ReviewItem) -> tuple[services.Repair, ...]:
    """The repairs that an open item offers."""
    return services.REPAIRS[ReviewCode(item.code)] if item.state == ReviewState.OPEN else ()


def resolution_title(item: ReviewItem) -> Any:
    found = (one.title for one in services.REPAIRS[ReviewCode(item.code)] if one.name == item.resolution)
    return next(found, item.resolution)


_EVIDENCE = {
    "sent": _("Time as sent"),
    "taken": _("Time taken"),
    "at": _("At"),
    "offset_s": _("Clock ahead by (s)"),
    "uid": _("UID"),
    "answer": _("Answer to the card"),
    "reason": _("Reason"),
    "before_wh": _("Meter before (Wh)"),
    "after_wh": _("Meter after (Wh)"),
    "meter_wh": _("Meter at the end (Wh)"),
    "meter_sent": _("Meter as sent"),
    "transaction_id": _("Transaction id"),
    "received_at": _("Received at"),
    "awaiting_since": _("Awaiting final data since"),
    "first_ended_at": _("First end"),
    "first_meter_wh": _("Meter at the first end (Wh)"),
    "other": _("Other session"),
    "by": _("Newer session"),
    "error": _("Error"),
    "action": _("Message"),
}


def evidence_lines(item: ReviewItem) -> list[tuple[str, Any]]:
    """The evidence, named in words where we have them; what a charger sent is text."""
    return [(str(_EVIDENCE.get(name, name)), value) for name, value in item.evidence.items() if value not in (None, "")]
