"""What a message means for authorisations, sessions, readings and review: pure functions of facts.

No database, no clock, no I/O: the gateway's batches call them for messages, `services` for repairs. A message is
never refused here; what is doubtful becomes a review item (gateway contract, G6, Keys; issue "Sessions survive").
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from apps.cards.uid import normalise, reversed_bytes
from apps.charging import meter
from apps.charging.events import SESSION_ENDED, SESSION_STARTED
from apps.charging.facts import (
    EARLIEST,
    KEY_MARK,
    Authorise,
    Decision,
    Doubt,
    Element,
    Ended,
    Facts,
    Measured,
    Message,
    ReadingRow,
    Reply,
    SessionChange,
    SessionFacts,
    Started,
    TokenFacts,
    Unreadable,
    Verdict,
)
from apps.installations.status import MAX_CONNECTOR, Booted, ConnectorFacts, StationFacts, found_connector

OFFSET_LIMIT_S = 300.0  # a clock that is off by more makes a session's times doubtful
REPLAY_AGE = dt.timedelta(minutes=5)  # an older message was kept by the charger while it was offline
BEFORE_START = dt.timedelta(minutes=1)  # readings without transaction id, taken just before the start was


def decide(message: Message, facts: Facts, now: dt.datetime) -> Decision:
    """What follows from one message. Nothing is changed: `Facts.apply` does that, `store` writes it."""
    body = message.body
    if isinstance(body, Measured):
        return _measured(message, body, facts)
    if isinstance(body, Authorise):
        return _authorise(message, body, facts, now)
    if isinstance(body, Started):
        return _started(message, body, facts)
    if isinstance(body, Ended):
        return _ended(message, body, facts)
    if isinstance(body, Booted):
        return _booted(message, facts)
    if isinstance(body, Unreadable):
        return _unreadable(message, body, facts)
    return Decision()


# --- may this card charge here? ---


def authorise(
    uid: str, station: StationFacts, facts: Facts, moment: dt.datetime, *, connector: int | None = None
) -> Verdict:
    """The one answer to "may this card charge here?" at `moment`, with its reason.

    `connector` is where it charges or wants to: a session there does not count as another one.
    """
    token = find_token(uid, station.operator_id, facts.tokens)
    if token is None:
        return _unknown_card(station)
    if token.state in ("ordered", "shipped"):
        return Verdict("Invalid", "not_active", token)
    if token.state in ("blocked", "lost"):
        return Verdict("Blocked", token.state, token)
    if token.expires_at is not None and token.expires_at <= moment:
        return Verdict("Expired", "expired", token)
    for session in facts.busy.get(token.id, ()):
        same_place = session.station_id == station.id and connector in (None, session.connector_number)
        if not same_place and session.started_at <= moment:
            return Verdict("ConcurrentTx", "concurrent", token, detail={"session": session.id})
    return Verdict("Accepted", "active", token)


def find_token(uid: str, operator_id: int, tokens: dict[tuple[int, str], TokenFacts]) -> TokenFacts | None:
    """The card of this operator that a charger reads as `uid`, in the byte orders that the card allows."""
    normal = normalise(uid)
    token = tokens.get((operator_id, normal))
    if token is not None and token.byte_order != "reversed":
        return token
    token = tokens.get((operator_id, reversed_bytes(normal) or ""))
    if token is not None and token.byte_order != "as_printed":
        return token
    return None


def _unknown_card(station: StationFacts) -> Verdict:
    if station.unknown_cards == "accept_free":
        return Verdict("Accepted", "accept_free", free=True)
    if station.unknown_cards == "accept_review":
        return Verdict("Accepted", "accept_review")
    return Verdict("Invalid", "unknown")


def _authorise(message: Message, body: Authorise, facts: Facts, now: dt.datetime) -> Decision:
    verdict = authorise(body.uid, facts.stations[message.station_id], facts, now)
    return Decision(reply=Reply(verdict), verdict_uid=normalise(body.uid))


# --- a session begins ---


def _started(message: Message, body: Started, facts: Facts) -> Decision:
    station = facts.stations[message.station_id]
    known = facts.sessions_by_key.get((station.id, body.start_key), [])
    last = max(known, key=lambda one: (one.start_received_at, one.id), default=None)
    if last is not None and _is_same_start(last, body, station):
        return Decision(reply=_repeated(last, body, station, facts))
    at, possible = body.at.clamped(message.received_at)
    moment = at if message.received_at - at > REPLAY_AGE else message.received_at
    verdict = authorise(body.uid, station, facts, moment, connector=body.connector)
    session = _new_session(message, station, facts, connector=body.connector, start_key=_key(body.start_key, known))
    session.started_at, session.started_sent = at, body.at.sent
    session.meter_start_wh, session.meter_start_sent = body.meter_wh, body.meter_sent
    _set_card(session, body.uid, verdict)
    decision = Decision(reply=Reply(verdict, session.transaction_id), verdict_uid=session.uid)
    _open(decision, session, message, facts)
    if not possible:
        decision.doubts.append(_doubt("bad_time", session, "start", {"sent": body.at.sent, "taken": at}))
    _doubt_clock(decision, session, station, "start", body.at.sent)
    _doubt_card(decision, session, verdict)
    if last is not None and last.ended_at is None:
        decision.doubts.append(_doubt("maybe_same_start", session, "start", {"other": last.id}))
    return decision


def _is_same_start(last: SessionFacts, body: Started, station: StationFacts) -> bool:
    """A known key is the same start; a charger without a clock may mean another one once it ended or booted."""
    if not body.clockless:
        return True
    booted_since = station.booted_at is not None and station.booted_at > last.start_received_at
    return last.ended_at is None and not booted_since


def _key(start_key: str, known: list[SessionFacts]) -> str:
    return f"{start_key}{KEY_MARK}{len(known) + 1}" if known else start_key


def _repeated(session: SessionFacts, body: Started, station: StationFacts, facts: Facts) -> Reply:
    """The first answer again. Only the card's date is looked up, which belongs to an accepted answer."""
    token = find_token(body.uid, station.operator_id, facts.tokens)
    status, reason = session.authorisation_status or "Invalid", session.authorisation_reason or "failed"
    return Reply(Verdict(status, reason, token), session.transaction_id)


def _new_session(
    message: Message, station: StationFacts, facts: Facts, *, connector: int, start_key: str
) -> SessionFacts:
    return SessionFacts(
        id=facts.new_session_id(),
        station_id=station.id,
        operator_id=station.operator_id,
        connector_number=connector,
        transaction_id=facts.new_transaction_id(),
        start_key=start_key,
        state="active",
        started_at=message.received_at,
        started_sent="",
        start_received_at=message.received_at,
        start_generation=message.generation,
        meter_start_wh=None,
        location_id=station.location_id,
        host_id=station.host_id,
        start_offset_s=station.clock_offset_s,
    )


def _set_card(session: SessionFacts, uid: str, verdict: Verdict) -> None:
    session.uid = normalise(uid)
    session.authorisation_status, session.authorisation_reason = verdict.status, verdict.reason
    session.free_by_policy = verdict.free
    if verdict.token is not None:
        session.token_id = verdict.token.id
        session.organisation_id = verdict.token.organisation_id
        session.holder_id = verdict.token.holder_id


def _open(decision: Decision, session: SessionFacts, message: Message, facts: Facts) -> None:
    """Open the session on its connector. Of two open ones the older waits for its end (by the charger's own times)."""
    decision.session = session
    _find_connector(decision, session.connector_number, facts.stations[message.station_id])
    replayed = message.received_at - session.started_at > REPLAY_AGE
    for other in facts.open_sessions.get((session.station_id, session.connector_number), ()):
        if other.state != "active":
            continue
        older, newer = (session, other) if replayed and session.started_at < other.started_at else (other, session)
        if older is other:
            decision.changes.append(_await(other, message.received_at))
        else:
            session.state, session.awaiting_since = "awaiting", message.received_at
        decision.doubts.append(_doubt("replaced", older, "start", {"by": newer.id}, blocking=False))
    decision.events.append((SESSION_STARTED, _ids(session)))


def _doubt_card(decision: Decision, session: SessionFacts, verdict: Verdict) -> None:
    evidence = {"uid": session.uid, "answer": verdict.status, "reason": verdict.reason}
    if verdict.reason in ("unknown", "accept_review"):
        decision.doubts.append(_doubt("unknown_card", session, "start", evidence))
    elif not verdict.accepted:
        decision.doubts.append(_doubt("refused_card", session, "start", evidence))


# --- it is measured ---


def _measured(message: Message, body: Measured, facts: Facts) -> Decision:
    station = facts.stations[message.station_id]
    decision = Decision()
    _find_connector(decision, body.connector, station)
    session = _own_session(body.transaction_id, station.id, facts)
    if session is not None and body.connector not in (0, session.connector_number):
        session = None
    named = session is not None
    if session is None and body.connector:
        session = _active_session(station.id, body.connector, facts)
    live = _read(decision, message, body.elements, session, facts, connector=body.connector, named=named)
    if live is not None and live.moved:
        decision.live.append(live.change())
    return decision


def _own_session(transaction_id: int | None, station_id: int, facts: Facts) -> SessionFacts | None:
    """The session of this id, if it was issued to this station."""
    session = facts.sessions_by_transaction.get(transaction_id) if transaction_id is not None else None
    return session if session is not None and session.station_id == station_id else None


def _active_session(station_id: int, connector: int, facts: Facts) -> SessionFacts | None:
    for session in facts.open_sessions.get((station_id, connector), ()):
        if session.state == "active":
            return session
    return None


def _read(
    decision: Decision,
    message: Message,
    elements: tuple[Element, ...],
    session: SessionFacts | None,
    facts: Facts,
    *,
    connector: int,
    named: bool,
) -> _Live | None:
    """Keep each element as a reading, and move the live figures of an open session forward. A reading that does not
    name the session belongs to it only from its start on."""
    station = facts.stations[message.station_id]
    live = _Live(session) if session is not None and session.is_open else None
    for element in elements:
        at, possible = element.at.clamped(message.received_at)
        figures = meter.read(element)
        digest = meter.digest(element, dated=possible)
        notes = figures.notes
        if not possible:
            key = message.station_id, connector, digest
            if key in facts.undated:
                continue
            decision.undated.append(key)
            notes = f"{notes} bad_time".strip()[: meter.MAX_NOTES]
        mine = session is not None and (named or at >= session.started_at - BEFORE_START)
        decision.readings.append(
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
        if live is not None and mine and (doubt := live.advance(at, figures, station)) is not None:
            decision.doubts.append(doubt)
    return live


class _Live:
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
        doubt = self.step(at, figures.register_wh, station)
        self.register_wh, self.register_at = figures.register_wh, at
        return doubt

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
        return _doubt(code, self.session, f"{int(at.timestamp())}:{register_wh}", evidence)

    def change(self) -> SessionChange:
        values = {"reading_at": self.at, "power_w": self.power_w, "soc_percent": self.soc_percent}
        return SessionChange(self.session, values | {"register_wh": self.register_wh, "register_at": self.register_at})


def _max_power_w(session: SessionFacts, station: StationFacts) -> int:
    """Of the connector, or of the strongest one where the charger names none that we know."""
    connector = station.connectors.get(session.connector_number)
    if connector is not None and connector.max_power_w:
        return connector.max_power_w
    powers = [one.max_power_w for one in station.connectors.values()]
    return max(powers, default=0) or found_connector(1).max_power_w


# --- it ends ---


def _ended(message: Message, body: Ended, facts: Facts) -> Decision:
    station = facts.stations[message.station_id]
    decision = Decision(reply=Reply(_verdict_at_end(body, station, facts)))
    at, possible = body.at.clamped(message.received_at)
    session = _own_session(body.transaction_id, station.id, facts) or _match_end(body, at, station, facts)
    if session is None:
        decision.doubts.append(_orphan(message, body, station))
        _read(decision, message, body.elements, None, facts, connector=0, named=False)
        return decision
    connector = session.connector_number
    live = _read(decision, message, body.elements, session, facts, connector=connector, named=True)
    if session.ended_at is None:
        _end(decision, message, body, live or _Live(session), station, at=at, possible=possible)
    elif (body.at.sent, body.meter_wh) != (session.ended_sent, session.meter_stop_wh):
        decision.doubts.append(_second_end(message, body, session, station))
    return decision


def _verdict_at_end(body: Ended, station: StationFacts, facts: Facts) -> Verdict | None:
    """What the charger may remember of a card that it knows; whether that card stops the session is its business."""
    token = find_token(body.uid, station.operator_id, facts.tokens) if body.uid else None
    return authorise(body.uid, station, Facts(tokens=facts.tokens), EARLIEST) if token and body.uid else None


def _match_end(body: Ended, at: dt.datetime, station: StationFacts, facts: Facts) -> SessionFacts | None:
    """The session that an end without a usable id means: the one that it ended before, else the only open one that
    began before it, with the same card and no higher register."""
    fitting = [
        session
        for (station_id, _connector), sessions in facts.open_sessions.items()
        if station_id == station.id
        for session in sessions
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
    live: _Live,
    station: StationFacts,
    *,
    at: dt.datetime,
    possible: bool,
) -> None:
    session = live.session
    if not possible or at < session.started_at:
        evidence = {"sent": body.at.sent, "taken": at, "started_at": session.started_at}
        decision.doubts.append(_doubt("bad_time", session, "stop", evidence))
    _doubt_clock(decision, session, station, "stop", body.at.sent)
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
        decision.events.append((SESSION_ENDED, _ids(session)))
    decision.changes.append(SessionChange(session, values))
    live.at, live.power_w = max(at, live.at or at), 0
    live.register_wh, live.register_at = body.meter_wh, at
    decision.live.append(live.change())


def _doubt_end_meter(decision: Decision, live: _Live, meter_wh: int, at: dt.datetime, station: StationFacts) -> None:
    """The step from the last register to the end's; else an end below the start, where the meter had been replaced."""
    doubt, start_wh = live.step(at, meter_wh, station), live.session.meter_start_wh
    if doubt is None and start_wh is not None and meter_wh < start_wh:
        code = "meter_backwards" if live.register_wh is None else "meter_changed"
        doubt = _doubt(code, live.session, "stop", {"before_wh": start_wh, "after_wh": meter_wh})
    if doubt is not None:
        decision.doubts.append(doubt)


def _second_end(message: Message, body: Ended, session: SessionFacts, station: StationFacts) -> Doubt:
    first = {"first_ended_at": session.ended_at, "first_meter_wh": session.meter_stop_wh}
    evidence = _end_evidence(message, body, station.clock_offset_s) | first
    return _doubt("second_stop", session, f"{body.at.key}:{body.meter_wh}", evidence)


def _orphan(message: Message, body: Ended, station: StationFacts) -> Doubt:
    key = f"orphan_stop:{body.transaction_id}:{body.at.key}:{body.meter_wh}"
    return Doubt("orphan_stop", key[:80], _json(_end_evidence(message, body, station.clock_offset_s)))


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


# --- the charger boots; a message cannot be understood ---


def _booted(message: Message, facts: Facts) -> Decision:
    """Sessions that were running wait for their final data."""
    decision = Decision(booted_at=message.received_at)
    for (station_id, _connector), sessions in facts.open_sessions.items():
        for session in sessions if station_id == message.station_id else ():
            if session.state == "active" and session.start_received_at < message.received_at:
                decision.changes.append(_await(session, message.received_at))
    return decision


def _unreadable(message: Message, body: Unreadable, facts: Facts) -> Decision:
    """Confirmed and kept (contract G6, G7). A start gets a session without figures, so that what follows attaches."""
    code = "quarantine" if body.quarantined else "failed"
    evidence = {"action": body.action, "error": body.error, "received_at": message.received_at}
    evidence |= {"generation": message.generation, "sequence": message.sequence}
    verdict = Verdict("Invalid", "failed")
    if body.action == "StartTransaction":
        return _stub(message, body, facts, verdict, evidence)
    doubt = Doubt(code, f"{code}:{body.key}"[:80], _json(evidence))
    if body.action == "Authorize":
        return Decision(reply=Reply(verdict), verdict_uid=normalise(body.uid), doubts=[doubt])
    return Decision(doubts=[doubt])


def _stub(message: Message, body: Unreadable, facts: Facts, verdict: Verdict, evidence: dict[str, Any]) -> Decision:
    station = facts.stations[message.station_id]
    known = facts.sessions_by_key.get((station.id, body.key))
    if known:
        return Decision(reply=Reply(verdict, known[-1].transaction_id))
    session = _new_session(message, station, facts, connector=body.connector, start_key=body.key)
    _set_card(session, body.uid, verdict)
    decision = Decision(reply=Reply(verdict, session.transaction_id), verdict_uid=session.uid)
    _open(decision, session, message, facts)
    decision.doubts.append(_doubt("stub", session, "start", evidence))
    return decision


# --- common ---


def _find_connector(decision: Decision, number: int, station: StationFacts) -> None:
    """A connector that the charger names and the inventory lacks is created and flagged."""
    if 0 < number <= MAX_CONNECTOR and number not in station.connectors:
        connector: ConnectorFacts = found_connector(number)
        decision.new_connectors.append(connector)


def _await(session: SessionFacts, since: dt.datetime) -> SessionChange:
    return SessionChange(session, {"state": "awaiting", "awaiting_since": since})


def _ids(session: SessionFacts) -> dict[str, int]:
    return {"session_id": session.id, "station_id": session.station_id, "operator_id": session.operator_id}


def _doubt_clock(decision: Decision, session: SessionFacts, station: StationFacts, where: str, sent: str) -> None:
    offset = station.clock_offset_s
    if offset is not None and abs(offset) > OFFSET_LIMIT_S:
        decision.doubts.append(
            _doubt("clock_offset", session, where, {"offset_s": round(offset, 3), "sent": sent, "at": where})
        )


def _doubt(code: str, session: SessionFacts, where: str, evidence: dict[str, Any], *, blocking: bool = True) -> Doubt:
    return Doubt(code, f"{code}:{session.id}:{where}"[:80], _json(evidence), session.id, blocking)


def _json(evidence: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, dt.datetime) else value for name, value in evidence.items()}
