"""A session as its page shows it: readings, and what happened in it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from itertools import pairwise

from django.utils.timesince import timesince
from django.utils.translation import gettext_lazy as _

from apps.charging.models import Session
from apps.charging.selectors import (
    ReadingRow,
    SessionRow,
    reading_rows,
    session_rows,
)
from apps.core.actor import Actor

# What OCPP calls the reason of an end, in words for a visitor.
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
    """A session with its readings, oldest first, and what happened in it. `limit_w` is what the connector gives."""

    session: SessionRow
    readings: list[ReadingRow]
    limit_w: int | None
    events: list[SessionEvent]

    @property
    def power(self) -> list[tuple[dt.datetime, int]]:
        return [(one.at, one.power_w) for one in self.readings if one.power_w is not None]


def session_life(actor: Actor, session: Session) -> SessionLife:
    """All that the actor may know of one of `visible_sessions`: its readings cost one query, its connector another."""
    [row] = session_rows(actor, [session])
    readings = reading_rows(actor, session, limit=READINGS_SHOWN)
    connector = session.connector if row.own_place else None
    return SessionLife(
        session=row,
        readings=readings,
        limit_w=connector.max_power_w if connector else None,
        events=_events(row, readings, session.awaiting_since),
    )


def _events(row: SessionRow, readings: list[ReadingRow], awaiting_since: dt.datetime | None) -> list[SessionEvent]:
    events = [SessionEvent(row.started_at, str(_("The session began.")), row.card or "")]
    until = [row.ended_at] if row.ended_at else []
    known = [row.started_at, *(one.at for one in readings), *until]
    for earlier, later in pairwise(known):
        if later - earlier > GAP:
            text = _("No readings for %(long)s.") % {"long": timesince(earlier, later, depth=1)}
            events.append(SessionEvent(earlier, text))
    if awaiting_since is not None and row.ended_at is None:
        events.append(SessionEvent(awaiting_since, str(_("The connection was lost; the end is still to come."))))
    if row.ended_at is not None:
        ended = str(_("The session ended."))
        why = STOP_REASONS.get(row.stop_reason)
        events.append(SessionEvent(row.ended_at, f"{ended} {why}" if why else ended))
    elif readings:
        events.append(SessionEvent(readings[-1].at, str(_("The newest reading came."))))
    return sorted(events, key=lambda event: event.at)
