"""What the first page shows."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from django.db.models import Count

from apps.charging.curve import small_line
from apps.charging.models import SessionState
from apps.charging.selectors import (
    SessionRow,
    session_rows,
    totals_by_day,
    visible_sessions,
)
from apps.core.actor import Actor
from apps.portal.selectors.places import BROKEN, StationRow, station_rows, visible_stations

ATTENTION_ROWS = 8
LIVE_ROWS = 12


@dataclass(frozen=True, slots=True)
class Months:
    """This month so far beside last month up to the same day, in Wh; `days` is this month's energy day by day."""

    sessions: int
    sessions_before: int
    energy_wh: int
    energy_before_wh: int
    days: list[int]

    @property
    def curve(self) -> str:
        return small_line(self.days)


@dataclass(frozen=True, slots=True)
class Overview:
    """The first page. `power_w` is what runs now; `stations` counts chargers by health, `sessions_now` is uncut."""

    stations: dict[str, int]
    attention: list[StationRow]
    attention_count: int
    running: list[SessionRow]
    running_count: int
    power_w: int
    month: Months

    @property
    def station_count(self) -> int:
        return sum(self.stations.values())

    @property
    def broken_count(self) -> int:
        return sum(self.stations.get(health, 0) for health in BROKEN)


def overview(actor: Actor, *, now: dt.datetime, zone: str) -> Overview:
    """What the first page answers: is anything broken, what runs now, what came of the month in `zone`."""
    stations = visible_stations(actor)
    by_health = dict(stations.order_by().values_list("health").annotate(count=Count("pk")))
    broken = stations.filter(health__in=BROKEN).order_by("harm", "location__name", "name", "identity")
    running = visible_sessions(actor).filter(state=SessionState.ACTIVE)
    powers = running.order_by().values_list("live__power_w", flat=True)
    return Overview(
        stations=by_health,
        attention=station_rows(broken[:ATTENTION_ROWS]),
        attention_count=sum(by_health.get(name, 0) for name in BROKEN),
        running=session_rows(actor, running[:LIVE_ROWS]),
        running_count=len(powers),
        power_w=sum(power or 0 for power in powers),
        month=months(actor, now=now, zone=zone),
    )


def months(actor: Actor, *, now: dt.datetime, zone: str) -> Months:
    """One query, whatever the number of sessions."""
    today = now.astimezone(ZoneInfo(zone)).date()
    first = today.replace(day=1)
    before = (first - dt.timedelta(days=1)).replace(day=1)
    since = dt.datetime.combine(before, dt.time(), ZoneInfo(zone))
    totals = totals_by_day(actor, since=since, zone=zone)
    current = [one for one in totals if one.day >= first]
    earlier = [one for one in totals if one.day < first and one.day.day <= today.day]
    energy = {one.day: one.energy_wh for one in current}
    return Months(
        sessions=sum(one.sessions for one in current),
        sessions_before=sum(one.sessions for one in earlier),
        energy_wh=sum(energy.values()),
        energy_before_wh=sum(one.energy_wh for one in earlier),
        days=[energy.get(first + dt.timedelta(days=number), 0) for number in range(today.day)],
    )
