"""Pages of the portal: read with the request's actor, show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any
from uuid import UUID

from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django_filters import FilterSet
from django_tables2 import RequestConfig

from apps.charging.curve import power_curve
from apps.charging.selectors import session_rows, visible_sessions
from apps.core import live
from apps.core.csv import csv_response
from apps.core.tables import RowData, RowTable
from apps.core.templatetags.parts import at_place
from apps.portal import selectors
from apps.portal.filters import LocationFilter, SessionFilter, StationFilter
from apps.portal.tables import LocationTable, SessionTable, StationTable

PER_PAGE = 25
RECENT_SESSIONS = 10

View = Callable[..., HttpResponseBase]


def page_for(permission: str) -> Callable[[View], View]:
    """A page for whoever holds `permission` somewhere on this host. Nobody signed in: to the sign-in page; else 404."""

    def decorate(view: View) -> View:
        @never_cache
        @require_safe
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            if permission not in request.actor.all_permissions:
                raise Http404(permission)
            return view(request, *args, **kwargs)

        return guarded

    return decorate


@never_cache
@require_safe
def home(request: HttpRequest) -> HttpResponseBase:
    """Is anything broken, and what runs now? Who has no role here is told so."""
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    if request.actor.is_anonymous:
        return render(request, "portal/no_access.html", status=404)
    overview = selectors.overview(request.actor, now=timezone.now(), zone=request.brand.operator.time_zone)
    context = {"overview": overview, **_live(request)}
    return _page(request, "portal/home.html", "home", context)


@page_for("installations.view_location")
def locations(request: HttpRequest) -> HttpResponseBase:
    """All own locations."""
    chosen = LocationFilter(request.GET, selectors.visible_locations(request.actor), request=request)
    data = RowData(chosen.qs, lambda places: selectors.location_rows(request.actor, places))
    return _list(request, "locations", LocationTable(data), chosen)


@page_for("installations.view_location")
def location(request: HttpRequest, public_id: UUID) -> HttpResponseBase:
    """One location with its chargers and its last sessions."""
    place = get_object_or_404(selectors.visible_locations(request.actor), public_id=public_id)
    context = {
        "location": place,
        "stations": selectors.station_rows(selectors.visible_stations(request.actor).filter(location=place)),
        "contacts": place.contacts.all(),
        "sessions": _recent(request, location=place),
        **_live(request),
    }
    return _page(request, "portal/location.html", "locations", context)


@page_for("installations.view_chargingstation")
def stations(request: HttpRequest) -> HttpResponseBase:
    """All chargers at own locations."""
    chosen = StationFilter(request.GET, selectors.visible_stations(request.actor), request=request)
    return _list(request, "stations", StationTable(RowData(chosen.qs, selectors.station_rows)), chosen)


@page_for("installations.view_chargingstation")
def station(request: HttpRequest, public_id: UUID) -> HttpResponseBase:
    """One charger: its connectors now, its last sessions."""
    found = get_object_or_404(selectors.visible_stations(request.actor), public_id=public_id)
    [row] = selectors.station_rows(selectors.visible_stations(request.actor).filter(pk=found.pk))
    context = {"station": row, "sessions": _recent(request, station=found), **_live(request, f"station.{found.pk}")}
    return _page(request, "portal/station.html", "stations", context)


@page_for("charging.view_session")
def sessions(request: HttpRequest) -> HttpResponseBase:
    """Sessions at own locations and of own cards."""
    chosen = SessionFilter(request.GET, visible_sessions(request.actor), request=request)
    data = RowData(chosen.qs, lambda page: session_rows(request.actor, page))
    return _list(request, "sessions", SessionTable(data), chosen)


@page_for("charging.view_session")
def session(request: HttpRequest, public_id: UUID) -> HttpResponseBase:
    """One session with its curve, its readings and what happened in it, live while it runs; `?export=csv` its readings.

    Its charger's topic goes only to who may know the charger; others hear of the operator as a whole.
    """
    found = get_object_or_404(visible_sessions(request.actor).select_related("connector"), public_id=public_id)
    life = selectors.session_life(request.actor, found)
    row = life.session
    if request.GET.get("export") == "csv":
        return csv_response("readings", _reading_lines(life))
    curve = power_curve(
        life.power,
        start=row.started_at,
        end=row.ended_at or timezone.now(),
        limit_w=life.limit_w,
        zone=row.zone,
    )
    events = [{"shown": at_place(one.at, row.zone), "text": one.text, "by": one.by} for one in life.events]
    topics = [f"station.{found.station_id}"] if row.own_place else []
    context = {"session": row, "life": life, "curve": curve, "events": events, **_live(request, *topics)}
    return _page(request, "portal/session.html", "sessions", context)


def _reading_lines(life: selectors.SessionLife) -> Iterator[list[Any]]:
    yield [_("Time"), _("Energy (Wh)"), _("Power (W)"), _("Battery (%)")]
    for one in life.readings:
        yield [one.at.isoformat(), one.energy_wh, one.power_w, one.soc_percent]


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """The portal's 404, which says as much as that."""
    return render(request, "portal/not_found.html", status=404)


def server_error(request: HttpRequest) -> HttpResponseBase:
    """The portal's 500."""
    return render(request, "portal/server_error.html", status=500)


def _recent(request: HttpRequest, **where: Any) -> list[Any]:
    return session_rows(request.actor, visible_sessions(request.actor).filter(**where)[:RECENT_SESSIONS])


def _list(request: HttpRequest, name: str, table: RowTable, chosen: FilterSet) -> HttpResponseBase:
    RequestConfig(request, paginate={"per_page": PER_PAGE, "silent": True}).configure(table)
    if request.GET.get("export") == "csv":
        return csv_response(name, table.export_rows())
    return _page(request, "portal/list.html", name, {"table": table, "filter": chosen, **_live(request)})


def _live(request: HttpRequest, *topics: str) -> dict[str, Any]:
    wanted = list(topics) or [f"operator.{request.actor.operator_id}"]
    return {"live_topics": " ".join(wanted), "live_token": live.sign(wanted)}


def _page(request: HttpRequest, template: str, here: str, context: dict[str, Any]) -> HttpResponseBase:
    held = request.actor.all_permissions
    sees = {"installations": "installations.view_location" in held, "sessions": "charging.view_session" in held}
    return render(request, template, {**context, "here": here, "sees": sees})
