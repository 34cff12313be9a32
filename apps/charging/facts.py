"""What a message says, what the database knows, and what follows from both: plain data, version-neutral.

A protocol package translates a frame to one of the bodies below; `store.load` reads the `Facts` of a whole batch;
`decisions.decide` gives a `Decision`; `Facts.apply` lets later messages of the batch see it; `store.write` writes all
of it, one statement a table. Energy is integer Wh, power W, current A, voltage V, times aware UTC.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from apps.installations.status import Booted, ConnectorFacts, StationFacts, StatusReported

EARLIEST = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)  # before it, a charger's clock was never set
LATEST_AHEAD = dt.timedelta(days=1)
KEY_LENGTH = 32  # of a start key
KEY_MARK = "#"  # between the key of a start and the number of a clockless charger's later start under that key


class Moment(NamedTuple):
    """A time as a charger sent it. `parsed` is aware UTC, or None where the text is no time."""

    sent: str
    parsed: dt.datetime | None

    @property
    def key(self) -> str:
        """What idempotency keys are built from: the time as sent, never the time of receipt."""
        return self.parsed.isoformat() if self.parsed is not None else self.sent

    def clamped(self, received_at: dt.datetime) -> tuple[dt.datetime, bool]:
        """The time that counts, and whether the one sent can be: else it is the time of receipt."""
        if self.parsed is None or not EARLIEST <= self.parsed <= received_at + LATEST_AHEAD:
            return received_at, False
        return self.parsed, True

    @property
    def clockless(self) -> bool:
        """Whether the charger cannot have had a clock, so that two starts may carry one time."""
        return self.parsed is None or self.parsed < EARLIEST


class Kind(NamedTuple):
    """What a sampled value is, its defaults filled in (OCPP 1.6 section 7.33)."""

    measurand: str = "Energy.Active.Import.Register"
    unit: str = ""
    phase: str = ""
    context: str = "Sample.Periodic"
    location: str = "Outlet"
    format: str = "Raw"


class Element(NamedTuple):
    """One meterValue element: what was sampled at one time. `values[i]` is of `kinds[i]`: a number in plain text, or
    signed data as `format` says."""

    at: Moment
    kinds: tuple[Kind, ...]
    values: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class Authorise:
    uid: str


@dataclass(slots=True, frozen=True)
class Started:
    """A session began. `start_key` is the key of the start within its station, by the protocol's rule; `clockless` says
    that the time does not parse or lies before 2020, so that one key may stand for several starts."""

    connector: int
    uid: str
    at: Moment
    meter_wh: int
    meter_sent: str
    start_key: str
    clockless: bool = False


@dataclass(slots=True, frozen=True)
class Measured:
    connector: int
    transaction_id: int | None
    elements: tuple[Element, ...]


@dataclass(slots=True, frozen=True)
class Ended:
    transaction_id: int
    uid: str | None
    at: Moment
    meter_wh: int
    meter_sent: str
    reason: str
    elements: tuple[Element, ...] = ()


@dataclass(slots=True, frozen=True)
class Unreadable:
    """A hot message whose decision failed or whose data the database refused: it is confirmed and kept for review."""

    action: str
    connector: int
    error: str
    key: str
    uid: str = ""
    quarantined: bool = False


Body = Authorise | Started | Measured | Ended | Booted | StatusReported | Unreadable


@dataclass(slots=True)
class Message:
    """A body with where it came from. (generation, sequence) orders the messages of a station."""

    station_id: int
    operator_id: int
    generation: int
    sequence: int
    received_at: dt.datetime
    body: Body
    repairs: tuple[str, ...] = ()


@dataclass(slots=True)
class TokenFacts:
    """A card. `contracts` are the periods in which one covers it, local dates, both in; None is without end."""

    id: int
    uid: str
    state: str
    expires_at: dt.datetime | None
    organisation_id: int | None
    holder_id: int | None
    byte_order: str
    contracts: list[tuple[dt.date, dt.date | None]] = field(default_factory=list)

    def has_contract(self, day: dt.date) -> bool:
        return any(first <= day and (last is None or day <= last) for first, last in self.contracts)


@dataclass(slots=True, eq=False)
class SessionFacts:
    """A session as the batch sees it: the columns that messages read or write. `id` is drawn before the decision, so
    readings of the same batch can name it. `dirty`: it exists in the database and was changed here."""

    id: int
    station_id: int
    operator_id: int
    connector_number: int
    transaction_id: int | None
    state: str
    started_at: dt.datetime
    meter_start_wh: int | None
    # live figures
    reading_at: dt.datetime | None = None
    register_wh: int | None = None
    register_at: dt.datetime | None = None
    power_w: int | None = None
    soc_percent: int | None = None
    # what no reading asks for
    start_key: str = ""
    started_sent: str = ""
    start_received_at: dt.datetime = EARLIEST
    start_generation: int | None = None
    meter_start_sent: str = ""
    uid: str = ""
    token_id: int | None = None
    organisation_id: int | None = None
    holder_id: int | None = None
    connector_id: int | None = None
    location_id: int | None = None
    host_id: int | None = None
    seller_id: int | None = None
    free_by_policy: bool = False
    authorisation_status: str = ""
    authorisation_reason: str = ""
    start_offset_s: float | None = None
    ended_at: dt.datetime | None = None
    ended_sent: str = ""
    stop_received_at: dt.datetime | None = None
    stop_offset_s: float | None = None
    meter_stop_wh: int | None = None
    meter_stop_sent: str = ""
    stop_reason: str = ""
    stop_uid: str = ""
    awaiting_since: dt.datetime | None = None
    is_new: bool = False
    dirty: bool = False
    live_dirty: bool = False

    @property
    def base_key(self) -> str:
        """The key of its start alone, without the number of a clockless charger's later start."""
        return self.start_key.partition(KEY_MARK)[0]

    @property
    def is_open(self) -> bool:
        return self.state in ("active", "awaiting")


@dataclass(slots=True, frozen=True)
class Doubt:
    """A review item to open. `key` is unique in its station for ever; one open item a session and code is enough."""

    code: str
    key: str
    evidence: dict[str, Any]
    session_id: int | None = None
    blocking: bool = True


class ReadingRow(NamedTuple):
    """A row of `charging_reading`, in the order of its columns."""

    at: dt.datetime
    station_id: int
    connector_number: int
    digest: int
    operator_id: int
    session_id: int | None
    received_at: dt.datetime
    generation: int
    sequence: int
    context: str
    register_wh: int | None
    power_w: int | None
    current_a: float | None
    voltage_v: float | None
    soc_percent: int | None
    notes: str


@dataclass(slots=True, frozen=True)
class Verdict:
    """The one reasoned answer to "may this card charge here?"."""

    status: str
    reason: str
    token: TokenFacts | None = None
    free: bool = False
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def accepted(self) -> bool:
        return self.status == "Accepted"


@dataclass(slots=True, frozen=True)
class Reply:
    """What the protocol package turns into a confirmation."""

    verdict: Verdict | None = None
    transaction_id: int | None = None


@dataclass(slots=True)
class SessionChange:
    """New values of columns of a session, by name."""

    session: SessionFacts
    values: dict[str, Any]


@dataclass(slots=True)
class Decision:
    """Everything that follows from one message. Nothing in it is applied until `Facts.apply`."""

    reply: Reply = Reply()
    session: SessionFacts | None = None
    changes: tuple[SessionChange, ...] = ()
    live: tuple[SessionChange, ...] = ()
    readings: tuple[ReadingRow, ...] = ()
    verdict_uid: str = ""
    doubts: tuple[Doubt, ...] = ()
    events: tuple[tuple[str, dict[str, Any]], ...] = ()
    new_connectors: tuple[ConnectorFacts, ...] = ()
    undated: tuple[tuple[int, int, int], ...] = ()
    booted_at: dt.datetime | None = None


@dataclass(slots=True)
class Facts:
    """What the batch knows.

    `sessions_by_key`: (station id, start key without number). `open_sessions`: station id → its sessions without end,
    newest first. `busy`: token id → its running sessions. `stops`: (station id, end and meter as sent) → the session
    that they ended, for ends that name none. `undated`: (session id, connector, digest) of stored readings whose time
    could not be. The two functions draw durable ids.
    """

    stations: dict[int, StationFacts] = field(default_factory=dict)
    tokens: dict[tuple[int, str], TokenFacts] = field(default_factory=dict)
    sessions_by_key: dict[tuple[int, str], list[SessionFacts]] = field(default_factory=dict)
    sessions_by_transaction: dict[int, SessionFacts] = field(default_factory=dict)
    open_sessions: dict[int, list[SessionFacts]] = field(default_factory=dict)
    busy: dict[int, list[SessionFacts]] = field(default_factory=dict)
    stops: dict[tuple[int, str, str], SessionFacts] = field(default_factory=dict)
    undated: set[tuple[int, int, int]] = field(default_factory=set)
    new_session_id: Callable[[], int] = field(default=lambda: 0)
    new_transaction_id: Callable[[], int] = field(default=lambda: 0)

    def apply(self, decision: Decision, station_id: int) -> None:
        """Let later messages of the batch see what this one changed."""
        for connector in decision.new_connectors:
            self.stations[station_id].connectors[connector.number] = connector
        if decision.session is not None:
            self._add_session(decision.session)
        for change in decision.changes:
            self._change(change)
        for change in decision.live:
            for name, value in change.values.items():
                setattr(change.session, name, value)
            change.session.live_dirty = True
        self.undated.update(decision.undated)
        if decision.booted_at is not None:
            self.stations[station_id].booted_at = decision.booted_at

    def _add_session(self, session: SessionFacts) -> None:
        session.is_new = True
        self.sessions_by_key.setdefault((session.station_id, session.base_key), []).append(session)
        if session.transaction_id is not None:
            self.sessions_by_transaction[session.transaction_id] = session
        if session.is_open:
            self.open_sessions.setdefault(session.station_id, []).insert(0, session)
        if session.token_id is not None and session.state == "active":
            self.busy.setdefault(session.token_id, []).append(session)

    def _change(self, change: SessionChange) -> None:
        session = change.session
        for name, value in change.values.items():
            setattr(session, name, value)
        session.dirty = True
        if session.ended_sent:
            self.stops[session.station_id, session.ended_sent, session.meter_stop_sent] = session
        if not session.is_open:
            siblings = self.open_sessions.get(session.station_id, [])
            if session in siblings:
                siblings.remove(session)
        if session.token_id is not None and session.state != "active":
            running = self.busy.get(session.token_id, [])
            if session in running:
                running.remove(session)
