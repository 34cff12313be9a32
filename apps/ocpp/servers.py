"""daphne and uvicorn, told what chargers need: refusals with a status, close codes, limits, and an end in order.

Both: a backlog of 8192, 60 s for a handshake, no limit to a socket's life, no deflate, frames of 1 MiB at most, as many
open files as the system allows.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from http import HTTPStatus
from types import FrameType
from typing import Any, cast

import daphne.server  # first: it installs Twisted's reactor
import daphne.ws_protocol
import uvicorn
from autobahn.websocket.types import ConnectionDeny
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request
from websockets.protocol import State

from apps.ocpp import wire
from apps.ocpp.frames import MAX_FRAME
from apps.ocpp.gateway import Gateway

BACKLOG = 8192
HANDSHAKE_S = 60
PING_S = 20
PONG_S = 30
CLOSE_S = 5
SWITCH_S = 0.001

Application = Callable[..., Any]


def raise_file_limit() -> None:
    """Each socket is an open file; the soft limit is often 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def prepare_interpreter() -> None:
    """Collector and threads, as a gateway needs them."""
    # What was imported lives as long as the process: looking at it in each collection took a fifth of a message's time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    # A card waits for several statements. Before each, its lane waits so long for the interpreter beside bulk load.
    sys.setswitchinterval(SWITCH_S)


# --- daphne: pages and chargers ---------------------------------------------------------------------------------------


class WebSocketProtocol(daphne.ws_protocol.WebSocketProtocol):
    """daphne's, with denial responses, every close code, and the short way of `wire`."""

    denial: tuple[int, list[tuple[str, str]]] | None = None
    denial_body = b""
    take: wire.Take | None = None
    splitter: wire.Splitter | None = None
    reads_slowly = False
    unsent = 0

    def listen(self, take: wire.Take) -> None:
        self.take = take

    def send_text(self, text: str) -> int:
        if self.state != self.STATE_OPEN:
            return 0
        frame = wire.text_frame(text)
        self.transport.write(frame)
        self.unsent = self.unsent + len(frame) if self.reads_slowly else 0
        return self.unsent

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        if self.splitter is None or self.splitter.over:
            super().dataReceived(data)
            if self.splitter is None and self.take is not None and self._is_between_frames():
                self.splitter = wire.Splitter(MAX_FRAME)
            return
        for frame in self.splitter.split(data):
            plain = self.state == self.STATE_OPEN and not (self.inside_message or self.muted or self.splitter.over)
            text = wire.text_of(frame) if plain else None
            if text is None:
                super().dataReceived(frame)
            elif self.take is not None:
                self.last_ping = time.time()
                self.take(text)

    def _is_between_frames(self) -> bool:
        return self.state == self.STATE_OPEN and not self.data and self.current_frame is None

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N802, N803
        if self.take is None or self.muted:
            super().onMessage(payload, isBinary)
            return
        self.last_ping = time.time()
        self.take(None if isBinary else payload.decode())

    def onOpen(self) -> None:  # noqa: N802
        super().onOpen()
        # The HTTP channel stays registered after the upgrade and would swallow the transport's calls.
        self.transport.unregisterProducer()
        self.transport.registerProducer(self, True)

    def pauseProducing(self) -> None:  # noqa: N802
        """The peer does not read: do not read from it either. Without pongs it is dropped after the ping time-out."""
        self.reads_slowly = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:  # noqa: N802
        self.reads_slowly = False
        self.transport.resumeProducing()

    def stopProducing(self) -> None:  # noqa: N802
        self.transport.stopProducing()

    def handle_reply(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "websocket.http.response.start":
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
            self.denial = (message["status"], headers)
        elif kind == "websocket.http.response.body":
            self._deny(message.get("body", b""))
        elif kind == "websocket.close" and self.state == self.STATE_OPEN:
            # `sendClose` refuses what RFC 6455 reserves for servers like us (1001 to 1013).
            self.sendCloseFrame(code=message.get("code", 1000), reasonUtf8=message.get("reason", "").encode()[:120])
        elif kind == "websocket.close" and self.state != self.STATE_CONNECTING:
            return
        else:
            super().handle_reply(message)

    def _deny(self, body: bytes) -> None:
        if self.denial is None or not hasattr(self, "handshake_deferred"):
            return
        self.denial[1].extend([("Content-Length", str(len(body))), ("Connection", "close")])
        self.denial_body = body
        phrase = HTTPStatus(self.denial[0]).phrase
        self.handshake_deferred.errback(ConnectionDeny(self.denial[0], phrase))  # type: ignore[no-untyped-call]
        del self.handshake_deferred
        self.server.protocol_disconnected(self)

    def failHandshake(self, reason: str, code: int = 400, responseHeaders: Any = None) -> None:  # noqa: N802, N803
        self.wasNotCleanReason = reason
        self.sendHttpErrorResponse(code, reason, self.denial[1] if self.denial else responseHeaders)
        self.sendData(self.denial_body)
        self.dropConnection(abort=False)

    def onClose(self, wasClean: bool, code: int, reason: str | None) -> None:  # noqa: N802, N803
        self.server.protocol_disconnected(self)
        if not self.muted and hasattr(self, "application_queue"):
            ended = {"type": "websocket.disconnect", "code": code}
            self.application_queue.put_nowait({**ended, "reason": reason or ""} if wasClean else ended)


class Daphne(daphne.server.Server):
    """daphne for pages and chargers in one process; runs a gateway beside them."""

    def __init__(self, application: Application, *, host: str, port: int) -> None:
        # Twisted's endpoint strings escape the colons of an IPv6 address.
        interface = host.replace(":", r"\:")
        super().__init__(
            application=application,
            endpoints=[f"tcp:{port}:interface={interface}:backlog={BACKLOG}"],
            signal_handlers=False,
            websocket_timeout=-1,
            websocket_connect_timeout=HANDSHAKE_S,
            websocket_handshake_timeout=HANDSHAKE_S,
            ping_interval=PING_S,
            ping_timeout=PONG_S,
            websocket_max_message_size=MAX_FRAME,
            websocket_max_frame_size=MAX_FRAME,
            application_close_timeout=30,
            server_name="",
            verbosity=0,
            ready_callable=self._prepare,
        )
        self.gateway: Gateway | None = None
        self._ending: asyncio.Task[None] | None = None

    def run(self) -> None:
        raise_file_limit()
        prepare_interpreter()
        loop: asyncio.AbstractEventLoop = daphne.server.twisted_loop
        asyncio.set_event_loop(loop)
        self.gateway = Gateway(loop)
        loop.run_until_complete(self.gateway.start())
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        super().run()
        if self._ending is None:  # it could not listen; the reason was logged
            loop.run_until_complete(self.gateway.drain())
            sys.exit(1)

    def kill_all_applications(self) -> Any:
        for protocol in [protocol for protocol, one in self.connections.items() if "application_instance" not in one]:
            del self.connections[protocol]  # daphne would stumble over a request that has not begun
        return super().kill_all_applications()

    def _prepare(self) -> None:
        # daphne makes its factory inside `run`; nothing connects before this returns.
        self.ws_factory.protocol = WebSocketProtocol
        self.ws_factory.setProtocolOptions(failByDrop=False, closeHandshakeTimeout=CLOSE_S)

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        if scope["type"] == "websocket":
            scope["extensions"] = {"websocket.http.response": {}, wire.NAME: protocol}
        return super().create_application(protocol, scope)

    def _end(self) -> None:
        if self._ending is None:
            self._ending = asyncio.get_event_loop().create_task(self._drain())

    async def _drain(self) -> None:
        assert self.gateway is not None
        try:
            await self.gateway.drain()
        finally:
            self.stop()


# --- uvicorn: chargers alone ------------------------------------------------------------------------------------------


def _is_news(record: logging.LogRecord) -> bool:
    # Logged at each refusal with a status: uvicorn takes a finished denial for an unfinished handshake.
    return record.msg != "ASGI callable returned without completing handshake."


class ChargerProtocol(WebSocketsSansIOProtocol):
    """uvicorn's, with the short way of `wire`, and not reading from a peer that does not read."""

    take: wire.Take | None = None
    spoke_early = False

    def listen(self, take: wire.Take) -> None:
        self.take = take

    def send_text(self, text: str) -> int:
        # A connection that breaks off stays open for the parser, and the application hears of it a moment later.
        if self.conn.state is not State.OPEN or self.transport.is_closing():
            return 0
        self.transport.write(wire.text_frame(text))
        return self.transport.get_write_buffer_size()

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        self.splitter = wire.Splitter(MAX_FRAME)
        if self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            cast("dict[str, Any]", self.scope["extensions"])[wire.NAME] = self

    def data_received(self, data: bytes) -> None:
        if self.take is None or not self.handshake_complete or self.spoke_early or self.splitter.over:
            # Part of a frame may be with the parser now, so that it must have the rest too.
            self.spoke_early = self.handshake_initiated
            super().data_received(data)
            return
        for frame in self.splitter.split(data):
            plain = self.conn.state is State.OPEN and self.conn.current_size is None and not self.splitter.over
            text = wire.text_of(frame) if plain else None
            if text is None:
                super().data_received(frame)
            else:
                self.take(text)

    def send_receive_event_to_app(self) -> None:
        if self.take is None or not self.handshake_complete:
            super().send_receive_event_to_app()
            return
        data, self.frames = b"".join(self.frames), []
        if self.close_sent:
            return
        try:
            self.take(data.decode() if self.curr_msg_data_type == "text" else None)
        except UnicodeDecodeError:
            self.conn.send_close(1007)
            self.handle_parser_exception()

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        # Closing waits until everything is sent, which a peer that does not read prevents for ever.
        self.loop.call_later(CLOSE_S, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self.transport.resume_reading()


class Uvicorn(uvicorn.Server):
    """uvicorn for chargers; runs a gateway beside them."""

    def __init__(self, application: Application, *, host: str, port: int) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                host=host,
                port=port,
                loop="uvloop",
                ws=ChargerProtocol,
                ws_max_size=MAX_FRAME,
                ws_ping_interval=PING_S,
                ws_ping_timeout=PONG_S,
                ws_per_message_deflate=False,
                backlog=BACKLOG,
                lifespan="off",
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=CLOSE_S,
            )
        )
        logging.getLogger("uvicorn.error").addFilter(_is_news)
        self.gateway: Gateway | None = None
        self._ending: asyncio.Task[None] | None = None

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        raise_file_limit()
        prepare_interpreter()
        super().run(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.gateway = Gateway(asyncio.get_running_loop())
        await self.gateway.start()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.gateway is None:
            self.should_exit = True
        else:
            self.gateway.loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        assert self.gateway is not None
        try:
            await self.gateway.drain()
        finally:
            self.should_exit = True
