"""A tariff's pages: in words, as a week and with a priced example; the editor of its draft; publishing."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.forms.formsets import BaseFormSet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _

from apps.accounts.selectors import default_seller, operator_today, operator_zone
from apps.core import money
from apps.core.admin import add_refusal, render_page
from apps.core.templatetags.parts import kwh
from apps.installations.models import Location
from apps.tariffs import elements as ocpi
from apps.tariffs import selectors, services
from apps.tariffs.elements import Dimension, VatClass
from apps.tariffs.forms import DraftForm, ElementRows, ExampleForm, PublishForm, rows_from
from apps.tariffs.models import Tariff, TariffVersion
from apps.tariffs.rating import Period, Rating, RatingError, Terms
from apps.tariffs.week import weeks_of
from apps.tariffs.words import bare_price, duration_words, lines_of, notes_of, price_words, title_of


def tariff_page(request: HttpRequest, tariff_id: int) -> HttpResponse:
    """What a tariff says: the version asked for by `?version=`, else the one in force, else the draft."""
    tariff = _tariff(request, tariff_id)
    actor, today = request.actor, operator_today(tariff.operator_id)
    versions = selectors.versions_of(actor, tariff)
    in_force = next((one for one in versions if one.state(today) == "present"), None)
    chosen = _chosen(request.GET.get("version"), [one.version for one in versions])
    if chosen is None and in_force is not None:
        chosen = in_force.version
    if chosen is None and versions:
        chosen = versions[0].version
    return render_page(
        request,
        "backoffice/tariff.html",
        title=tariff.name,
        subtitle=tariff.currency,
        tariff=tariff,
        original=tariff,
        versions=[(one, one.state(today)) for one in versions],
        chosen=chosen,
        in_force=in_force.version if in_force else None,
        draft=next((one.version for one in versions if one.version.is_draft), None),
        may_change=actor.can("tariffs.change_tariff") and tariff.archived_at is None,
        may_publish=actor.can("tariffs.publish_tariff") and tariff.archived_at is None,
        **(_told(request, chosen, today) if chosen is not None else {}),
    )


def edit_draft(request: HttpRequest, tariff_id: int) -> HttpResponse:
    """The editor. It begins with the draft, else with what holds last, else empty."""
    tariff = _tariff(request, tariff_id, "tariffs.change_tariff")
    if tariff.archived_at is not None:
        return _refuse_archived(request, tariff)
    if request.method == "POST":
        data = _with_a_row_more(request) if "add" in request.POST else request.POST
        rows, whole, faults = ElementRows(data, prefix="rows"), DraftForm(data), []
        if "add" not in request.POST and rows.is_valid() and whole.is_valid():
            try:
                services.save_draft(actor=request.actor, tariff=tariff, elements=rows.elements(), **whole.cleaned_data)
            except ValidationError as error:
                faults = error.messages
            else:
                messages.success(request, _("The draft is saved. Nothing is charged by it before it is published."))
                return redirect(f"{tariff_url(tariff)}?version=draft")
    else:
        rows, whole, faults = *_editor(request, tariff), []
    return render_page(
        request,
        "backoffice/tariff_edit.html",
        title=_("Prices of %(tariff)s") % {"tariff": tariff},
        subtitle=tariff.currency,
        tariff=tariff,
        original=tariff,
        rows=rows,
        whole=whole,
        faults=faults,
    )


def publish(request: HttpRequest, tariff_id: int) -> HttpResponse:
    """The draft once more, what is odd about it, an example; then from when it holds, and why."""
    tariff = _tariff(request, tariff_id, "tariffs.publish_tariff")
    if tariff.archived_at is not None:
        return _refuse_archived(request, tariff)
    draft = selectors.draft_of(request.actor, tariff)
    if draft is None:
        messages.warning(request, _("There is no draft. Change the prices first."))
        return redirect(tariff_url(tariff))
    today = operator_today(tariff.operator_id)
    form = PublishForm(
        request.POST if request.method == "POST" else None, request=request, obj=draft, initial={"valid_from": today}
    )
    if request.method == "POST" and form.is_valid():
        try:
            seen = request.POST.get("seen", "")
            services.publish_version(actor=request.actor, version=draft, today=today, seen=seen, **form.cleaned_data)
        except ValidationError as error:
            add_refusal(form, error)
            draft = selectors.draft_of(request.actor, tariff) or draft
        else:
            messages.success(request, _("Version %(number)d is published.") % {"number": draft.number})
            return redirect(f"{tariff_url(tariff)}?version={draft.number}")
    return render_page(
        request,
        "backoffice/tariff_publish.html",
        title=_("Publish %(version)s") % {"version": draft},
        subtitle=tariff.currency,
        tariff=tariff,
        original=tariff,
        chosen=draft,
        seen=services.fingerprint_of_draft(draft),
        form=form,
        in_force=selectors.version_in_force(request.actor, tariff, today),
        **_told(request, draft, today),
    )


def tariff_url(tariff: Tariff) -> str:
    return reverse("tariffs:tariff", args=[tariff.pk])


# --- what a version says ----------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Vat:
    """All items of one rate."""

    percent: Decimal
    net: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Priced:
    """A period of the example as a line of the table."""

    title: str
    when: str
    row: int
    measured: str
    counted: str
    price: str
    exact: str


@dataclass(frozen=True, slots=True)
class Example:
    """A priced session with VAT, or why there is no price."""

    rating: Rating | None
    lines: tuple[Priced, ...] = ()
    vat: tuple[Vat, ...] = ()
    gross: Decimal | None = None
    fault: str = ""


def _told(request: HttpRequest, version: TariffVersion, today: dt.date) -> dict[str, Any]:
    """Words, pictures, warnings and an example; or why the version cannot be read."""
    try:
        terms = version.terms
    except ValidationError as error:
        return {"unreadable": error.messages}
    form = _example_form(request, today)
    return {
        "lines": lines_of(terms),
        "notes": notes_of(terms),
        "weeks": weeks_of(terms, max(version.valid_from or today, today)),
        "faults": ocpi.faults_of_publication(terms.elements),
        "warnings": ocpi.warnings_of(terms.elements),
        "example_form": form,
        "example": _example(request, form, terms) if form.is_valid() else None,
    }


def _example_form(request: HttpRequest, today: dt.date) -> ExampleForm:
    """As it was asked for, else a usual session tomorrow afternoon."""
    if "energy_kwh" in request.GET:
        return ExampleForm(request.GET, request=request)
    place = Location.objects.visible_to(request.actor).filter(archived_at=None).order_by("name").first()
    usual = {
        "place": place.pk if place else "",
        "start": f"{today + dt.timedelta(days=1)}T16:00",
        "energy_kwh": 30,
        "charging_min": 90,
        "parking_min": 60,
    }
    return ExampleForm(usual, request=request)


def _example(request: HttpRequest, form: ExampleForm, terms: Terms) -> Example:
    given, actor = form.cleaned_data, request.actor
    place, seller = given["place"], default_seller(actor.operator_id)
    zone = place.time_zone if place is not None else operator_zone(actor.operator_id).key
    country = place.country if place is not None else seller.country if seller is not None else ""
    start = form.start_at(zone)
    charging_s, parked_s = given["charging_min"] * 60, given["parking_min"] * 60
    end = start + dt.timedelta(seconds=charging_s + parked_s)
    rates = selectors.vat_rates(actor, country=country, day=end.astimezone(ZoneInfo(zone)).date())
    try:
        rating = selectors.price_example(
            terms,
            start=start,
            zone=zone,
            energy_wh=int(given["energy_kwh"] * 1000),
            charging_s=charging_s,
            parked_s=parked_s,
            vat=rates,
        )
    except RatingError as error:
        return Example(None, fault=fault_of(error, country))
    vat = tuple(_vat_of(rating))
    gross = money.total([rating.total, *(one.amount for one in vat)], rating.currency)
    lines = tuple(_line(period, rating.currency, ZoneInfo(zone)) for period in rating.periods)
    return Example(rating, lines, vat, gross)


def _line(period: Period, currency: str, zone: ZoneInfo) -> Priced:
    since, until = period.since.astimezone(zone), period.until.astimezone(zone)
    same = period.quantity == period.billed
    return Priced(
        title=title_of(period.dimension),
        when=f"{since:%H:%M}" if since == until else f"{since:%H:%M}–{until:%H:%M}",
        row=period.element,
        measured=_quantity(period.dimension, period.quantity),
        counted="" if same else _quantity(period.dimension, period.billed),
        price=price_words(period.price, period.dimension, currency),
        exact=bare_price(money.half_up(period.exact, money.EXACT_DIGITS).normalize(), currency),
    )


def _quantity(dimension: Dimension, quantity: Fraction) -> str:
    if dimension is Dimension.FLAT:
        return "1"
    if dimension is Dimension.ENERGY:
        return kwh(int(quantity))
    return duration_words(int(quantity))


def _vat_of(rating: Rating) -> list[Vat]:
    nets: dict[Decimal, list[Decimal]] = {}
    for item in rating.items:
        nets.setdefault(item.vat_rate, []).append(item.amount)
    sums = {rate: money.total(amounts, rating.currency) for rate, amounts in nets.items()}
    return [Vat(rate, net, money.rounded(net * rate / 100, rating.currency)) for rate, net in sorted(sums.items())]


def fault_of(error: RatingError, country: str) -> str:
    """Why a session has no price, for whoever tries a tariff."""
    if error.code == "vat":
        words = {"class": VatClass(error.vat_class).label, "country": country or "–"}
        return _("There is no VAT rate of the class “%(class)s” in %(country)s on that day.") % words
    if error.code == "meter":
        return _("This session cannot be priced: the meter at its end is below that at its start.")
    return _("This session cannot be priced: it ends before it begins.")


# --- what these pages share -------------------------------------------------------------------------------------------
def _tariff(request: HttpRequest, tariff_id: int, permission: str = "tariffs.view_tariff") -> Tariff:
    tariff: Tariff | None = Tariff.objects.visible_to(request.actor).filter(pk=tariff_id).first()
    if tariff is None:
        raise Http404(tariff_id)
    if not request.actor.can(permission):
        raise PermissionDenied
    return tariff


def _refuse_archived(request: HttpRequest, tariff: Tariff) -> HttpResponse:
    messages.warning(request, _("The tariff is archived. Restore it first."))
    return redirect(tariff_url(tariff))


def _chosen(asked: str | None, versions: list[TariffVersion]) -> TariffVersion | None:
    if asked == "draft":
        return next((one for one in versions if one.is_draft), None)
    return next((one for one in versions if str(one.number) == asked), None)


def _editor(request: HttpRequest, tariff: Tariff) -> tuple[BaseFormSet, DraftForm]:
    versions = selectors.versions_of(request.actor, tariff)
    version = versions[0].version if versions else None
    try:
        known = version.terms.elements if version is not None else ()
    except ValidationError:
        known = ()
    minutes = version.fee_after_minutes if version is not None else 0
    rows = ElementRows(initial=rows_from(known), prefix="rows")
    return rows, DraftForm(initial={"fee_after_minutes": minutes})


def _with_a_row_more(request: HttpRequest) -> Any:
    """For those without JavaScript: what was typed, and an empty row."""
    data = request.POST.copy()
    try:
        rows = min(int(data.get("rows-TOTAL_FORMS", "")), ocpi.MAX_ELEMENTS)
    except ValueError:
        rows = 0
    data["rows-TOTAL_FORMS"] = str(rows + 1)
    return data
