"""Sessions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.translation import gettext as _

from apps.charging.curve import power_curve
from apps.charging.selectors import ReadingRow, readings_told, visible_sessions
from apps.core.csv import csv_response
from apps.core.templatetags.parts import at_place
from apps.portal import selectors
from apps.portal.filters import SessionFilter
from apps.portal.lists import RowData
from apps.portal.tables import SessionTable
from apps.portal.views.pages import list_page, live_parts, page_for, show_page


@page_for("charging.view_session")
def sessions(request: HttpRequest) -> HttpResponseBase:
    """Sessions at own locations and of own cards."""
    chosen = SessionFilter(request.GET, visible_sessions(request.actor), request=request)
    data = RowData(chosen.qs, lambda page: selectors.priced_rows(request.actor, page))
    table = SessionTable(data, exclude=SessionTable.without_prices(request.actor))
    return list_page(request, "sessions", table, chosen)


@page_for("charging.view_session")
def session(request: HttpRequest, public_id: UUID) -> HttpResponseBase:
    """One session with its curve, its readings and what happened in it, live while it runs; `?export=csv` its readings.

    Its charger's topic goes only to who may know the charger; others hear of the operator as a whole.
    """
    found = get_object_or_404(visible_sessions(request.actor).select_related("connector"), public_id=public_id)
    if request.GET.get("export") == "csv":
        return csv_response("readings", _reading_lines(readings_told(request.actor, found)))
    life = selectors.session_life(request.actor, found)
    row = life.session
    curve = power_curve(
        life.power,
        start=row.started_at,
        end=row.ended_at or timezone.now(),
        limit_w=life.limit_w,
        zone=row.zone,
    )
    events = [{"shown": at_place(one.at, row.zone), "text": one.text, "by": one.by} for one in life.events]
    topics = [f"station.{found.station_id}"] if row.own_place else []
    [priced] = selectors.priced_rows(request.actor, [found])
    context = {"session": priced, "life": life, "curve": curve, "events": events, **live_parts(request, *topics)}
    return show_page(request, "portal/session.html", "sessions", context)


def _reading_lines(readings: Iterable[ReadingRow]) -> Iterator[list[Any]]:
    yield [_("Time"), _("Energy (Wh)"), _("Power (W)"), _("Battery (%)")]
    for one in readings:
        yield [one.at.isoformat(), one.energy_wh, one.power_w, one.soc_percent]
