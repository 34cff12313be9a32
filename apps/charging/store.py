"""Loads the facts of a batch and writes its decisions, one statement a table (gateway contract G4, G5, G8)."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from apps.cards.uid import normalise, reversed_bytes
from apps.charging import meter
from apps.charging.facts import (
    KEY_LENGTH,
    Authorise,
    Decision,
    Ended,
    Facts,
    Measured,
    Message,
    SessionFacts,
    Started,
    TokenFacts,
    Unreadable,
)
from apps.core import bulk, events
from apps.installations import store as installations
from apps.installations.status import Booted, StatusReported

# A row for each contract of a card, or one without.
_TOKENS = """
SELECT t.operator_id, t.id, t.uid, t.state, t.expires_at, t.organisation_id, t.holder_id, t.byte_order,
       b.valid_from, b.valid_to, c.starts_on, c.ends_on
  FROM cards_token t
  LEFT JOIN cards_tokencontract b ON b.token_id = t.id
  LEFT JOIN contracts_contract c ON c.id = b.contract_id
 WHERE t.operator_id = ANY(%s::bigint[]) AND t.uid = ANY(%s::text[])"""

# Columns of a session that a message may set after the start, and those that the start alone sets.
_MUTABLE = {
    "state": "text",
    "ended_at": "timestamptz",
    "ended_sent": "text",
    "stop_received_at": "timestamptz",
    "stop_offset_s": "float8",
    "meter_stop_wh": "bigint",
    "meter_stop_sent": "text",
    "stop_reason": "text",
    "stop_uid": "text",
    "awaiting_since": "timestamptz",
}
_FIXED = {
    "id": "bigint",
    "station_id": "bigint",
    "operator_id": "bigint",
    "connector_number": "int",
    "transaction_id": "bigint",
    "start_key": "text",
    "started_at": "timestamptz",
    "started_sent": "text",
    "start_received_at": "timestamptz",
    "start_generation": "bigint",
    "meter_start_wh": "bigint",
    "meter_start_sent": "text",
    "uid": "text",
    "token_id": "bigint",
    "organisation_id": "bigint",
    "holder_id": "bigint",
    "connector_id": "bigint",
    "location_id": "bigint",
    "host_id": "bigint",
    "seller_id": "bigint",
    "free_by_policy": "bool",
    "authorisation_status": "text",
    "authorisation_reason": "text",
    "start_offset_s": "float8",
}
_LIVE = ("reading_at", "register_wh", "register_at", "power_w", "soc_percent")
_COLUMNS = (*_FIXED, *_MUTABLE)
_all_of, _mutable_of, _live_of = attrgetter(*_COLUMNS), attrgetter(*_MUTABLE), attrgetter(*_LIVE)
_TIMES = (*(name for name, kind in (_FIXED | _MUTABLE).items() if kind == "timestamptz"), "reading_at", "register_at")
# In the order of the dataclass, so that a row is a session without a look-up a column.
_LOADED = tuple(field.name for field in fields(SessionFacts) if field.name in (*_COLUMNS, *_LIVE))
_READ_ALONG = _LOADED[: _LOADED.index("start_key")]


def _sessions(columns: Sequence[str]) -> str:
    selected = ", ".join(f"{'l' if name in _LIVE else 's'}.{name}" for name in columns)
    return f"SELECT {selected} FROM charging_session s JOIN charging_sessionlive l ON l.session_id = s.id WHERE "


# What is loaded, and how it is locked: for readings alone, and for messages that ask or change more.
_LIVE_ONLY = _sessions(_READ_ALONG), " ORDER BY s.id FOR NO KEY UPDATE OF l"
_WHOLE = _sessions(_LOADED), " ORDER BY s.id FOR NO KEY UPDATE OF s, l"
_BY_TRANSACTION = "s.transaction_id IN (SELECT unnest(%s::bigint[]))"
_BY_START_KEY = "s.station_id = ANY(%s::bigint[]) AND s.start_key = ANY(%s::text[])"
_BY_BASE_KEY = f"s.station_id = ANY(%s::bigint[]) AND substr(s.start_key, 1, {KEY_LENGTH}) = ANY(%s::text[])"
_BY_END = "s.station_id = ANY(%s::bigint[]) AND s.ended_sent = ANY(%s::text[]) AND s.meter_stop_sent = ANY(%s::text[])"
_OPEN_AT_STATION = "s.station_id = ANY(%s::bigint[]) AND s.state IN ('active', 'awaiting')"
_BUSY = "s.token_id = ANY(%s::bigint[]) AND s.state = 'active'"
_UNDATED = (
    "SELECT session_id, connector_number, digest FROM charging_reading "
    "WHERE session_id = ANY(%s::bigint[]) AND digest = ANY(%s::bigint[])"
)

_NEW_SESSIONS = bulk.Table(
    "charging_session",
    columns=(*_COLUMNS, "public_id", "protocol"),
    types=(*_FIXED.values(), *_MUTABLE.values(), "uuid", "text"),
)
_NEW_LIVE = bulk.Table(
    "charging_sessionlive",
    columns=("session_id", "operator_id", "energy_wh", *_LIVE),
    types=("bigint", "bigint", "bigint", "timestamptz", "bigint", "timestamptz", "int", "smallint"),
)
_SESSION_CHANGES = bulk.Update(
    "charging_session", keys=("id",), sets=tuple(_MUTABLE), types=("bigint", *_MUTABLE.values())
)
_LIVE_CHANGES = bulk.Update(
    "charging_sessionlive",
    keys=("session_id",),
    sets=("energy_wh", *_LIVE),
    types=("bigint", "bigint", "timestamptz", "bigint", "timestamptz", "int", "smallint"),
    guard="t.reading_at IS NULL OR t.reading_at <= v.reading_at",
)
_READINGS = bulk.Table(
    "charging_reading",
    columns=(
        "at",
        "station_id",
        "connector_number",
        "digest",
        "operator_id",
        "session_id",
        "received_at",
        "generation",
        "sequence",
        "context",
        "register_wh",
        "power_w",
        "current_a",
        "voltage_v",
        "soc_percent",
        "notes",
    ),
    types=(
        *("timestamptz", "bigint", "int", "bigint", "bigint", "bigint", "timestamptz", "bigint", "bigint", "text"),
        *("bigint", "int", "float8", "float8", "smallint", "text"),
    ),
    conflict="ON CONFLICT DO NOTHING",
)
_AUTHORISATIONS = bulk.Table(
    "charging_authorisation",
    columns=(
        *("operator_id", "station_id", "token_id", "uid", "at", "action", "status", "reason", "detail"),
        *("expires_at", "generation", "sequence"),
    ),
    types=(
        *("bigint", "bigint", "bigint", "text", "timestamptz", "text", "text", "text", "jsonb"),
        *("timestamptz", "bigint", "bigint"),
    ),
    conflict="ON CONFLICT DO NOTHING",
)
# Both keys at once: the same doubt never twice, and one open item a session and code.
_REVIEW_ITEMS = bulk.Table(
    "charging_reviewitem",
    columns=(
        *("public_id", "operator_id", "station_id", "session_id", "code", "key", "blocking", "evidence"),
        *("opened_at", "state", "resolution", "why"),
    ),
    types=(
        *("uuid", "bigint", "bigint", "bigint", "text", "text", "bool", "jsonb"),
        *("timestamptz", "text", "text", "text"),
    ),
    conflict="ON CONFLICT DO NOTHING",
)


@dataclass(slots=True)
class Wanted:
    """What the messages of a batch need to be decided."""

    stations: set[int] = field(default_factory=set)
    lock_stations: bool = False
    statuses: bool = False
    operators: set[int] = field(default_factory=set)
    uids: set[str] = field(default_factory=set)
    transactions: set[int] = field(default_factory=set)
    start_keys: set[str] = field(default_factory=set)
    starting: set[int] = field(default_factory=set)
    clockless_keys: set[str] = field(default_factory=set)
    clockless_at: set[int] = field(default_factory=set)
    open_at: set[int] = field(default_factory=set)
    ends: list[tuple[int, Ended]] = field(default_factory=list)
    named: list[tuple[int, Measured]] = field(default_factory=list)
    undated: set[int] = field(default_factory=set)

    @property
    def only_readings(self) -> bool:
        """Whether sessions are asked for their live figures alone."""
        return not (self.open_at or self.uids)

    def add(self, message: Message) -> None:
        body = message.body
        self.stations.add(message.station_id)
        if isinstance(body, Measured):
            self._add_transaction(body.transaction_id)
            self.named.append((message.station_id, body))
        elif isinstance(body, StatusReported):
            self.statuses = True
        elif isinstance(body, Authorise):
            self._add_uid(message.operator_id, body.uid)
        elif isinstance(body, Started):
            self._add_uid(message.operator_id, body.uid)
            self._add_start(message.station_id, body.start_key)
            if body.clockless:
                self.clockless_keys.add(body.start_key)
                self.clockless_at.add(message.station_id)
        elif isinstance(body, Ended):
            self._add_transaction(body.transaction_id)
            self._add_uid(message.operator_id, body.uid or "")
            self.ends.append((message.station_id, body))
            self.open_at.add(message.station_id)
            self.lock_stations = True
        elif isinstance(body, Unreadable):
            self._add_start(message.station_id, body.key)
        elif isinstance(body, Booted):
            self.open_at.add(message.station_id)
            self.lock_stations = True
        if isinstance(body, Measured | Ended) and "bad_time" in message.repairs:
            self.undated.update(meter.digest(element, dated=False) for element in body.elements)

    def add_places(self, sessions: Iterable[SessionFacts]) -> None:
        """Readings that do not name a session of their own place belong to what is open there."""
        own = {session.transaction_id: session for session in sessions}
        for station_id, body in self.named:
            session = own.get(body.transaction_id)
            if session is None or session.station_id != station_id or session.connector_number != body.connector:
                self.open_at.add(station_id)

    def lost_ends(self, sessions: Iterable[SessionFacts]) -> list[tuple[int, Ended]]:
        """Ends that name no session of their station."""
        own = {(session.station_id, session.transaction_id) for session in sessions}
        return [(station_id, body) for station_id, body in self.ends if (station_id, body.transaction_id) not in own]

    def _add_uid(self, operator_id: int, uid: str) -> None:
        normal = normalise(uid)
        self.operators.add(operator_id)
        self.uids.update(filter(None, (normal, reversed_bytes(normal))))

    def _add_transaction(self, transaction_id: int | None) -> None:
        if transaction_id is not None and 0 < transaction_id < 2**31:
            self.transactions.add(transaction_id)

    def _add_start(self, station_id: int, start_key: str) -> None:
        self.starting.add(station_id)
        self.start_keys.add(start_key)
        self.open_at.add(station_id)
        self.lock_stations = True


def load_facts(
    connection: BaseDatabaseWrapper,
    messages: Iterable[Message],
    *,
    new_session_id: Callable[[], int],
    new_transaction_id: Callable[[], int],
) -> Facts:
    """One query a table for the whole batch; rows that may change are locked in key order."""
    wanted = Wanted()
    for message in messages:
        wanted.add(message)
    facts = Facts(new_session_id=new_session_id, new_transaction_id=new_transaction_id)
    facts.stations = installations.load_stations(
        connection,
        wanted.stations,
        lock=wanted.lock_stations,
        places=not wanted.only_readings,
        statuses=wanted.statuses,
    )
    if wanted.uids:
        _load_tokens(connection, facts, wanted)
    for session in _load_sessions(connection, facts, wanted):
        _index(facts, session)
    if wanted.undated and facts.sessions_by_transaction:
        sessions = sorted(session.id for session in facts.sessions_by_transaction.values())
        rows = bulk.fetch_rows(connection, _UNDATED, sessions, sorted(wanted.undated))
        facts.undated = {(session_id, connector, digest) for session_id, connector, digest in rows}
    return facts


def _load_tokens(connection: BaseDatabaseWrapper, facts: Facts, wanted: Wanted) -> None:
    for operator_id, pk, uid, state, expires_at, *rest, bound, unbound, starts, ends in bulk.fetch_rows(
        connection, _TOKENS, sorted(wanted.operators), sorted(wanted.uids)
    ):
        token = facts.tokens.get((operator_id, uid))
        if token is None:
            token = facts.tokens[operator_id, uid] = TokenFacts(pk, uid, state, bulk.aware(expires_at), *rest)
        if bound is not None:
            token.contracts.append((max(bound, starts), min(filter(None, (unbound, ends)), default=None)))


def _load_sessions(connection: BaseDatabaseWrapper, facts: Facts, wanted: Wanted) -> list[SessionFacts]:
    select, lock = _LIVE_ONLY if wanted.only_readings else _WHOLE
    found: dict[int, SessionFacts] = {}

    def load(condition: str, *params: list[Any], suffix: str = lock) -> None:
        if all(params):
            for row in bulk.fetch_rows(connection, select + condition + suffix, *params):
                found.setdefault(row[0], _session(row))

    load(_BY_TRANSACTION, sorted(wanted.transactions))
    load(_BY_START_KEY, sorted(wanted.starting), sorted(wanted.start_keys))
    load(_BY_BASE_KEY, sorted(wanted.clockless_at), sorted(wanted.clockless_keys))
    wanted.add_places(found.values())
    lost = wanted.lost_ends(found.values())
    load(
        _BY_END,
        sorted({station_id for station_id, _body in lost}),
        sorted({body.at.sent for _station_id, body in lost}),
        sorted({body.meter_sent for _station_id, body in lost}),
    )
    load(_OPEN_AT_STATION, sorted(wanted.open_at))
    # Other stations' sessions are looked at, not changed: no lock.
    load(_BUSY, sorted(token.id for token in facts.tokens.values()), suffix="")
    return list(found.values())


def _session(row: bulk.Row) -> SessionFacts:
    session = SessionFacts(*row)
    if session.started_at.tzinfo is None:
        for name in _TIMES:
            setattr(session, name, bulk.aware(getattr(session, name)))
    return session


def _index(facts: Facts, session: SessionFacts) -> None:
    facts.sessions_by_key.setdefault((session.station_id, session.base_key), []).append(session)
    if session.ended_sent:
        facts.stops[session.station_id, session.ended_sent, session.meter_stop_sent] = session
    if session.transaction_id is not None:
        facts.sessions_by_transaction[session.transaction_id] = session
    if session.state in ("active", "awaiting"):
        siblings = facts.open_sessions.setdefault(session.station_id, [])
        siblings.append(session)
        if len(siblings) > 1:
            siblings.sort(key=lambda one: one.id, reverse=True)
    if session.token_id is not None and session.state == "active":
        facts.busy.setdefault(session.token_id, []).append(session)


def write_decisions(
    connection: BaseDatabaseWrapper, facts: Facts, decided: Sequence[tuple[Message, Decision]], now: dt.datetime
) -> None:
    """Write what the batch decided. Connectors must have their ids already (`installations.store.write_changes`)."""
    new, dirty, live = _changed_sessions(decided)
    for session in new:
        station = facts.stations[session.station_id]
        connector = station.connectors.get(session.connector_number)
        session.connector_id = connector.id if connector is not None else None
    bulk.insert_rows(connection, _NEW_SESSIONS, [_session_row(session) for session in new])
    bulk.insert_rows(connection, _NEW_LIVE, [_live_row(session, session.operator_id) for session in new])
    bulk.update_rows(connection, _SESSION_CHANGES, [_change_row(session) for session in dirty])
    bulk.update_rows(connection, _LIVE_CHANGES, [_live_row(session) for session in live])
    bulk.insert_rows(
        connection, _READINGS, [reading for _message, decision in decided for reading in decision.readings]
    )
    bulk.insert_rows(connection, _AUTHORISATIONS, list(_authorisation_rows(decided)))
    bulk.insert_rows(connection, _REVIEW_ITEMS, list(_review_rows(decided, now)))
    _publish(decided)


def _changed_sessions(
    decided: Sequence[tuple[Message, Decision]],
) -> tuple[list[SessionFacts], list[SessionFacts], list[SessionFacts]]:
    new: dict[int, SessionFacts] = {}
    touched: dict[int, SessionFacts] = {}
    for _message, decision in decided:
        if decision.session is not None:
            new[decision.session.id] = decision.session
        for change in (*decision.changes, *decision.live):
            touched[change.session.id] = change.session
    known = [touched[pk] for pk in sorted(touched) if pk not in new]
    return (
        [new[pk] for pk in sorted(new)],
        [session for session in known if session.dirty],
        [session for session in known if session.live_dirty],
    )


def _session_row(session: SessionFacts) -> bulk.Row:
    return (*_all_of(session), uuid.uuid4(), "ocpp1.6")


def _change_row(session: SessionFacts) -> bulk.Row:
    return (session.id, *_mutable_of(session))


def _live_row(session: SessionFacts, *operator_id: int) -> bulk.Row:
    known = session.register_wh is not None and session.meter_start_wh is not None
    energy = session.register_wh - session.meter_start_wh if known else 0  # type: ignore[operator]
    return (session.id, *operator_id, energy, *_live_of(session))


def _authorisation_rows(decided: Sequence[tuple[Message, Decision]]) -> Iterable[bulk.Row]:
    for message, decision in decided:
        verdict = decision.reply.verdict
        if verdict is None or not decision.verdict_uid:
            continue
        token = verdict.token
        yield (
            message.operator_id,
            message.station_id,
            token.id if token is not None else None,
            decision.verdict_uid,
            message.received_at,
            type(message.body).__name__.lower(),
            verdict.status,
            verdict.reason,
            json.dumps(verdict.detail),
            token.expires_at if token is not None else None,
            message.generation,
            message.sequence,
        )


def _review_rows(decided: Sequence[tuple[Message, Decision]], now: dt.datetime) -> Iterable[bulk.Row]:
    for message, decision in decided:
        for doubt in decision.doubts:
            yield (
                *(uuid.uuid4(), message.operator_id, message.station_id, doubt.session_id, doubt.code, doubt.key),
                *(doubt.blocking, json.dumps(doubt.evidence), now, "open", "", ""),
            )


def _publish(decided: Sequence[tuple[Message, Decision]]) -> None:
    batches: dict[str, list[dict[str, Any]]] = {}
    for _message, decision in decided:
        for name, payload in decision.events:
            batches.setdefault(name, []).append(payload)
    for name, payloads in batches.items():
        events.publish_many(name, payloads)
