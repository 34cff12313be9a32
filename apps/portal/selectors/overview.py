"""What the first page shows."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

from django.core.cache import cache
from django.db.models import Count, Prefetch, Q, QuerySet
from django.utils.translation import gettext as _

from apps.billing.totals import totals
from apps.charging.curve import small_line
from apps.charging.models import Cdr, HoldReason, RatedItem, Session, SessionState
from apps.charging.selectors import (
    SessionRow,
    session_rows,
    totals_by_day,
    visible_sessions,
)
from apps.core import money
from apps.core.actor import Actor
from apps.core.templatetags.parts import money as shown_money
from apps.portal.selectors.places import BROKEN, StationRow, station_rows, visible_stations
from apps.portal.selectors.prices import is_driver_only, sees_prices
from apps.reports.selectors import SEES_PRICES, next_month, own_cards

ATTENTION_ROWS = 8
LIVE_ROWS = 12
COSTS_KEPT_S = 60


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

    @property
    def energy_change(self) -> str:
        return change(self.energy_wh, self.energy_before_wh)

    @property
    def sessions_change(self) -> str:
        return change(self.sessions, self.sessions_before)


def change(now: Decimal | int, before: Decimal | int) -> str:
    """By how much more or less: "+12 %", "−5 %"; empty where there was nothing before."""
    if before <= 0:
        return ""
    percent = int(money.half_up(Fraction(now) * 100 / Fraction(before) - 100, 0))
    return f"{'−' if percent < 0 else '+' if percent else '±'}{abs(percent)} %"


@dataclass(frozen=True, slots=True)
class Cost:
    """What was supplied this month so far costs in one currency, beside last month up to the same day. `with_vat` is
    what a driver is told. `of_own_cards` says that sessions of other cards, whose energy is told, are not in it."""

    currency: str
    amount: Decimal
    before: Decimal
    with_vat: bool
    of_own_cards: bool

    @property
    def note(self) -> str:
        """What stands below the figure: whose cards, and how it compares."""
        told = [_("of your own cards")] if self.of_own_cards else []
        if changed := change(self.amount, self.before):
            words = {"change": changed, "before": shown_money(self.before, self.currency)}
            told.append(_("%(change)s · last month by this day: %(before)s") % words)
        return " · ".join(told)


@dataclass(frozen=True, slots=True)
class Held:
    """Sessions that have no price for one reason."""

    reason: str
    why: str
    count: int


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
    costs: list[Cost]
    held: list[Held]

    @property
    def held_count(self) -> int:
        return sum(one.count for one in self.held)

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
        costs=costs(actor, today=now.astimezone(ZoneInfo(zone)).date()),
        held=held(actor),
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


def costs(actor: Actor, *, today: dt.date) -> list[Cost]:
    """By the date of supply, as report and invoices count. Kept for a minute: each open first page asks every ten
    seconds, and two months of prices are read for it (one query, two for a driver)."""
    if not sees_prices(actor):
        return []
    key = f"portal.costs:{_scope(actor)}:{today}"
    found: list[Cost] | None = cache.get(key)
    if found is None:
        found = _costs(actor, today)
        cache.set(key, found, COSTS_KEPT_S)
    return found


def _scope(actor: Actor) -> str:
    """A name for all that decides which prices an actor sees, and how: two of one name see the same."""
    prices_in = [(pk, SEES_PRICES in held) for pk, held in sorted(actor.organisations.items())]
    everywhere = actor.operator_wide and actor.can(SEES_PRICES)
    whose = actor.user_id if actor.driver_of else None
    told = (actor.operator_id, actor.operator_wide, everywhere, prices_in, sorted(actor.driver_of), whose)
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _costs(actor: Actor, today: dt.date) -> list[Cost]:
    """Sums are made here, as a database may keep decimals as floats."""
    first = today.replace(day=1)
    before = (first - dt.timedelta(days=1)).replace(day=1)
    up_to = min(before + dt.timedelta(days=today.day), first)
    this_month = Q(supplied_on__gte=first, supplied_on__lt=next_month(first))
    last_month = Q(supplied_on__gte=before, supplied_on__lt=up_to)
    cdrs = Cdr.objects.visible_to(actor).filter(own_cards(actor, SEES_PRICES), this_month | last_month)
    with_vat = is_driver_only(actor)
    amounts: dict[str, tuple[list[Decimal], list[Decimal]]] = {}
    for day, currency, amount in _gross(actor, cdrs) if with_vat else _net(cdrs):
        amounts.setdefault(currency, ([], []))[0 if day >= first else 1].append(amount)
    by_count = sorted(amounts.items(), key=lambda pair: (-len(pair[1][0]), -len(pair[1][1]), pair[0]))
    own = not actor.operator_wide
    return [
        Cost(currency, money.total(current, currency), money.total(earlier, currency), with_vat, own)
        for currency, (current, earlier) in by_count
    ]


def _net(cdrs: QuerySet[Cdr]) -> Iterable[tuple[dt.date, str, Decimal]]:
    return cdrs.values_list("supplied_on", "currency", "total")


def _gross(actor: Actor, cdrs: QuerySet[Cdr]) -> Iterator[tuple[dt.date, str, Decimal]]:
    items = RatedItem.objects.visible_to(actor)
    for cdr in cdrs.prefetch_related(Prefetch("items", queryset=items)):
        sums = totals(((one.vat_percent, one.amount) for one in cdr.items.all()), cdr.currency)
        yield cdr.supplied_on, cdr.currency, sums.gross


def held(actor: Actor) -> list[Held]:
    """Sessions on own cards that have no price, by reason, the most frequent first. One query."""
    if not sees_prices(actor):
        return []
    own = Session.objects.visible_to(actor).filter(own_cards(actor, SEES_PRICES), settlement__state="held")
    counted = own.order_by().values_list("settlement__reason").annotate(count=Count("pk")).order_by("-count")
    return [Held(reason, str(HoldReason(reason).label), count) for reason, count in counted]
