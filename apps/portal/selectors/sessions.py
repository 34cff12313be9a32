"""A session as its page shows it: readings, and what happened in it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.timesince import timesince
from django.utils.translation import gettext_lazy as _

from apps.charging.models import Session
from apps.charging.selectors import ReadingRow, SessionRow, readings_told, session_rows
from apps.core.actor import Actor

# What OCPP calls the reason of an end, in words for a visitor.
# The most on a page, two days of one a minute: those of a longer session are thinned evenly.
READINGS_SHOWN = 3000
# So long without a reading is told as a gap; chargers send one a minute, slow ones one in five.
GAP = dt.timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """One line of a session's life; `by` names whom or what it is put down to."""

    at: dt.datetime
    text: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class SessionLife:
    """A session with its readings, oldest first, and what happened in it. Of more than `READINGS_SHOWN`, `readings`
    holds every second, fourth, eighth … and the last; `reading_count` are all. `limit_w` is the connector's power."""

    session: SessionRow
    readings: list[ReadingRow]
    reading_count: int
    limit_w: int | None
    events: list[SessionEvent]

    @property
    def power(self) -> list[tuple[dt.datetime, int]]:
        return [(one.at, one.power_w) for one in self.readings if one.power_w is not None]


def session_life(actor: Actor, session: Session) -> SessionLife:
    """All that the actor may know of one of `visible_sessions`: its readings cost one query, its connector another."""
    [row] = session_rows(actor, [session])
    read = _read_through(readings_told(actor, session), row.started_at, row.ended_at)
    connector = session.connector if row.own_place else None
    return SessionLife(
        session=row,
        readings=read.shown,
        reading_count=read.count,
        limit_w=connector.max_power_w if connector else None,
        events=_events(row, read, session.awaiting_since),
    )


@dataclass(slots=True)
class _Read:
    """What is kept of all readings; `gaps` are both ends of each long stretch without any."""

    shown: list[ReadingRow]
    count: int
    gaps: list[tuple[dt.datetime, dt.datetime]]


def _read_through(readings: Iterable[ReadingRow], since: dt.datetime, until: dt.datetime | None) -> _Read:
    read, step = _Read([], 0, []), 1
    last: ReadingRow | None = None
    for last in readings:
        if last.at - since > GAP:
            read.gaps.append((since, last.at))
        if read.count % step == 0:
            read.shown.append(last)
        if len(read.shown) > READINGS_SHOWN:
            read.shown, step = read.shown[::2], step * 2
        since, read.count = last.at, read.count + 1
    if until is not None and until - since > GAP:
        read.gaps.append((since, until))
    if last is not None and read.shown[-1] is not last:
        read.shown.append(last)
    return read


def _events(row: SessionRow, read: _Read, awaiting_since: dt.datetime | None) -> list[SessionEvent]:
    events = [SessionEvent(row.started_at, str(_("The session began.")), row.card or "")]
    for earlier, later in read.gaps:
        text = _("No readings for %(long)s.") % {"long": timesince(earlier, later, depth=1)}
        events.append(SessionEvent(earlier, text))
    if awaiting_since is not None and row.ended_at is None:
        events.append(SessionEvent(awaiting_since, str(_("The connection was lost; the end is still to come."))))
    if row.ended_at is not None:
        ended = str(_("The session ended."))
        events.append(SessionEvent(row.ended_at, f"{ended} {row.stop_words}".rstrip()))
    elif read.shown:
        events.append(SessionEvent(read.shown[-1].at, str(_("The newest reading came."))))
    return sorted(events, key=lambda event: event.at)
