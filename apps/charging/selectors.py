"""Reads across charging, as typed rows. What an actor may know of a session is decided here and nowhere else."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import models
from django.db.models import Count, F, Min, OuterRef, Q, QuerySet, Subquery, Sum, Window
from django.db.models.functions import Coalesce, Mod, RowNumber, TruncDate
from django.utils.translation import gettext_lazy as _

from apps.charging.models import (
    Authorisation,
    Cdr,
    HoldReason,
    Reading,
    ReviewCode,
    ReviewItem,
    Session,
    SessionLive,
    SessionState,
    Settlement,
    SettlementState,
)
from apps.core.actor import Actor
from apps.installations.models import ChargingStation

# OCPP 1.6 section 7.45; "Other" says nothing.
STOP_REASONS = {
    "DeAuthorized": _("The card was no longer accepted."),
    "EmergencyStop": _("The emergency stop was pressed."),
    "EVDisconnected": _("The car was unplugged."),
    "HardReset": _("The charger was restarted."),
    "Local": _("It was ended at the charger."),
    "PowerLoss": _("The charger lost its power supply."),
    "Reboot": _("The charger restarted by itself."),
    "Remote": _("It was ended by the operator or an app."),
    "SoftReset": _("The charger was restarted."),
    "UnlockCommand": _("The plug was unlocked from afar."),
}


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session as one actor may know it (design, who owns what). None is unknown, or not this actor's to know.

    A foreign card at an own place has no `card`, `uid`, `driver` or `soc_percent`; an own card elsewhere no `station`.
    Energy is Wh, power W, duration seconds (so far, while it runs). `zone` is the place's.
    """

    public_id: UUID
    state: str
    state_word: str
    started_at: dt.datetime
    ended_at: dt.datetime | None
    zone: str
    place: str
    station: str | None
    station_public_id: UUID | None
    connector_number: int | None
    card: str | None
    uid: str | None
    driver: str | None
    energy_wh: int | None
    power_w: int | None
    soc_percent: int | None
    reading_at: dt.datetime | None
    stop_reason: str
    free_by_policy: bool
    own_place: bool
    own_card: bool

    @property
    def stop_words(self) -> str:
        """Why it ended, as far as it is known; `stop_reason` is the charger's code."""
        return str(STOP_REASONS.get(self.stop_reason, ""))

    @property
    def is_running(self) -> bool:
        return self.state == SessionState.ACTIVE

    @property
    def duration_s(self) -> int | None:
        """From start to end, or to the last reading while it runs."""
        until = self.ended_at or self.reading_at
        return None if until is None else max(int((until - self.started_at).total_seconds()), 0)


def visible_sessions(actor: Actor) -> QuerySet[Session]:
    """The actor's sessions with all that `session_rows` reads, newest first."""
    rows: QuerySet[Session] = (
        Session.objects.visible_to(actor)
        .select_related("location", "station", "token", "holder", "live")
        .order_by("-started_at", "-pk")
    )
    return rows


def session_rows(actor: Actor, sessions: Iterable[Session]) -> list[SessionRow]:
    """`sessions` as the actor may know them. Pass what `visible_sessions` gave, filtered and cut: no query is made."""
    return [_session_row(actor, session) for session in sessions]


def reading_counts(actor: Actor, sessions: Iterable[Session]) -> dict[int, int]:
    """How many readings each of these sessions has, by session id, in one query."""
    counts = (
        Reading.objects.visible_to(actor)
        .filter(session_id__in=[session.pk for session in sessions])
        .values_list("session_id")
        .annotate(Count("at"))
    )
    return dict(counts)


def last_start(station: str = "pk") -> Subquery:
    """For an annotation of stations: when the newest session at each of them began."""
    newest = Session.objects.unscoped("joined to stations that are scoped").filter(station=OuterRef(station))
    return Subquery(newest.order_by("-started_at").values("started_at")[:1])


@dataclass(frozen=True, slots=True)
class ChargingNow:
    """What charges at this moment. W."""

    sessions: int
    power_w: int


@dataclass(frozen=True, slots=True)
class HeldAtLocation:
    """Sessions and ends of one place that wait for somebody's decision."""

    location_id: int | None
    location: str
    count: int
    oldest: dt.datetime
    code: str
    doubt: str


@dataclass(frozen=True, slots=True)
class StartQuality:
    """Whether a charger really charges: its last session with energy, and how many of its starts came to nothing."""

    good_at: dt.datetime | None
    good_id: int | None
    starts: int
    failed: int


FAILED_BELOW_WH = 100
RUNNING_SHOWN = 50


def charging_now(actor: Actor) -> ChargingNow:
    """One query."""
    live = SessionLive.objects.visible_to(actor).filter(session__state=SessionState.ACTIVE)
    now = live.aggregate(sessions=Count("pk"), power=Sum("power_w"))
    return ChargingNow(sessions=now["sessions"], power_w=now["power"] or 0)


@dataclass(frozen=True, slots=True)
class DayTotal:
    """The sessions that began on a local day, and their energy in Wh (so far, where they still run)."""

    day: dt.date
    sessions: int
    energy_wh: int


def totals_by_day(actor: Actor, *, since: dt.datetime, zone: str) -> list[DayTotal]:
    """Days of `zone` on which a session began, oldest first. One query, as many rows as days."""
    days = (
        Session.objects.visible_to(actor)
        .filter(started_at__gte=since)
        .exclude(state=SessionState.VOID)
        .annotate(day=TruncDate("started_at", tzinfo=ZoneInfo(zone)))
        .order_by("day")
        .values_list("day")
        .annotate(begun=Count("pk"), total=Coalesce(Sum(_energy_so_far()), 0))
    )
    return [DayTotal(day=day, sessions=begun, energy_wh=total) for day, begun, total in days]


def _energy_so_far() -> Coalesce:
    stored = F("meter_stop_wh") - F("meter_start_wh")
    return Coalesce(stored, F("live__energy_wh"), output_field=models.BigIntegerField())


def held_by_location(actor: Actor, *, limit: int) -> list[HeldAtLocation]:
    """Open blocking doubts, counted by place and kind, the oldest first. One query."""
    rows = (
        ReviewItem.objects.visible_to(actor)
        .open()
        .filter(blocking=True)
        .values("station__location_id", "station__location__name", "code")
        .annotate(count=Count("pk"), oldest=Min("opened_at"))
        .order_by("oldest")[:limit]
    )
    return [
        HeldAtLocation(
            location_id=row["station__location_id"],
            location=row["station__location__name"] or "",
            count=row["count"],
            oldest=row["oldest"],
            code=row["code"],
            doubt=str(ReviewCode(row["code"]).label),
        )
        for row in rows
    ]


def start_quality(actor: Actor, station: ChargingStation, *, since: dt.datetime) -> StartQuality:
    """How the charger's sessions since then came out. A session that ended below 100 Wh counts as a failed start."""
    sessions = Session.objects.visible_to(actor).filter(station=station).exclude(state=SessionState.VOID)
    energy = F("meter_stop_wh") - F("meter_start_wh")
    good = sessions.filter(ended_at__isnull=False).annotate(energy=energy).filter(energy__gte=FAILED_BELOW_WH)
    last = good.order_by("-started_at").values_list("pk", "started_at").first()
    counted = (
        sessions.filter(started_at__gte=since)
        .annotate(energy=energy)
        .aggregate(starts=Count("pk"), failed=Count("pk", filter=Q(ended_at__isnull=False, energy__lt=FAILED_BELOW_WH)))
    )
    return StartQuality(
        good_at=last[1] if last else None,
        good_id=last[0] if last else None,
        starts=counted["starts"],
        failed=counted["failed"],
    )


def readings_of(actor: Actor, session: Session) -> QuerySet[Reading]:
    """The readings of a session, oldest first."""
    rows: QuerySet[Reading] = Reading.objects.visible_to(actor).filter(session_id=session.pk).order_by("at", "sequence")
    return rows


def power_points(actor: Actor, session: Session, *, most: int) -> list[tuple[dt.datetime, int]]:
    """(at, W) of at most `most` readings, spread evenly over all of them, the newest included; oldest first."""
    rows = readings_of(actor, session).exclude(power_w=None)
    step = max(ceil(rows.count() / most), 1)
    if step > 1:
        place = Window(RowNumber(), order_by=(F("at").desc(), F("sequence").desc()))
        rows = rows.annotate(place=place).annotate(left_out=Mod(F("place") - 1, step)).filter(left_out=0)
    return [(at, watts) for at, watts in rows.values_list("at", "power_w") if watts is not None]


def reading_notes(actor: Actor, session: Session) -> list[str]:
    """Codes of the choices that were made in reading the session's samples, each once."""
    rows = readings_of(actor, session).exclude(notes="").order_by()
    return sorted({code for notes in rows.values_list("notes", flat=True).distinct() for code in notes.split()})


@dataclass(frozen=True, slots=True)
class ReadingRow:
    """One reading as the actor may know it: energy since the start in Wh, power in W. None is unknown, or not told."""

    at: dt.datetime
    energy_wh: int | None
    power_w: int | None
    soc_percent: int | None


def readings_told(actor: Actor, session: Session) -> Iterator[ReadingRow]:
    """All readings of one of `visible_sessions` as the actor may know them, oldest first, read in parts; the battery
    of a foreign card's car is not told."""
    start, told = session.meter_start_wh, is_own_card(actor, session)
    rows = readings_of(actor, session).values_list("at", "register_wh", "power_w", "soc_percent")
    for at, register_wh, power_w, soc_percent in rows.iterator():
        energy_wh = None if start is None or register_wh is None else register_wh - start
        yield ReadingRow(at, energy_wh, power_w, soc_percent if told else None)


def sessions_at(actor: Actor, station: ChargingStation, *, limit: int) -> list[Session]:
    """The newest sessions of a charger, with what a list of them shows."""
    return list(visible_sessions(actor).filter(station=station)[:limit])


def running_at(actor: Actor, station: ChargingStation) -> list[Session]:
    """Sessions that can be stopped there."""
    rows = visible_sessions(actor).filter(station=station, state=SessionState.ACTIVE)
    return list(rows[:RUNNING_SHOWN])


def session_for_page(actor: Actor, session_id: int) -> Session:
    """A session with its place, card and live figures. Raises Session.DoesNotExist."""
    session: Session = visible_sessions(actor).select_related("organisation", "host", "connector").get(pk=session_id)
    return session


def review_items_of(actor: Actor, session: Session) -> list[ReviewItem]:
    """Its doubts, those that hold it back first."""
    rows = ReviewItem.objects.visible_to(actor).filter(session=session).select_related("resolved_by")
    return list(rows.order_by("state", "-blocking", "opened_at"))


def settlement_of(actor: Actor, session: Session) -> Settlement | None:
    """Where a session stands on its way to a price."""
    found: Settlement | None = Settlement.objects.visible_to(actor).filter(session=session).first()
    return found


def cdrs_of(actor: Actor, session: Session) -> list[Cdr]:
    """The CDRs and credits of a session, the newest first, with their items."""
    rows = Cdr.objects.visible_to(actor).filter(session=session).order_by("-pk")
    return list(rows.select_related("account", "credit").prefetch_related("items"))


def held_for_price(actor: Actor, *, limit: int) -> list[HeldAtLocation]:
    """Sessions without a price for another reason than an open doubt, counted by place and reason. One query."""
    rows = (
        Settlement.objects.visible_to(actor)
        .filter(state=SettlementState.HELD)
        .exclude(reason=HoldReason.REVIEW)
        .values("session__location_id", "session__location__name", "reason")
        .annotate(count=Count("pk"), oldest=Min("since"))
        .order_by("oldest")[:limit]
    )
    return [
        HeldAtLocation(
            location_id=row["session__location_id"],
            location=row["session__location__name"],
            count=row["count"],
            oldest=row["oldest"],
            code=row["reason"],
            doubt=str(HoldReason(row["reason"]).label),
        )
        for row in rows
    ]


def authorisations_for(actor: Actor, session: Session) -> list[Authorisation]:
    """The answers that its card got at this charger around its start, newest first."""
    near = dt.timedelta(minutes=10)
    received = session.start_received_at
    rows = Authorisation.objects.visible_to(actor).filter(
        station=session.station_id, uid=session.uid, at__range=(received - near, received + near)
    )
    return list(rows.select_related("token").order_by("-at", "-pk")[:5])


def _session_row(actor: Actor, session: Session) -> SessionRow:
    live = getattr(session, "live", None)
    own_place, own_card = is_own_place(actor, session), is_own_card(actor, session)
    token, holder = session.token, session.holder
    running = session.state == SessionState.ACTIVE
    energy = session.energy_wh if session.energy_wh is not None else (live.energy_wh if live else None)
    return SessionRow(
        public_id=session.public_id,
        state=session.state,
        state_word=session.get_state_display(),
        started_at=session.started_at,
        ended_at=session.ended_at,
        zone=session.location.time_zone,
        place=session.location.name,
        station=str(session.station) if own_place else None,
        station_public_id=session.station.public_id if own_place else None,
        connector_number=session.connector_number if own_place else None,
        card=(str(token) if token else session.uid or None) if own_card else None,
        uid=(session.uid or None) if own_card else None,
        driver=(holder.get_full_name() if holder else None) if own_card else None,
        energy_wh=energy,
        power_w=live.power_w if live and running else None,
        soc_percent=live.soc_percent if live and own_card else None,
        reading_at=live.reading_at if live else None,
        stop_reason=session.stop_reason,
        free_by_policy=session.free_by_policy,
        own_place=own_place,
        own_card=own_card,
    )


def is_own_place(actor: Actor, session: Session) -> bool:
    """Whether the actor may know at which station a visible session is."""
    return actor.operator_wide or session.host_id in frozenset(actor.organisations) - actor.driver_of


def is_own_card(actor: Actor, session: Session) -> bool:
    """Whether the actor may know the card and the driver of a visible session."""
    if actor.operator_wide or session.organisation_id in frozenset(actor.organisations) - actor.driver_of:
        return True
    return (
        actor.user_id is not None and session.holder_id == actor.user_id and session.organisation_id in actor.driver_of
    )
