"""Real servers in processes of their own on a copy of the test database, and chargers that connect to them.

The copy is never flushed: what the tests commit stays apart by the identities they choose.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.db import connection, transaction
from websockets.sync.client import ClientConnection, connect

from apps.installations.models import ChargingStation, ConnectionInterval, ConnectorState, StationState
from apps.ocpp import keys
from apps.ocpp.models import OperatorKey, StationKey
from tests.factories.cast import Tenant
from tests.factories.installations import ConnectorFactory, StationFactory
from tests.services import free_port

ROOT = Path(__file__).resolve().parents[2]
SECRET = "00112233445566778899aabbccddeeff00112233"
URL_KEY = "amberkey"
PATIENCE_S = 15.0
COMMANDS = {"daphne": "serve", "uvicorn": "gateway"}

_numbers = itertools.count(1)


@contextlib.contextmanager
def database_copy(suffix: str = "live") -> Iterator[str]:
    """A copy of the test database; gives its name."""
    source = connection.settings_dict["NAME"]
    connection.close()
    if connection.vendor == "sqlite":
        name = source.replace(".sqlite3", f"_{suffix}.sqlite3")
        _remove(name)
        with contextlib.closing(sqlite3.connect(source)) as old, contextlib.closing(sqlite3.connect(name)) as new:
            old.backup(new)
        yield name
        _remove(name)
    else:
        name = f"{source}_{suffix}"
        _administer(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)', f'CREATE DATABASE "{name}" TEMPLATE "{source}"')
        yield name
        _administer(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextlib.contextmanager
def working_on(name: str, **server: Any) -> Iterator[None]:
    """Let this process's connection lead to the database `name`, elsewhere too where `server` has HOST, PORT, USER …"""
    place = {"NAME": name, **server}
    before = {key: connection.settings_dict[key] for key in place}
    connection.close()
    connection.settings_dict.update(place)
    yield
    connection.close()
    connection.settings_dict.update(before)


def _remove(name: str) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(name + suffix).unlink(missing_ok=True)


def _administer(*statements: str) -> None:
    with connection._nodb_cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@dataclass
class Server:
    """A running `manage.py serve` or `gateway`."""

    kind: str
    port: int
    process: subprocess.Popen[bytes]

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=30)

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of an HTTP GET."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def api(self, path: str, key: str, body: dict[str, Any] | None = None) -> Any:
        """What the REST API answers to a GET, or to the POST of `body`."""
        url, data = f"http://127.0.0.1:{self.port}/api/v1/{path}", json.dumps(body).encode() if body else None
        headers = {"Host": settings.ADMIN_HOST, "Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=10) as response:
            return json.load(response)


@contextlib.contextmanager
def running(kind: str, database: str, *, program: Sequence[str] = ("manage.py",), **variables: str) -> Iterator[Server]:
    """Start a server on a free port and wait until it is ready. `program` may stand in for manage.py, `variables` are
    added to its environment."""
    port = free_port()
    arguments = [sys.executable, *program, COMMANDS[kind], "--port", str(port)]
    process = subprocess.Popen(arguments, cwd=ROOT, env=environment(database) | {"PORT": str(port)} | variables)
    server = Server(kind, port, process)
    try:
        wait_for(lambda: _is_ready(server))
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def environment(database: str) -> dict[str, str]:
    """What a process needs to work on the database `database`."""
    return {**os.environ, "DATABASE_URL": _url(database), "DJANGO_SETTINGS_MODULE": "tests.settings"}


def _is_ready(server: Server) -> bool:
    assert server.process.poll() is None, "the server ended by itself"
    try:
        return server.get("/readyz")[0] == 200
    except OSError:
        return False


def _url(database: str) -> str:
    if connection.vendor == "sqlite":
        return f"sqlite:///{database}"
    given = connection.settings_dict
    user = given["USER"] + (f":{quote(given['PASSWORD'])}" if given["PASSWORD"] else "")
    return f"postgres://{user}@{given['HOST'] or '127.0.0.1'}:{given['PORT'] or 5432}/{database}"


def wait_for(condition: Callable[[], Any], seconds: float = PATIENCE_S) -> Any:
    """The first true value of `condition`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return value


def state_of(station: ChargingStation) -> StationState:
    return StationState.objects.unscoped("test").get(station=station)


def intervals_of(station: ChargingStation) -> list[ConnectionInterval]:
    return list(ConnectionInterval.objects.unscoped("test").filter(station=station).order_by("generation"))


@contextlib.contextmanager
def held_up(station: ChargingStation) -> Iterator[None]:
    """No status of this charger can be written meanwhile, on SQLite nothing at all."""
    with transaction.atomic():
        assert ConnectorState.objects.unscoped("test").filter(connector__station=station).update(generation=0)
        yield


def add_station(tenant: Tenant, *, identity: str = "", secret: str = SECRET, **fields: Any) -> ChargingStation:
    """A charger with connector and key."""
    identity = identity or f"LIVE-{next(_numbers)}"
    station = StationFactory(operator=tenant.operator, location=tenant.location, identity=identity, **fields)
    ConnectorFactory(operator=tenant.operator, station=station)
    add_key(station, secret)
    return station


def add_key(station: ChargingStation, secret: str = SECRET, **fields: Any) -> StationKey:
    sealed = keys.seal(secret)
    return StationKey.objects.create(
        operator_id=station.operator_id,
        station=station,
        salt=sealed.salt,
        digest=sealed.digest,
        pepper_version=sealed.pepper_version,
        **fields,
    )


def add_url_key(tenant: Tenant, key: str = URL_KEY, **fields: Any) -> OperatorKey:
    return OperatorKey.objects.create(operator=tenant.operator, key=key, **fields)


def basic(user: str, password: bytes | str) -> dict[str, str]:
    raw = password.encode() if isinstance(password, str) else password
    return {"Authorization": "Basic " + base64.b64encode(user.encode() + b":" + raw).decode()}


class Charger:
    """A charger's side of one websocket."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket = websocket
        self._ids = itertools.count(1)

    def send(self, *message: Any) -> None:
        self.send_text(json.dumps(message, separators=(",", ":")))

    def send_text(self, text: str) -> None:
        self.websocket.send(text)

    def receive(self, seconds: float = PATIENCE_S) -> list[Any]:
        message: list[Any] = json.loads(self.websocket.recv(timeout=seconds))
        return message

    def call(self, action: str, payload: dict[str, Any] | None = None) -> list[Any]:
        """Send a CALL and give its answer."""
        message_id = f"c{next(self._ids)}"
        self.send(2, message_id, action, payload or {})
        answer = self.receive()
        assert answer[1] == message_id
        return answer


@contextlib.contextmanager
def connected(server: Server, identity: str, *, password: bytes | str = SECRET, **options: Any) -> Iterator[Charger]:
    """A charger on its socket. `options` stray from a right handshake."""
    path = options.get("path", f"/ocpp/{URL_KEY}/{quote(identity, safe='')}")
    with connect(
        f"ws://{options.get('host', '127.0.0.1')}:{server.port}{path}",
        sock=socket.create_connection(("127.0.0.1", server.port)),
        origin=options.get("origin"),
        subprotocols=options.get("subprotocols", ["ocpp1.6"]),
        additional_headers=options.get("headers", basic(options.get("user", identity), password)),
        compression=options.get("compression"),
        max_size=None,
        open_timeout=PATIENCE_S,
        close_timeout=2,
    ) as websocket:
        yield Charger(websocket)
