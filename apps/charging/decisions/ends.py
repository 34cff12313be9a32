"""A session ends, or an end arrives that fits none."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Any

from apps.cards.uid import normalise
from apps.charging.decisions.cards import find_token, judge_card
from apps.charging.decisions.common import doubt, doubt_clock, event_ids, plain
from apps.charging.decisions.readings import Live, keep_readings, own_session
from apps.charging.events import SESSION_ENDED
from apps.charging.facts import (
    Decision,
    Doubt,
    Ended,
    Facts,
    Message,
    Reply,
    SessionChange,
    SessionFacts,
    Verdict,
)
from apps.installations.status import StationFacts


def decide_ended(message: Message, body: Ended, facts: Facts) -> Decision:
    station = facts.stations[message.station_id]
    decision = Decision(reply=Reply(_verdict_at_end(body, message, facts)))
    at, possible = body.at.clamped(message.received_at)
    session = own_session(body.transaction_id, station.id, facts) or _match_end(body, at, station, facts)
    if session is None:
        decision.doubts += (_orphan(message, body, station),)
        keep_readings(decision, message, body.elements, None, facts, connector=0, named=False)
        return decision
    connector = session.connector_number
    live = keep_readings(decision, message, body.elements, session, facts, connector=connector, named=True)
    if session.ended_at is None:
        _end(decision, message, body, live or Live(session), station, at=at, possible=possible)
    elif (body.at.sent, body.meter_wh) != (session.ended_sent, session.meter_stop_wh):
        decision.doubts += (_second_end(message, body, session, station),)
    return decision


def _verdict_at_end(body: Ended, message: Message, facts: Facts) -> Verdict | None:
    """What the charger may remember of a card that we know; whether that card stops the session is its business."""
    token = find_token(body.uid, message.operator_id, facts.tokens) if body.uid else None
    station = facts.stations[message.station_id]
    return judge_card(token, message.received_at, station) if token is not None else None


def _match_end(body: Ended, at: dt.datetime, station: StationFacts, facts: Facts) -> SessionFacts | None:
    """The session that an end without a usable id means: the one that it ended before, else the only open one that
    began before it, with the same card and no higher register."""
    fitting = [
        session
        for session in facts.open_sessions.get(station.id, ())
        if session.started_at <= at
        and (session.meter_start_wh is None or session.meter_start_wh <= body.meter_wh)
        and (not body.uid or not session.uid or normalise(body.uid) == session.uid)
    ]
    ended = facts.stops.get((station.id, body.at.sent, body.meter_sent))
    if ended is not None and not (body.at.clockless and _begun_since(ended, fitting, station)):
        return ended
    return fitting[0] if len(fitting) == 1 else None


def _begun_since(ended: SessionFacts, fitting: list[SessionFacts], station: StationFacts) -> bool:
    """Whether a charger without a clock may mean another end by the same text: it booted, or charged again."""
    since = ended.stop_received_at
    if since is None:
        return False
    booted = station.booted_at is not None and station.booted_at > since
    return booted or any(session.start_received_at > since for session in fitting)


def _end(
    decision: Decision,
    message: Message,
    body: Ended,
    live: Live,
    station: StationFacts,
    *,
    at: dt.datetime,
    possible: bool,
) -> None:
    session = live.session
    if not possible or at < session.started_at:
        evidence = {"sent": body.at.sent, "taken": at, "started_at": session.started_at}
        decision.doubts += (doubt("bad_time", session, "stop", evidence),)
    doubt_clock(decision, session, station, "stop", body.at.sent)
    _doubt_end_meter(decision, live, body.meter_wh, at, station)
    values = {
        "ended_at": at,
        "ended_sent": body.at.sent,
        "stop_received_at": message.received_at,
        "stop_offset_s": station.clock_offset_s,
        "meter_stop_wh": body.meter_wh,
        "meter_stop_sent": body.meter_sent,
        "stop_reason": body.reason,
        "stop_uid": normalise(body.uid or ""),
    }
    if session.is_open:
        values["state"] = "ended"
        decision.events += ((SESSION_ENDED, event_ids(session)),)
    decision.changes += (SessionChange(session, values),)
    live.at, live.power_w = max(at, live.at or at), 0
    live.register_wh, live.register_at = body.meter_wh, at
    decision.live += (live.change(),)


def _doubt_end_meter(decision: Decision, live: Live, meter_wh: int, at: dt.datetime, station: StationFacts) -> None:
    """The step from the last register to the end's; else an end below the start, where the meter had been replaced."""
    found, start_wh = live.step(at, meter_wh, station), live.session.meter_start_wh
    if found is None and start_wh is not None and meter_wh < start_wh:
        code = "meter_backwards" if live.register_wh is None else "meter_changed"
        found = doubt(code, live.session, "stop", {"before_wh": start_wh, "after_wh": meter_wh})
    if found is not None:
        decision.doubts += (found,)


def _second_end(message: Message, body: Ended, session: SessionFacts, station: StationFacts) -> Doubt:
    first = {"first_ended_at": session.ended_at, "first_meter_wh": session.meter_stop_wh}
    evidence = _end_evidence(message, body, station.clock_offset_s) | first
    return doubt("second_stop", session, _end_key(body), evidence)


def _orphan(message: Message, body: Ended, station: StationFacts) -> Doubt:
    return Doubt(
        "orphan_stop", f"orphan_stop:{_end_key(body)}", plain(_end_evidence(message, body, station.clock_offset_s))
    )


def _end_key(body: Ended) -> str:
    parts = (str(body.transaction_id), body.uid or "", body.at.key, str(body.meter_wh))
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()


def _end_evidence(message: Message, body: Ended, offset_s: float | None) -> dict[str, Any]:
    """All that a repair needs to end a session with this message."""
    at, possible = body.at.clamped(message.received_at)
    return {
        "transaction_id": body.transaction_id,
        "uid": body.uid,
        "at": at if possible else None,
        "sent": body.at.sent,
        "meter_wh": body.meter_wh,
        "meter_sent": body.meter_sent,
        "reason": body.reason,
        "received_at": message.received_at,
        "generation": message.generation,
        "sequence": message.sequence,
        "offset_s": offset_s,
    }
