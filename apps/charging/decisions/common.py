"""What several decisions share."""

from __future__ import annotations

import datetime as dt
from typing import Any

from apps.charging.facts import Decision, Doubt, SessionChange, SessionFacts
from apps.installations.status import MAX_CONNECTOR, StationFacts, found_connector

OFFSET_LIMIT_S = 300.0  # a clock that is off by more makes a session's times doubtful


def find_connector(decision: Decision, number: int, station: StationFacts) -> None:
    """A connector that the charger names and the inventory lacks is created and flagged."""
    if 0 < number <= MAX_CONNECTOR and number not in station.connectors:
        decision.new_connectors += (found_connector(number),)


def await_end(session: SessionFacts, since: dt.datetime) -> SessionChange:
    return SessionChange(session, {"state": "awaiting", "awaiting_since": since})


def event_ids(session: SessionFacts) -> dict[str, int]:
    return {"session_id": session.id, "station_id": session.station_id, "operator_id": session.operator_id}


def doubt_clock(decision: Decision, session: SessionFacts, station: StationFacts, where: str, sent: str) -> None:
    offset = station.clock_offset_s
    if offset is not None and abs(offset) > OFFSET_LIMIT_S:
        evidence = {"offset_s": round(offset, 3), "sent": sent, "at": where}
        decision.doubts += (doubt("clock_offset", session, where, evidence),)


def doubt(code: str, session: SessionFacts, where: str, evidence: dict[str, Any], *, blocking: bool = True) -> Doubt:
    return Doubt(code, f"{code}:{session.id}:{where}"[:80], plain(evidence), session.id, blocking)


def plain(evidence: dict[str, Any]) -> dict[str, Any]:
    """Evidence as JSON."""
    return {name: value.isoformat() if isinstance(value, dt.datetime) else value for name, value in evidence.items()}
