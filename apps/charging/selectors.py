"""Reads across charging, as typed rows. What an actor may know of a session is decided here and nowhere else."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db.models import OuterRef, QuerySet, Subquery

from apps.charging.models import Session, SessionState
from apps.core.actor import Actor


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


def last_start(station: str = "pk") -> Subquery:
    """For an annotation of stations: when the newest session at each of them began."""
    newest = Session.objects.unscoped("joined to stations that are scoped").filter(station=OuterRef(station))
    return Subquery(newest.order_by("-started_at").values("started_at")[:1])


def _session_row(actor: Actor, session: Session) -> SessionRow:
    live = getattr(session, "live", None)
    own_place, own_card = _is_own_place(actor, session), _is_own_card(actor, session)
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


def _is_own_place(actor: Actor, session: Session) -> bool:
    return actor.operator_wide or session.host_id in frozenset(actor.organisations) - actor.driver_of


def _is_own_card(actor: Actor, session: Session) -> bool:
    if actor.operator_wide or session.organisation_id in frozenset(actor.organisations) - actor.driver_of:
        return True
    return (
        actor.user_id is not None and session.holder_id == actor.user_id and session.organisation_id in actor.driver_of
    )
