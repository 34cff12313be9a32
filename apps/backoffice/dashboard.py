"""The page that an operations person keeps open all day: what the apps' selectors say, put together."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from django.urls import reverse
from django.utils import timezone

from apps.accounts.models import Operator
from apps.backoffice.attention import Attention, attention
from apps.charging.curve import small_line
from apps.charging.selectors import ChargingNow, charging_now, totals_by_day
from apps.core import live
from apps.core.actor import Actor
from apps.core.templatetags.parts import status_chip
from apps.installations.selectors import Condition, station_conditions

DAYS = 14


@dataclass(frozen=True, slots=True)
class Share:
    """How many chargers are in one condition, the list of them, and their piece of a bar that is 100 wide."""

    condition: Condition
    count: int
    link: str
    tone: str
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Days:
    """The sessions that began on each of the last days, today the last one, and their energy in Wh."""

    sessions: list[int]
    energy_wh: list[int]

    @property
    def sessions_curve(self) -> str:
        return small_line(self.sessions)

    @property
    def energy_curve(self) -> str:
        return small_line(self.energy_wh)


@dataclass(frozen=True, slots=True)
class Dashboard:
    chargers: int
    shares: tuple[Share, ...]
    charging: ChargingNow | None
    days: Days | None
    attention: Attention
    zone: str
    now: dt.datetime


def dashboard_of(actor: Actor, operator: Operator) -> dict[str, Any]:
    """Template context of the first page: `dashboard`, and its live part's `topics` and `token`."""
    now = timezone.now()
    topic = f"operator.{operator.pk}"
    return {
        "dashboard": _dashboard(actor, operator, now),
        "topics": topic,
        "token": live.sign([topic], actor),
    }


def _dashboard(actor: Actor, operator: Operator, now: dt.datetime) -> Dashboard:
    sees_sessions = actor.can("charging.view_session")
    conditions = station_conditions(actor) if actor.can(_CHARGERS) else Counter[Condition]()
    total = sum(conditions.values())
    return Dashboard(
        chargers=total,
        shares=tuple(_shares(conditions, total)),
        charging=charging_now(actor) if sees_sessions else None,
        days=_days(actor, operator.time_zone, now) if sees_sessions else None,
        attention=attention(actor, now=now),
        zone=operator.time_zone,
        now=now,
    )


def _days(actor: Actor, zone: str, now: dt.datetime) -> Days:
    today = now.astimezone(ZoneInfo(zone)).date()
    days = [today - dt.timedelta(days=number) for number in reversed(range(DAYS))]
    since = dt.datetime.combine(days[0], dt.time(), ZoneInfo(zone))
    totals = {one.day: one for one in totals_by_day(actor, since=since, zone=zone)}
    return Days(
        sessions=[totals[day].sessions if day in totals else 0 for day in days],
        energy_wh=[totals[day].energy_wh if day in totals else 0 for day in days],
    )


def _shares(conditions: Counter[Condition], total: int) -> Iterator[Share]:
    x = 0.0
    for one in Condition:
        if count := conditions[one]:
            width = 100 * count / total
            yield Share(one, count, _list_of(one), status_chip(one.value, one.label)["tone"], x, width)
            x += width


_CHARGERS = "installations.view_chargingstation"


def _list_of(condition: Condition) -> str:
    return f"{reverse('admin:installations_chargingstation_changelist')}?condition={condition.value}"
