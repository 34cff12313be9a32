"""CDRs with the path of their price, and sessions that have none yet."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from apps.charging.admin.sessions import PeriodFilter
from apps.charging.models import Cdr, Settlement, SettlementState
from apps.charging.prices import price_items, price_steps
from apps.core.admin import ReadOnlyAdmin, RelatedFilter, display
from apps.core.templatetags.parts import at_place, kwh, lasted, money, status_chip

_TONES = {"waiting": "Preparing", "held": "SuspendedEV", "priced": "Available", "free": "Available", "void": "ended"}


class EndedFilter(PeriodFilter):
    column = "ended_at"


class SinceFilter(PeriodFilter):
    column = "since"


@admin.register(Cdr)
class CdrAdmin(ReadOnlyAdmin):
    list_display = ("began", "place_name", "card_name", "account", "energy", "price", "kind_in_words")
    list_filter = (EndedFilter, "kind", ("account", RelatedFilter), ("location", RelatedFilter), "interpolated")
    list_select_related = ("account", "location")
    search_fields = ("public_id", "account__name", "account__number", "token__uid", "token__label")
    search_help_text = _("Account, card or id")
    ordering = ("-ended_at", "-pk")
    fieldsets = (
        (None, {"fields": (("began", "ended"), ("session_link", "kind_in_words"), ("place_name", "card_name"))}),
        (_("Price"), {"fields": (("price", "account"), "lines", "path")}),
        (
            _("Evidence"),
            {"fields": (("energy", "meters"), ("charged", "parked"), "evidence_in_words", ("public_id", "engine"))},
        ),
    )
    readonly_fields = (
        *("began", "ended", "session_link", "kind_in_words", "place_name", "card_name", "price", "lines", "path"),
        *("energy", "meters", "charged", "parked", "evidence_in_words"),
    )

    @display(description=_("began"), ordering="started_at")
    def began(self, cdr: Cdr) -> str:
        return at_place(cdr.started_at, _zone(cdr))

    @display(description=_("ended"))
    def ended(self, cdr: Cdr) -> str:
        return at_place(cdr.ended_at, _zone(cdr))

    @display(description=_("place"))
    def place_name(self, cdr: Cdr) -> str:
        return str(cdr.place.get("name", ""))

    @display(description=_("card"))
    def card_name(self, cdr: Cdr) -> str:
        named = (cdr.card.get(name) for name in ("label", "visual_number", "uid"))
        return str(next(filter(None, named), "–"))

    @display(description=_("energy"))
    def energy(self, cdr: Cdr) -> str:
        return kwh(cdr.energy_wh)

    @display(description=_("total, net"))
    def price(self, cdr: Cdr) -> str:
        return money(cdr.total, cdr.currency)

    @display(description=_("kind"), ordering="kind")
    def kind_in_words(self, cdr: Cdr) -> str:
        return f"{cdr.get_kind_display()} {cdr.version}" if cdr.version > 1 else str(cdr.get_kind_display())

    @display(description=_("session"))
    def session_link(self, cdr: Cdr) -> SafeString:
        url = reverse("backoffice:session", args=[cdr.session_id])
        return format_html('<a href="{}">{}</a>', url, _("Its readings and messages"))

    @display(description=_("line by line"))
    def lines(self, cdr: Cdr) -> str:
        found = {"items": price_items(cdr), "cdr": cdr, "zone": _zone(cdr)}
        return render_to_string("backoffice/parts/price_lines.html", found)

    @display(description=_("why this price"))
    def path(self, cdr: Cdr) -> str:
        return render_to_string("backoffice/parts/price_steps.html", {"steps": price_steps(cdr)})

    @display(description=_("meter"))
    def meters(self, cdr: Cdr) -> str:
        return f"{kwh(cdr.meter_start_wh)} → {kwh(cdr.meter_stop_wh)}"

    @display(description=_("charging time"))
    def charged(self, cdr: Cdr) -> str:
        return lasted(cdr.charging_s)

    @display(description=_("parking time"))
    def parked(self, cdr: Cdr) -> str:
        return lasted(cdr.parking_s)

    @display(description=_("readings"))
    def evidence_in_words(self, cdr: Cdr) -> str:
        readings = cdr.evidence.get("readings", {})
        return f"{readings.get('count', 0)} · SHA-256 {readings.get('sha256', '')}"


@admin.register(Settlement)
class SettlementAdmin(ReadOnlyAdmin):
    """What has no price yet, and why."""

    list_display = ("session_began", "charger", "card", "energy", "progress", "reason_in_words", "held_since")
    list_filter = ("state", "reason", SinceFilter, ("session__location", RelatedFilter))
    list_select_related = ("session__station", "session__location", "session__token")
    search_fields = ("session__uid", "session__token__label", "session__station__identity")
    ordering = ("-since", "-pk")

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        """It is a part of its session's page."""
        response: HttpResponse = redirect("backoffice:session", self.get_object(request, object_id).pk)
        return response

    @display(description=_("session"), ordering="session__started_at")
    def session_began(self, settlement: Settlement) -> str:
        return at_place(settlement.session.started_at, settlement.session.location.time_zone)

    @display(description=_("charger"))
    def charger(self, settlement: Settlement) -> str:
        return f"{settlement.session.station} #{settlement.session.connector_number}"

    @display(description=_("card"))
    def card(self, settlement: Settlement) -> str:
        return str(settlement.session.token or settlement.session.uid or "–")

    @display(description=_("energy"))
    def energy(self, settlement: Settlement) -> str:
        return kwh(settlement.session.energy_wh)

    @display(description=_("state"), ordering="state")
    def progress(self, settlement: Settlement) -> str:
        return settlement_chip(settlement)

    @display(description=_("reason"), ordering="reason")
    def reason_in_words(self, settlement: Settlement) -> str:
        return settlement.get_reason_display()

    @display(description=_("since"), ordering="since")
    def held_since(self, settlement: Settlement) -> str:
        return date_format(settlement.since, "SHORT_DATETIME_FORMAT")


def settlement_chip(settlement: Settlement) -> SafeString:
    """Where a session stands on its way to a price."""
    chip = status_chip(_TONES[SettlementState(settlement.state)], settlement.get_state_display())
    return render_to_string("parts/status_chip.html", chip)


def _zone(cdr: Cdr) -> str:
    return str(cdr.place.get("time_zone") or "UTC")
