"""May this card charge here? One place, one reasoned answer."""

from __future__ import annotations

import datetime as dt

from apps.cards.uid import normalise, reversed_bytes
from apps.charging.facts import Authorise, Decision, Facts, Message, Reply, TokenFacts, Verdict
from apps.installations.status import StationFacts


def authorise(
    uid: str,
    station: StationFacts,
    facts: Facts,
    moment: dt.datetime,
    *,
    connector: int | None = None,
    replayed: bool = False,
) -> Verdict:
    """The one answer to "may this card charge here?" at `moment`, with its reason.

    `connector` is where it charges or wants to: a session there does not count as another one. Nor does one that began
    after the moment of a `replayed` start.
    """
    token = find_token(uid, station.operator_id, facts.tokens)
    if token is None:
        return _unknown_card(station)
    verdict = judge_card(token, moment, station)
    if not verdict.accepted:
        return verdict
    for session in facts.busy.get(token.id, ()):
        same_place = session.station_id == station.id and connector in (None, session.connector_number)
        if not same_place and not (replayed and session.started_at > moment):
            return Verdict("ConcurrentTx", "concurrent", token, detail={"session": session.id})
    return verdict


def judge_card(token: TokenFacts, moment: dt.datetime, station: StationFacts) -> Verdict:
    """What follows from the card's own state, its date, and whether somebody pays for it on this day there."""
    if token.state in ("ordered", "shipped"):
        return Verdict("Invalid", "not_active", token)
    if token.state in ("blocked", "lost"):
        return Verdict("Blocked", token.state, token)
    if token.expires_at is not None and token.expires_at <= moment:
        return Verdict("Expired", "expired", token)
    if not token.has_contract(station.day(moment)):
        return Verdict("Invalid", "no_contract", token)
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


def decide_authorise(message: Message, body: Authorise, facts: Facts, now: dt.datetime) -> Decision:
    verdict = authorise(body.uid, facts.stations[message.station_id], facts, now)
    return Decision(reply=Reply(verdict), verdict_uid=normalise(body.uid))
