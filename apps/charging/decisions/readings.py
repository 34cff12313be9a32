"""Meter values: which session they belong to, what is kept of them, how live figures move."""

from __future__ import annotations

import datetime as dt

from apps.charging import meter
from apps.charging.decisions.common import doubt, find_connector
from apps.charging.facts import (
    Decision,
    Doubt,
    Element,
    Facts,
    Measured,
    Message,
    ReadingRow,
    SessionChange,
    SessionFacts,
)
from apps.installations.status import StationFacts, found_connector

BEFORE_START = dt.timedelta(minutes=1)  # readings without transaction id, taken just before the start was


def decide_measured(message: Message, body: Measured, facts: Facts) -> Decision:
    station = facts.stations[message.station_id]
    decision = Decision()
    find_connector(decision, body.connector, station)
    session = own_session(body.transaction_id, station.id, facts)
    if session is not None and body.connector not in (0, session.connector_number):
        session = None
    named = session is not None
    if session is None and body.connector:
        session = _active_session(station.id, body.connector, facts)
    live = keep_readings(decision, message, body.elements, session, facts, connector=body.connector, named=named)
    if live is not None and live.moved:
        decision.live += (live.change(),)
    return decision


def own_session(transaction_id: int | None, station_id: int, facts: Facts) -> SessionFacts | None:
    """The session of this id, if it was issued to this station."""
    session = facts.sessions_by_transaction.get(transaction_id) if transaction_id is not None else None
    return session if session is not None and session.station_id == station_id else None


def _active_session(station_id: int, connector: int, facts: Facts) -> SessionFacts | None:
    for session in facts.open_sessions.get(station_id, ()):
        if session.state == "active" and session.connector_number == connector:
            return session
    return None


def keep_readings(
    decision: Decision,
    message: Message,
    elements: tuple[Element, ...],
    session: SessionFacts | None,
    facts: Facts,
    *,
    connector: int,
    named: bool,
) -> Live | None:
    """Keep each element as a reading, and move the live figures of an open session forward. A reading that does not
    name the session belongs to it only from its start on."""
    station = facts.stations[message.station_id]
    live = Live(session) if session is not None and session.is_open else None
    readings: list[ReadingRow] = []
    doubts: list[Doubt] = []
    undated: list[tuple[int, int, int]] = []
    for element in elements:
        at, possible = element.at.clamped(message.received_at)
        figures = meter.read(element)
        digest = meter.digest(element, dated=possible)
        notes = figures.notes
        mine = session is not None and (named or at >= session.started_at - BEFORE_START)
        if not possible:
            if mine and session is not None:
                key = session.id, connector, digest
                if key in facts.undated:
                    continue
                undated.append(key)
            notes = f"{notes} bad_time".strip()[: meter.MAX_NOTES]
        readings.append(
            ReadingRow(
                at,
                message.station_id,
                connector,
                digest,
                message.operator_id,
                session.id if mine and session is not None else None,
                message.received_at,
                message.generation,
                message.sequence,
                figures.context,
                figures.register_wh,
                figures.power_w,
                figures.current_a,
                figures.voltage_v,
                figures.soc_percent,
                notes,
            )
        )
        if live is not None and mine and (found := live.advance(at, figures, station)) is not None:
            doubts.append(found)
    decision.readings, decision.undated = tuple(readings), tuple(undated)
    decision.doubts += tuple(doubts)
    return live


class Live:
    """A session's live figures while the elements of one message move them forward."""

    __slots__ = ("at", "moved", "power_w", "register_at", "register_wh", "session", "soc_percent")

    def __init__(self, session: SessionFacts) -> None:
        self.session = session
        self.moved = False
        self.at = session.reading_at
        self.power_w = session.power_w
        self.soc_percent = session.soc_percent
        self.register_wh, self.register_at = session.register_wh, session.register_at

    def advance(self, at: dt.datetime, figures: meter.Figures, station: StationFacts) -> Doubt | None:
        """Take the figures of a time, unless later ones are known. Returns what is doubtful about the register."""
        if self.at is not None and at < self.at:
            return None
        self.at, self.moved = at, True
        if figures.power_w is not None:
            self.power_w = figures.power_w
        if figures.soc_percent is not None:
            self.soc_percent = figures.soc_percent
        if figures.register_wh is None:
            return None
        # Of two registers of one time the higher counts, whichever comes first.
        if at == self.register_at and figures.register_wh <= (self.register_wh or 0):
            return None
        found = self.step(at, figures.register_wh, station)
        self.register_wh, self.register_at = figures.register_wh, at
        return found

    def step(self, at: dt.datetime, register_wh: int, station: StationFacts) -> Doubt | None:
        """What is doubtful about the step from the last register, or that of the start, to this one."""
        before_wh, before_at = self.register_wh, self.register_at
        if before_wh is None or before_at is None:
            before_wh, before_at = self.session.meter_start_wh, self.session.started_at
        if before_wh is None:
            return None
        power, elapsed = _max_power_w(self.session, station), at - before_at
        code = meter.doubt(before_wh, register_wh, max_power_w=power, elapsed=elapsed)
        if code is None:
            return None
        evidence = {"before_wh": before_wh, "before_at": before_at, "after_wh": register_wh, "after_at": at}
        evidence["allowed_wh"] = meter.allowed_wh(power, elapsed)
        return doubt(code, self.session, f"{int(at.timestamp())}:{register_wh}", evidence)

    def change(self) -> SessionChange:
        values = {
            "reading_at": self.at,
            "power_w": self.power_w,
            "soc_percent": self.soc_percent,
            "register_wh": self.register_wh,
            "register_at": self.register_at,
        }
        return SessionChange(self.session, values)


def _max_power_w(session: SessionFacts, station: StationFacts) -> int:
    """Of the connector, or of the strongest one where the charger names none that we know."""
    connector = station.connectors.get(session.connector_number)
    if connector is not None and connector.max_power_w:
        return connector.max_power_w
    powers = [one.max_power_w for one in station.connectors.values()]
    return max(powers, default=0) or found_connector(1).max_power_w
