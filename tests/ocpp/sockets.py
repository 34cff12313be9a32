"""A gateway on an event loop of its own thread, and chargers whose sockets are queues: the consumer without a server.

For what cannot be seen from outside a server process: time-outs made short, a slow commit, a database that goes away.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Coroutine, Iterator
from typing import Any

from django.db import connections

from apps.ocpp import gateway, wire
from apps.ocpp.consumers import ChargerConsumer
from apps.ocpp.gateway import Gateway
from tests.ocpp.live import PATIENCE_S, SECRET, URL_KEY, basic


class Closed(Exception):
    """The gateway closed the socket, or refused the handshake with a status."""

    def __init__(self, code: int, words: str = "") -> None:
        super().__init__(f"{code} {words}")
        self.code = code


class InProcess:
    """A running gateway. `run` runs a coroutine on its loop."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.gateway: Gateway = self.run(self._make())

    async def _make(self) -> Gateway:
        one = Gateway(asyncio.get_running_loop())
        await one.start()
        return one

    def run[T](self, work: Coroutine[Any, Any, T], seconds: float = PATIENCE_S) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(seconds)

    def connect(self, identity: str, **options: Any) -> Socket:
        socket = Socket(self, identity, **options)
        self.run(socket.open())
        return socket

    def end(self) -> None:
        if not self.gateway.draining:
            self.run(self.gateway.drain(), 30)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()
        gateway._current = None


@contextlib.contextmanager
def in_process() -> Iterator[InProcess]:
    one = InProcess()
    try:
        yield one
    finally:
        one.end()
        connections["default"].close()


class ShortWay:
    """The server's end of a socket, as the consumer knows it."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket

    def listen(self, take: wire.Take) -> None:
        self.socket.take = take

    def send_text(self, text: str) -> int:
        self.socket.hear_text(text)
        return 0


class Socket:
    """A charger's end of a socket: what it sends arrives, what it was sent waits in `received`."""

    def __init__(self, process: InProcess, identity: str, *, password: str = SECRET) -> None:
        self.process = process
        self.received: list[Any] = []
        self.take: wire.Take
        self.closed: Closed | None = None
        self.status = 0
        self._scope = {
            "type": "websocket",
            "path": f"/ocpp/{URL_KEY}/{identity}",
            "raw_path": f"/ocpp/{URL_KEY}/{identity}".encode(),
            "headers": [(b"authorization", basic(identity, password)["Authorization"].encode())],
            "subprotocols": ["ocpp1.6"],
            "client": ["127.0.0.1", 1],
            "extensions": {wire.NAME: ShortWay(self)},
        }

    async def open(self) -> None:
        self._inbound: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._news = asyncio.Event()
        self.consumer = ChargerConsumer()
        self._inbound.put_nowait({"type": "websocket.connect"})
        self._task = asyncio.create_task(self.consumer(self._scope, self._inbound.get, self._hear))
        while not self.status:
            await self._news.wait()
            self._news.clear()
        if self.status != 101:
            raise Closed(self.status)

    async def _hear(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "websocket.accept":
            self.status = 101
        elif kind == "websocket.http.response.start":
            self.status = message["status"]
        elif kind == "websocket.close":
            self.closed = Closed(message["code"], message["reason"])
            self._inbound.put_nowait({"type": "websocket.disconnect", "code": message["code"], "reason": ""})
        self._news.set()

    def send(self, *message: Any) -> None:
        self.send_text(json.dumps(message, separators=(",", ":")))

    def send_text(self, text: str) -> None:
        self.process.loop.call_soon_threadsafe(self.take, text)

    def hear_text(self, text: str) -> None:
        self.received.append(json.loads(text))
        self._news.set()

    def lose(self) -> None:
        """The connection breaks."""
        self._put({"type": "websocket.disconnect", "code": 1006})

    def _put(self, message: dict[str, Any]) -> None:
        self.process.loop.call_soon_threadsafe(self._inbound.put_nowait, message)

    def receive(self, seconds: float = PATIENCE_S) -> Any:
        """The next message; raises `Closed`."""
        return self.process.run(self._next(), seconds)

    async def _next(self) -> Any:
        while not self.received:
            if self.closed is not None:
                raise self.closed
            await self._news.wait()
            self._news.clear()
        return self.received.pop(0)

    def call(self, message_id: str, action: str, payload: dict[str, Any] | None = None) -> Any:
        self.send(2, message_id, action, payload or {})
        return self.receive()


def status(number: int, name: str = "Available") -> list[Any]:
    """A CALL `s<number>` that says a connector's status."""
    payload = {"connectorId": 1, "errorCode": "NoError", "status": name, "timestamp": "2026-11-21T12:00:00Z"}
    return [2, f"s{number}", "StatusNotification", payload]


def booted(firmware: str) -> list[Any]:
    payload = {"chargePointVendor": "Acme", "chargePointModel": "One", "firmwareVersion": firmware}
    return [2, f"boot {firmware}", "BootNotification", payload]
