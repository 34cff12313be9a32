"""The websocket of one charger: frame limits, pairing, admission, and nothing else. All of it runs on the event loop;
no message costs a thread hop. What is answered here has no effect (contract G1); the rest goes to the inbox.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from channels.consumer import AsyncConsumer

from apps.installations.models import ConnectionInterval
from apps.ocpp import frames, gateway, handshake, masking, v16
from apps.ocpp.admission import Waiting
from apps.ocpp.batches import Answer, Call
from apps.ocpp.clock import ClockWatch
from apps.ocpp.frames import ErrorCode
from apps.ocpp.v16 import schemas

Reason = ConnectionInterval.Reason
Message = dict[str, Any]

MAX_UNUSABLE = 5
KEPT_ANSWERS = 8
KEPT_TEXT = 2000  # characters of an unusable frame that the log keeps
ALWAYS_ANEW = frozenset({"Heartbeat", "BootNotification", "Authorize"})
HANDLED = v16.URGENT | v16.BULK | v16.RARE
MAX_UNSENT = 2 * 1024 * 1024


@dataclass(slots=True)
class Received:
    """A CALL, or what should have been one, on its way from admission to its answer."""

    socket: ChargerConsumer
    frame: frames.Call | frames.Bad
    raw: str
    received_at: dt.datetime
    arrived: float
    sequence: int
    station_id: int
    size: int
    waiting: Waiting

    def begin(self) -> None:
        self.socket.begin(self)

    def settle(self, answer: Answer) -> None:
        self.socket.settle(self, answer)


class ChargerConsumer(AsyncConsumer):
    """One connection of one station. Its (generation, sequence) orders what it says."""

    station_id = 0
    operator_id = 0
    generation = 0
    traced = False
    asks_status = True
    reported_status = False
    seen_at: dt.datetime

    async def __call__(self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Any) -> None:
        self._send = send
        self._receive = receive
        self._unsent: deque[Message] = deque()
        self._unsent_size = 0
        self._sender: asyncio.Task[None] | None = None
        self._closing: Reason | None = None
        self._sequence = 0
        self._unusable = 0
        self._waiting = Waiting()
        self._answers: dict[str, tuple[int, str]] = {}
        self._clock = ClockWatch()
        self.gateway = gateway.current()
        await receive()
        request = handshake.read_request(scope)
        verdict: handshake.Accepted | handshake.Refused = handshake.NOT_FOUND
        if request is not None:
            verdict = await self.gateway.handshakes.admit(request)
        if isinstance(verdict, handshake.Accepted):
            await self._converse(verdict)
        else:
            await self._refuse(verdict)

    async def _refuse(self, verdict: handshake.Refused) -> None:
        if verdict.status == 101:
            await self._send({"type": "websocket.accept"})
            await self._send({"type": "websocket.close", "code": 1002, "reason": "no common subprotocol"})
            return
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        if verdict.status == 401:
            headers.append((b"www-authenticate", b'Basic realm="ocpp", charset="UTF-8"'))
        if verdict.status == 503:
            headers.append((b"retry-after", b"30"))
        await self._send({"type": "websocket.http.response.start", "status": verdict.status, "headers": headers})
        await self._send({"type": "websocket.http.response.body", "body": verdict.words.encode()})

    async def _converse(self, accepted: handshake.Accepted) -> None:
        self.station_id = accepted.station_id
        self.operator_id = accepted.operator_id
        self.generation = accepted.generation
        self.traced = accepted.traced
        self.asks_status = accepted.asks_status
        self.seen_at = dt.datetime.now(dt.UTC)
        code = 1006
        self.gateway.attach(self)
        try:
            await self._send({"type": "websocket.accept", "subprotocol": accepted.protocol})
            self.gateway.opened(self)
            while (message := await self._receive())["type"] != "websocket.disconnect":
                if self._closing is None:
                    self._take(message.get("text"))
                if self._sender is not None and not self._sender.done():
                    await self._sender  # a peer that does not read is not read from
            # Both servers of ours name a reason, even an empty one, where the peer closed in order.
            code = message.get("code") or 1006
            if self._closing is None and "reason" in message:
                self._closing = Reason.CLOSED
        except OSError:  # the peer was gone before it was accepted
            pass
        finally:
            self._closing = self._closing or Reason.LOST
            self.gateway.detach(self, self._closing, code)

    # --- what the charger says ---

    def _take(self, text: str | None) -> None:
        if text is None:
            self.close(1003, Reason.PROTOCOL, "text frames only")
            return
        received_at = self.seen_at = dt.datetime.now(dt.UTC)
        self.gateway.seen[self.station_id] = self
        frame = frames.parse(text)
        if isinstance(frame, frames.Result | frames.Error):
            self.gateway.settle_command(self, frame)
            return
        self._sequence += 1
        if isinstance(frame, frames.Bad) and frame.message_id is None:
            self._count_unusable(frame, text, received_at)
            return
        size = len(text)
        ticket = Received(
            self, frame, text, received_at, time.monotonic(), self._sequence, self.station_id, size, self._waiting
        )
        if not self.gateway.admission.offer(ticket):
            self.close(1008, Reason.PROTOCOL, "too many messages are waiting")

    def _count_unusable(self, frame: frames.Bad, text: str, received_at: dt.datetime) -> None:
        self._unusable += 1
        self.gateway.counts["unusable"] += 1
        self._log(self._sequence, received_at, "", "", text[:KEPT_TEXT], frame.description, "unusable", None)
        if self._unusable >= MAX_UNUSABLE:
            self.close(1007, Reason.PROTOCOL, "no OCPP-J frames")

    def begin(self, received: Received) -> None:
        """It is this CALL's turn: answer it from memory, or hand it to the inbox."""
        frame = received.frame
        if isinstance(frame, frames.Bad):
            self._answer_error(received, frame.code, frame.description, frame.action)
        elif frame.action == "Heartbeat":
            self._answer_heartbeat(received, frame)
        elif frame.action not in HANDLED:
            known = frame.action in schemas.validators()
            code = ErrorCode.NOT_SUPPORTED if known else ErrorCode.NOT_IMPLEMENTED
            self._answer_error(received, code, "", frame.action)
        elif (kept := self._answers.get(frame.message_id)) is not None and kept[0] == hash(received.raw):
            self._log_answered(received, frame.action, kept[1], "")
            self.settle(received, Answer(kept[1]))
        else:
            self.reported_status |= frame.action == "StatusNotification"
            self.gateway.inbox.put(
                Call(
                    self.station_id,
                    self.operator_id,
                    self.generation,
                    received.sequence,
                    received.received_at,
                    received.arrived,
                    frame.message_id,
                    frame.action,
                    frame.payload,
                    received.raw,
                    self._clock,
                    received.settle,
                )
            )

    def _answer_heartbeat(self, received: Received, frame: frames.Call) -> None:
        now = received.received_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        text = frames.result(frame.message_id, {"currentTime": now})
        if self.traced:
            self._log_answered(received, frame.action, text, "")
        self.settle(received, Answer(text))

    def _answer_error(self, received: Received, code: str, description: str, action: str) -> None:
        text = frames.error(received.frame.message_id or "", code, description)
        self._log_answered(received, action, text, code)
        self.settle(received, Answer(text))

    def settle(self, received: Received, answer: Answer) -> None:
        """The CALL is answered or given up: send what there is to send, and admit the next."""
        frame = received.frame
        if answer.text:
            if isinstance(frame, frames.Call) and frame.action not in ALWAYS_ANEW:
                self._answers[frame.message_id] = (hash(received.raw), answer.text)
                if len(self._answers) > KEPT_ANSWERS:
                    del self._answers[next(iter(self._answers))]
            self.send_text(answer.text)
        self.gateway.admission.release(self.station_id)

    # --- what we say ---

    def send_text(self, text: str) -> None:
        """Send a frame, in order. On the event loop only; silently nothing once the socket is closing."""
        if self._closing is not None:
            return
        self._unsent_size += len(text)
        if self._unsent_size > MAX_UNSENT:
            self.close(1008, Reason.PROTOCOL, "answers are not read")
            return
        self._post({"type": "websocket.send", "text": text})

    def close(self, code: int, reason: Reason, words: str = "") -> None:
        """Close the socket; `reason` is what the connection's history will say."""
        if self._closing is None:
            self._closing = reason
            self._post({"type": "websocket.close", "code": code, "reason": words})

    def _post(self, message: Message) -> None:
        self._unsent.append(message)
        if self._sender is None or self._sender.done():
            # Runs at once, and ends at once unless the peer reads too slowly.
            self._sender = asyncio.Task(self._send_all(), loop=self.gateway.loop, eager_start=True)

    async def _send_all(self) -> None:
        while self._unsent:
            message = self._unsent.popleft()
            self._unsent_size -= len(message.get("text", ""))
            try:
                await self._send(message)
            except (OSError, RuntimeError):  # the peer is gone; the receiving loop hears of it
                self._unsent.clear()
                self._unsent_size = 0

    def _log_answered(self, received: Received, action: str, response: str, error_code: str) -> None:
        message_id = received.frame.message_id or ""
        latency = int((time.monotonic() - received.arrived) * 1000)
        self._log(
            received.sequence, received.received_at, action, message_id, received.raw, response, error_code, latency
        )

    def _log(
        self,
        sequence: int,
        received_at: dt.datetime,
        action: str,
        message_id: str,
        request: str,
        response: str,
        error_code: str,
        latency_ms: int | None,
    ) -> None:
        request = masking.mask(action, request.replace("\0", "\N{REPLACEMENT CHARACTER}"))
        head = (received_at, self.station_id, self.generation, sequence, self.operator_id, "in", action, message_id)
        self.gateway.inbox.log((*head, request, response, error_code, latency_ms))
