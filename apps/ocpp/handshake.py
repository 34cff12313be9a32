"""Who may connect. Handshakes that wait are answered together: one look-up, generations in bulk (contract G10, G15).

A thread of its own with one database connection. Refusals are kept, one row per (operator, identity, address), with the
reason; never a password.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import datetime as dt
import json
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

from django.db import Error, connection, transaction

from apps.accounts.addresses import client_address
from apps.core import bulk, live
from apps.installations.models import StationState
from apps.ocpp import keys
from apps.ocpp.models import RefusalReason as Reason

logger = logging.getLogger(__name__)

SUBPROTOCOLS = ("ocpp1.6",)
MAX_IDENTITY = 48
MAX_BATCH = 500
MAX_WAITING = 20_000
PATIENCE_S = 45.0  # below the servers' handshake time-out of 60 s
RETURN_RATE = 200.0  # handshakes a second in the first minute after the database came back
RETURN_S = 60.0
REFUSALS_A_MINUTE = 6000

_STATUS = {Reason.UNKNOWN_STATION: 404, Reason.BAD_IDENTITY: 404, Reason.NO_PROTOCOL: 101}


@dataclass(slots=True, frozen=True)
class Request:
    """What a charger's handshake says. `password` is None where there is none; `fault` is what is wrong already."""

    key: str
    identity: str
    password: bytes | None
    fault: Reason | None
    subprotocol: str | None
    address: str
    user_agent: str = ""


@dataclass(slots=True, frozen=True)
class Accepted:
    station_id: int
    operator_id: int
    generation: int
    protocol: str
    traced: bool
    asks_status: bool


@dataclass(slots=True, frozen=True)
class Refused:
    """`status` is the HTTP status; 101 stands for: accept without subprotocol, then close 1002."""

    status: int
    words: str = ""


UNAVAILABLE = Refused(503, "Try again later.")
NOT_FOUND = Refused(404, "No such charger.")


@dataclass(slots=True)
class _Waiting:
    request: Request
    future: asyncio.Future[Accepted | Refused]
    since: float


@dataclass(slots=True)
class _Known:
    """What the look-up found for one request."""

    operator_id: int | None = None
    station_id: int | None = None
    traced: bool = False
    status_on_connect: str = ""
    has_state: bool = False
    keys: list[tuple[int, keys.Sealed]] = field(default_factory=list)


Refusal = tuple[Request, _Known, Reason]


def read_request(scope: dict[str, Any]) -> Request | None:
    """The request of an ASGI websocket scope; None where its path is not `/ocpp/<operator key>/<identity>`."""
    parts = scope["raw_path"].split(b"/")
    if len(parts) != 4 or not parts[2] or not parts[3]:
        return None
    identity = unquote_to_bytes(parts[3]).decode(errors="replace")
    headers = dict(reversed(scope["headers"]))
    password, fault = _basic(headers.get(b"authorization"), identity)
    if len(identity) > MAX_IDENTITY or not identity.isprintable() or set("/:\N{REPLACEMENT CHARACTER}") & set(identity):
        fault = Reason.BAD_IDENTITY
    offered = [name.lower() for name in scope["subprotocols"]]
    return Request(
        key=_clean(unquote_to_bytes(parts[2]).decode(errors="replace"), 64),
        identity=_clean(identity, 64),
        password=password,
        fault=fault,
        subprotocol=next((name for name in SUBPROTOCOLS if name in offered), None),
        address=_address(scope),
        user_agent=_clean(headers.get(b"user-agent", b"").decode(errors="replace"), 120),
    )


def _basic(header: bytes | None, identity: str) -> tuple[bytes | None, Reason | None]:
    """Password and fault of an Authorization header. The password may be any bytes."""
    if header is None:
        return None, Reason.NO_PASSWORD
    scheme, _space, encoded = header.strip().partition(b" ")
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except binascii.Error:
        return None, Reason.BAD_AUTHORIZATION
    if scheme.lower() != b"basic" or not colon:
        return None, Reason.BAD_AUTHORIZATION
    if user.decode(errors="replace").lower() != identity.lower():
        return password, Reason.OTHER_USER
    return password, None


def _address(scope: dict[str, Any]) -> str:
    """The charger's address."""
    peer = str((scope.get("client") or [""])[0])
    forwarded = dict(scope["headers"]).get(b"x-forwarded-for", b"")  # of several lines, the last
    return _clean(client_address(peer, forwarded.decode(errors="replace")), 64)


def _clean(text: str, length: int) -> str:
    """Text from strangers, fit for any column."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text[:length])


class Handshakes:
    """The queue of handshakes of one process and the thread that answers them."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, gateway: str, on_unclaimed: Callable[[Accepted], None]
    ) -> None:
        self.loop = loop
        self.gateway = gateway
        self.closed = False
        self._on_unclaimed = on_unclaimed
        self._queue: deque[_Waiting] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._limited_until = 0.0
        self._minute = 0
        self._recorded = 0
        self._thread = threading.Thread(target=self._run, name="handshakes", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread when it has answered what waits."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join(5.0)

    def limit_rate(self) -> None:
        """The database came back: for a minute, handshakes are admitted at a limited rate (contract G13)."""
        self._limited_until = time.monotonic() + RETURN_S

    async def admit(self, request: Request) -> Accepted | Refused:
        """Whether this charger may connect. If it may, its generation is drawn and it counts as online."""
        if self.closed or len(self._queue) >= MAX_WAITING:
            return UNAVAILABLE
        waiting = _Waiting(request, self.loop.create_future(), time.monotonic())
        with self._wake:
            self._queue.append(waiting)
            self._wake.notify()
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await waiting.future
        except TimeoutError:
            return UNAVAILABLE

    # --- on the thread ---

    def _run(self) -> None:
        try:
            while (batch := self._take()) is not None:
                answers, refusals = self._answer(batch)
                if not self.loop.is_closed():
                    self.loop.call_soon_threadsafe(self._deliver, answers)
                self._record(refusals)
        finally:
            connection.close()

    def _take(self) -> list[_Waiting] | None:
        """Everything that waits, each station once; None when it is time to end."""
        with self._wake:
            while not self._queue and not self._stopping:
                self._wake.wait()
            if not self._queue:
                return None
        limited = time.monotonic() < self._limited_until
        limit = int(RETURN_RATE / 10) if limited else MAX_BATCH
        if limited:
            time.sleep(0.1)
        batch: dict[tuple[str, str], _Waiting] = {}
        while self._queue and len(batch) < limit:
            name = (self._queue[0].request.key, self._queue[0].request.identity.lower())
            if name in batch:  # the second socket of a station gets a generation of its own in the next round
                break
            batch[name] = self._queue.popleft()
        return list(batch.values())

    def _answer(self, batch: list[_Waiting]) -> tuple[list[tuple[_Waiting, Accepted | Refused]], list[Refusal]]:
        now = time.monotonic()
        batch = [one for one in batch if now - one.since < PATIENCE_S]
        answers: list[Accepted | Refused] = [UNAVAILABLE] * len(batch)
        refusals: list[Refusal] = []
        try:
            answers, refusals = decide([one.request for one in batch], gateway=self.gateway)
        except Exception as failure:  # whatever it is, these chargers try again, and the thread must live on
            logger.warning("%d handshakes refused: %s", len(batch), failure)
            connection.close()
        return list(zip(batch, answers, strict=True)), refusals

    def _record(self, refusals: list[Refusal]) -> None:
        """Keep the refusals, as many a minute as no flood of strangers fills a table with."""
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute, self._recorded = minute, 0
        room = max(REFUSALS_A_MINUTE - self._recorded, 0)
        self._recorded += len(refusals)
        if not refusals[:room]:
            return
        try:
            record_refusals(refusals[:room], dt.datetime.now(dt.UTC))
        except Error as failure:
            logger.warning("%d refusals not recorded: %s", len(refusals), failure)
            connection.close()

    def _deliver(self, answers: list[tuple[_Waiting, Accepted | Refused]]) -> None:
        for waiting, answer in answers:
            if not waiting.future.done():
                waiting.future.set_result(answer)
            elif isinstance(answer, Accepted):
                self._on_unclaimed(answer)


def decide(requests: list[Request], *, gateway: str) -> tuple[list[Accepted | Refused], list[Refusal]]:
    """Answer `requests`; who is accepted is online. A station's second one has to come again. Raises `Error`."""
    now = dt.datetime.now(dt.UTC)
    known = _look_up(requests, now)
    refusals: list[Refusal] = []
    answers: dict[int, Accepted | Refused] = {}
    admitted: dict[int, tuple[_Known, int]] = {}
    stations: set[int | None] = set()
    for number, (request, found) in enumerate(zip(requests, known, strict=True)):
        reason, key_id = _judge(request, found)
        if reason is None and found.station_id in stations:
            answers[number] = UNAVAILABLE  # one station by two URL keys of its operator
            continue
        if reason is None:
            stations.add(found.station_id)
            admitted[number] = (found, key_id)
            continue
        status = _STATUS.get(reason, 401)
        answers[number] = Refused(status, str(reason.label) if found.operator_id else NOT_FOUND.words)
        refusals.append((request, found, reason))
    if admitted:
        generations = _connect(requests, admitted, gateway, now)
        for number, (found, _key_id) in admitted.items():
            answers[number] = _accepted(requests[number], found, generations)
    return [answers[number] for number in range(len(requests))], refusals


def _accepted(request: Request, found: _Known, generations: dict[int, int]) -> Accepted:
    assert found.station_id is not None
    assert found.operator_id is not None
    assert request.subprotocol is not None
    return Accepted(
        station_id=found.station_id,
        operator_id=found.operator_id,
        generation=generations[found.station_id],
        protocol=request.subprotocol,
        traced=found.traced,
        asks_status=found.status_on_connect not in ("NotSupported", "NotImplemented"),
    )


def _judge(request: Request, found: _Known) -> tuple[Reason | None, int]:
    """Why not, or None and the id of the key that opened. Every way through costs at least one comparison."""
    password = request.password or b""
    if not found.keys:
        keys.compare_nothing(password)
    opened = [key_id for key_id, sealed in found.keys if keys.matches(password, sealed)]
    checks = (
        (request.fault is Reason.BAD_IDENTITY, Reason.BAD_IDENTITY),
        (found.station_id is None, Reason.UNKNOWN_STATION),
        (request.fault is not None, request.fault),
        (not found.keys, Reason.NO_KEY),
        (not opened, Reason.WRONG_PASSWORD),
        (request.subprotocol is None, Reason.NO_PROTOCOL),
    )
    reason = next((reason for failed, reason in checks if failed), None)
    return reason, opened[0] if opened else 0


_SOURCE = {
    "postgresql": "unnest(%s::int[], %s::text[], %s::text[]) AS v (n, key, identity)",
    "sqlite": "(SELECT json_extract(value, '$[0]') AS n, json_extract(value, '$[1]') AS key, "
    "json_extract(value, '$[2]') AS identity FROM json_each(%s)) AS v",
}
_LOOK_UP = """
    SELECT v.n, o.operator_id, s.id, s.traced_until > %s, t.station_id, t.status_on_connect,
           k.id, k.salt, k.digest, k.pepper_version
    FROM {source}
    JOIN ocpp_operatorkey o ON o.key = v.key AND (o.valid_until IS NULL OR o.valid_until > %s)
    LEFT JOIN installations_chargingstation s
        ON s.operator_id = o.operator_id AND lower(s.identity) = v.identity AND s.archived_at IS NULL
    LEFT JOIN installations_stationstate t ON t.station_id = s.id
    LEFT JOIN ocpp_stationkey k ON k.station_id = s.id AND (k.valid_until IS NULL OR k.valid_until > %s)
"""


def _look_up(requests: list[Request], now: dt.datetime) -> list[_Known]:
    known = [_Known() for _ in requests]
    moment = connection.ops.adapt_datetimefield_value(now)
    rows = [(number, request.key, request.identity.lower()) for number, request in enumerate(requests)]
    source: list[Any] = [json.dumps(rows)]
    if connection.vendor == "postgresql":
        source = [list(column) for column in zip(*rows, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(_LOOK_UP.format(source=_SOURCE[connection.vendor]), [moment, *source, moment, moment])
        for number, operator, station, traced, state, on_connect, key, salt, digest, pepper in cursor.fetchall():
            found = known[number]
            found.operator_id, found.station_id = operator, station
            found.traced, found.has_state = bool(traced), state is not None
            found.status_on_connect = on_connect or ""
            if key is not None:
                found.keys.append((key, keys.Sealed(bytes(salt), bytes(digest), pepper)))
    return known


_ONLINE = bulk.Update(
    "installations_stationstate",
    ("station_id",),
    ("generation", "online", "gateway", "connected_at", "last_seen_at", "clock_offset_s"),
    ("bigint", "bigint", "bool", "text", "timestamptz", "timestamptz", "float8"),
)
_REPLACED = bulk.Update(
    "installations_connectioninterval",
    ("station_id",),
    ("ended_at", "reason"),
    ("bigint", "timestamptz", "text"),
    guard="t.ended_at IS NULL",
)
_BEGAN = bulk.Table(
    "installations_connectioninterval",
    ("operator_id", "station_id", "generation", "gateway", "address", "protocol", "started_at", "reason"),
    ("bigint", "bigint", "bigint", "text", "text", "text", "timestamptz", "text"),
)
_GENERATIONS = (
    "SELECT station_id, generation, online, gateway FROM installations_stationstate "
    "WHERE station_id = ANY(%s::bigint[]) ORDER BY station_id FOR NO KEY UPDATE"
)
_USED = bulk.Update("ocpp_stationkey", ("id",), ("last_used_at",), ("bigint", "timestamptz"))


def _connect(
    requests: list[Request], admitted: dict[int, tuple[_Known, int]], gateway: str, now: dt.datetime
) -> dict[int, int]:
    """Draw a generation for each admitted station and write that it is online; station id → generation."""
    stations = {found.station_id: (found, requests[number]) for number, (found, _) in admitted.items()}
    with transaction.atomic(durable=True):
        limit_waits()
        _add_states([found for found, _ in stations.values() if not found.has_state])
        rows = bulk.fetch_rows(connection, _GENERATIONS, list(stations))
        generations = {pk: generation + 1 for pk, generation, _online, _gateway in rows}
        ids = sorted(generations)
        bulk.update_rows(connection, _ONLINE, [(pk, generations[pk], True, gateway, now, now, None) for pk in ids])
        bulk.update_rows(connection, _REPLACED, [(pk, now, "replaced") for pk in ids])
        bulk.insert_rows(connection, _BEGAN, [_interval(*stations[pk], generations[pk], gateway, now) for pk in ids])
        bulk.update_rows(connection, _USED, [(key_id, now) for _, key_id in admitted.values()])
    others = {f"gateway.{name}" for _pk, _generation, online, name in rows if online and name != gateway}
    presence = {topic for found, _ in stations.values() for topic in topics(found.operator_id, found.station_id)}
    live.touch_committed(others | presence)
    return generations


def topics(operator_id: int | None, station_id: int | None) -> tuple[str, str]:
    """The live topics of a station's presence."""
    return f"operator.{operator_id}", f"station.{station_id}"


def limit_waits() -> None:
    """In a transaction: no lock is waited for longer than 2 s, no statement runs longer than 10 s (contract G5)."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('lock_timeout', '2s', true), set_config('statement_timeout', '10s', true)"
            )


def _add_states(stations: list[_Known]) -> None:
    rows = [
        StationState(station_id=found.station_id, operator_id=found.operator_id)
        for found in stations
        if found.station_id is not None and found.operator_id is not None
    ]
    if rows:
        StationState.objects.bulk_create(rows, ignore_conflicts=True)


def _interval(found: _Known, request: Request, generation: int, gateway: str, now: dt.datetime) -> bulk.Row:
    protocol = request.subprotocol
    return (found.operator_id, found.station_id, generation, gateway, request.address, protocol, now, "")


_REFUSED = bulk.Table(
    "ocpp_handshakerefusal",
    (
        *("public_id", "operator_id", "station_id", "identity", "address"),
        *("reason", "count", "first_at", "last_at", "user_agent"),
    ),
    ("uuid", "bigint", "bigint", "text", "text", "text", "int", "timestamptz", "timestamptz", "text"),
    "ON CONFLICT (operator_id, identity, address) DO UPDATE SET count = ocpp_handshakerefusal.count + excluded.count, "
    "last_at = excluded.last_at, reason = excluded.reason, station_id = excluded.station_id, "
    "user_agent = excluded.user_agent",
)
_STRANGERS = bulk.Table(
    "ocpp_strangerrefusal",
    ("key", "identity", "address", "count", "first_at", "last_at"),
    ("text", "text", "text", "int", "timestamptz", "timestamptz"),
    "ON CONFLICT (key, identity, address) DO UPDATE SET count = ocpp_strangerrefusal.count + excluded.count, "
    "last_at = excluded.last_at",
)


def record_refusals(refusals: Iterable[Refusal], now: dt.datetime) -> None:
    """Count the refusals, one row per operator, identity and address; without an operator for platform staff alone."""
    known: dict[tuple[int, str, str], tuple[Request, _Known, Reason, int]] = {}
    strangers: dict[tuple[str, str, str], int] = {}
    for request, found, reason in refusals:
        if found.operator_id is None:
            place = (request.key, request.identity, request.address)
            strangers[place] = strangers.get(place, 0) + 1
        else:
            name = (found.operator_id, request.identity, request.address)
            known[name] = (request, found, reason, known[name][3] + 1 if name in known else 1)
    with transaction.atomic(durable=True):
        limit_waits()
        bulk.insert_rows(
            connection,
            _REFUSED,
            [
                (
                    uuid.uuid4(),
                    operator_id,
                    found.station_id,
                    identity,
                    address,
                    reason.value,
                    count,
                    now,
                    now,
                    one.user_agent,
                )
                for (operator_id, identity, address), (one, found, reason, count) in sorted(
                    known.items(), key=lambda item: item[0]
                )
            ],
        )
        bulk.insert_rows(
            connection, _STRANGERS, [(*place, count, now, now) for place, count in sorted(strangers.items())]
        )
