"""The first page, locations and chargers."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from apps.charging.selectors import session_rows, visible_sessions
from apps.portal import selectors
from apps.portal.filters import LocationFilter, StationFilter
from apps.portal.lists import RowData
from apps.portal.tables import LocationTable, StationTable
from apps.portal.views.pages import list_page, live_parts, page_for, show_page

RECENT_SESSIONS = 10


@never_cache
@require_safe
def home(request: HttpRequest) -> HttpResponseBase:
    """Is anything broken, and what runs now? Who has no role here is told so."""
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    if request.actor.is_anonymous:
        return render(request, "portal/no_access.html", status=404)
    overview = selectors.overview(request.actor, now=timezone.now(), zone=request.brand.operator.time_zone)
    context = {"overview": overview, **live_parts(request)}
    return show_page(request, "portal/home.html", "home", context)


@page_for("installations.view_location")
def locations(request: HttpRequest) -> HttpResponseBase:
    """All own locations."""
    chosen = LocationFilter(request.GET, selectors.visible_locations(request.actor), request=request)
    data = RowData(chosen.qs, lambda places: selectors.location_rows(request.actor, places))
    return list_page(request, "locations", LocationTable(data), chosen)


@page_for("installations.view_location")
def location(request: HttpRequest, public_id: UUID) -> HttpResponseBase:
    """One location with its chargers and its last sessions."""
    place = get_object_or_404(selectors.visible_locations(request.actor), public_id=public_id)
    context = {
        "location": place,
        "stations": selectors.station_rows(selectors.visible_stations(request.actor).filter(location=place)),
        "contacts": place.contacts.all(),
        "sessions": _recent(request, location=place),
        **live_parts(request),
    }
    return show_page(request, "portal/location.html", "locations", context)


@page_for("installations.view_chargingstation")
def stations(request: HttpRequest) -> HttpResponseBase:
    """All chargers at own locations."""
    chosen = StationFilter(request.GET, selectors.visible_stations(request.actor), request=request)
    return list_page(request, "stations", StationTable(RowData(chosen.qs, selectors.station_rows)), chosen)


@page_for("installations.view_chargingstation")
def station(request: HttpRequest, public_id: UUID) -> HttpResponseBase:
    """One charger: its connectors now, its last sessions."""
    found = get_object_or_404(selectors.visible_stations(request.actor), public_id=public_id)
    [row] = selectors.station_rows(selectors.visible_stations(request.actor).filter(pk=found.pk))
    context = {
        "station": row,
        "sessions": _recent(request, station=found),
        **live_parts(request, f"station.{found.pk}"),
    }
    return show_page(request, "portal/station.html", "stations", context)


def _recent(request: HttpRequest, **where: Any) -> list[Any]:
    return session_rows(request.actor, visible_sessions(request.actor).filter(**where)[:RECENT_SESSIONS])
