"""CDRs with the path of their price, and sessions that have none yet."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from apps.charging import services
from apps.charging.admin.sessions import PeriodFilter
from apps.charging.models import Cdr, Settlement, SettlementState
from apps.core.admin import ReadOnlyAdmin, ReasonForm, RelatedFilter, display, reason_action
from apps.core.templatetags.parts import at_place, kwh, money, status_chip

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
    actions_detail = ("correct",)

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        """It is a part of its session's page, beside the readings that it comes from."""
        cdr = self.get_object(request, object_id)
        return redirect(f"{reverse('backoffice:session', args=[cdr.session_id])}#cdr-{cdr.pk}")

    @reason_action(
        description=_("Correct the CDR"),
        permission="charging.correct_cdr",
        consequence=_(
            "A credit takes the CDR back, and a new one is priced by the contract, tariff and VAT rate that its day "
            "has now. Both are billed."
        ),
        applies=lambda cdr: cdr.stands,
        icon="published_with_changes",
    )
    def correct(self, request: HttpRequest, cdr: Cdr, form: ReasonForm) -> None:
        services.replace_cdr(actor=request.actor, cdr=cdr, why=form.cleaned_data["why"])
        self.message_user(request, gettext("The CDR is corrected."), messages.SUCCESS)

    @display(description=_("began"), ordering="started_at")
    def began(self, cdr: Cdr) -> str:
        return at_place(cdr.started_at, _zone(cdr))

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
