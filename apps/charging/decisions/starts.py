"""A session begins, also one whose start could not be read; and what a boot means for those that run."""

from __future__ import annotations

import datetime as dt
from typing import Any

from apps.cards.uid import normalise
from apps.charging.decisions.cards import authorise, find_token
from apps.charging.decisions.common import await_end, doubt, doubt_clock, event_ids, find_connector, plain
from apps.charging.events import SESSION_STARTED
from apps.charging.facts import (
    KEY_MARK,
    Decision,
    Doubt,
    Facts,
    Message,
    Reply,
    SessionFacts,
    Started,
    Unreadable,
    Verdict,
)
from apps.installations.status import StationFacts

REPLAY_AGE = dt.timedelta(minutes=5)  # an older message was kept by the charger while it was offline


def decide_started(message: Message, body: Started, facts: Facts) -> Decision:
    station = facts.stations[message.station_id]
    known = facts.sessions_by_key.get((station.id, body.start_key), [])
    last = max(known, key=lambda one: (one.start_received_at, one.id), default=None)
    if last is not None and _is_same_start(last, body, station):
        return Decision(reply=_repeated(last, body, station, facts))
    at, possible = body.at.clamped(message.received_at)
    replayed = message.received_at - at > REPLAY_AGE
    moment = at if replayed else message.received_at
    verdict = authorise(body.uid, station, facts, moment, connector=body.connector, replayed=replayed)
    session = _new_session(message, station, facts, connector=body.connector, start_key=_key(body.start_key, known))
    session.started_at, session.started_sent = at, body.at.sent
    session.meter_start_wh, session.meter_start_sent = body.meter_wh, body.meter_sent
    _set_card(session, body.uid, verdict)
    decision = Decision(reply=Reply(verdict, session.transaction_id), verdict_uid=session.uid)
    _open(decision, session, message, facts)
    if not possible:
        decision.doubts += (doubt("bad_time", session, "start", {"sent": body.at.sent, "taken": at}),)
    doubt_clock(decision, session, station, "start", body.at.sent)
    _doubt_card(decision, session, verdict)
    if last is not None and last.ended_at is None:
        decision.doubts += (doubt("maybe_same_start", session, "start", {"other": last.id}),)
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
        seller_id=station.seller_id,
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
    find_connector(decision, session.connector_number, facts.stations[message.station_id])
    replayed = message.received_at - session.started_at > REPLAY_AGE
    for other in facts.open_sessions.get(session.station_id, ()):
        if other.state != "active" or other.connector_number != session.connector_number:
            continue
        older, newer = (session, other) if replayed and session.started_at < other.started_at else (other, session)
        if older is other:
            decision.changes += (await_end(other, message.received_at),)
        else:
            session.state, session.awaiting_since = "awaiting", message.received_at
        decision.doubts += (doubt("replaced", older, "start", {"by": newer.id}, blocking=False),)
    decision.events += ((SESSION_STARTED, event_ids(session)),)


def _doubt_card(decision: Decision, session: SessionFacts, verdict: Verdict) -> None:
    evidence = {"uid": session.uid, "answer": verdict.status, "reason": verdict.reason}
    if verdict.reason in ("unknown", "accept_review"):
        decision.doubts += (doubt("unknown_card", session, "start", evidence),)
    elif not verdict.accepted and verdict.reason != "no_contract":  # that holds its CDR until there is one
        decision.doubts += (doubt("refused_card", session, "start", evidence),)


def decide_booted(message: Message, facts: Facts) -> Decision:
    """Sessions that were running wait for their final data."""
    decision = Decision(booted_at=message.received_at)
    for session in facts.open_sessions.get(message.station_id, ()):
        if session.state == "active" and session.start_received_at < message.received_at:
            decision.changes += (await_end(session, message.received_at),)
    return decision


def decide_unreadable(message: Message, body: Unreadable, facts: Facts) -> Decision:
    """Confirmed and kept (contract G6, G7). A start gets a session without figures, so that what follows attaches."""
    code = "quarantine" if body.quarantined else "failed"
    evidence = {"action": body.action, "error": body.error, "received_at": message.received_at}
    evidence |= {"generation": message.generation, "sequence": message.sequence}
    verdict = Verdict("Invalid", "failed")
    if body.action == "StartTransaction":
        return _stub(message, body, facts, verdict, evidence)
    doubt = Doubt(code, f"{code}:{body.key}"[:80], plain(evidence))
    if body.action == "Authorize":
        return Decision(reply=Reply(verdict), verdict_uid=normalise(body.uid), doubts=(doubt,))
    return Decision(doubts=(doubt,))


def _stub(message: Message, body: Unreadable, facts: Facts, verdict: Verdict, evidence: dict[str, Any]) -> Decision:
    station = facts.stations[message.station_id]
    known = facts.sessions_by_key.get((station.id, body.key))
    if known:
        return Decision(reply=Reply(verdict, known[-1].transaction_id))
    session = _new_session(message, station, facts, connector=body.connector, start_key=body.key)
    _set_card(session, body.uid, verdict)
    decision = Decision(reply=Reply(verdict, session.transaction_id), verdict_uid=session.uid)
    _open(decision, session, message, facts)
    decision.doubts += (doubt("stub", session, "start", evidence),)
    return decision
