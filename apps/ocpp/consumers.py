"""The websocket of one charger: frame limits, pairing, admission, and nothing else. All of it runs on the event loop;
no message costs a thread hop. Heartbeats alone are answered here (contract G1, G16); the rest goes to the inbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import time
from collections.abc import Awaitable, Callable
from typing import Any

from channels.consumer import AsyncConsumer

from apps.installations.models import ConnectionInterval
from apps.ocpp import frames, gateway, handshake, masking, v16, wire
from apps.ocpp.admission import Waiting
from apps.ocpp.batches import Answer, Call
from apps.ocpp.clock import ClockWatch
from apps.ocpp.frames import ErrorCode
from apps.ocpp.v16 import hot, schemas
from apps.ocpp.wire import Wire

Reason = ConnectionInterval.Reason
Message = dict[str, Any]

MAX_UNUSABLE = 5
KEPT_ANSWERS = 8
KEPT_TEXT = 2000  # characters of an unusable frame that the log keeps
ALWAYS_ANEW = frozenset({"Heartbeat", "BootNotification", "Authorize"})
HANDLED = v16.URGENT | v16.BULK | v16.RARE
MAX_UNSENT = 2 * 1024 * 1024


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
        self._wire: Wire = scope["extensions"][wire.NAME]
        self._goodbye: asyncio.Task[None] | None = None
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
        self._wire.listen(self._take)
        try:
            await self._send({"type": "websocket.accept", "subprotocol": accepted.protocol})
            self.gateway.opened(self)
            while (message := await self._receive())["type"] != "websocket.disconnect":
                self._take(message.get("text"))  # sent before it was accepted
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
        if self._closing is not None:
            return
        if text is None:
            self.close(1003, Reason.PROTOCOL, "text frames only")
            return
        received_at = self.seen_at = dt.datetime.now(dt.UTC)
        self.gateway.seen[self.station_id] = self
        frame = frames.parse(text)
        if isinstance(frame, frames.Call):
            self._sequence += 1
            self._offer(received_at, frame.message_id, frame.action, frame.payload, text)
        elif isinstance(frame, frames.Bad):
            self._sequence += 1
            if frame.message_id is None:
                self._count_unusable(frame, text, received_at)
            else:
                self._offer(received_at, frame.message_id, frame.action, {}, text, frame)
        else:
            self.gateway.settle_command(self, frame)

    def _offer(
        self,
        received_at: dt.datetime,
        message_id: str,
        action: str,
        payload: dict[str, Any],
        text: str,
        bad: frames.Bad | None = None,
    ) -> None:
        call = Call(
            self,
            self.station_id,
            self.operator_id,
            self.generation,
            self._sequence,
            received_at,
            time.monotonic(),
            message_id,
            action,
            payload,
            text,
            self._clock,
            self._waiting,
            bad,
        )
        if not self.gateway.admission.offer(call):
            self.close(1008, Reason.PROTOCOL, "too many messages are waiting")

    def _count_unusable(self, frame: frames.Bad, text: str, received_at: dt.datetime) -> None:
        self._unusable += 1
        self.gateway.counts["unusable"] += 1
        self._log(self._sequence, received_at, "", "", text[:KEPT_TEXT], frame.description, "unusable", None)
        if self._unusable >= MAX_UNUSABLE:
            self.close(1007, Reason.PROTOCOL, "no OCPP-J frames")

    def begin(self, call: Call) -> None:
        """It is this CALL's turn. All but a heartbeat goes to the inbox, so that what is answered was written down."""
        action = call.action
        if call.bad is not None:
            call.raw = call.raw.replace("\0", "\N{REPLACEMENT CHARACTER}")
            call.refuse(call.bad.code, call.bad.description)
        elif action == "Heartbeat":
            self._answer_heartbeat(call)
            return
        elif action not in HANDLED:
            known = action in schemas.validators()
            call.refuse(ErrorCode.NOT_SUPPORTED if known else ErrorCode.NOT_IMPLEMENTED)
        elif (kept := self._answers.get(call.message_id)) is not None and kept[0] == hash(call.raw):
            call.reply = kept[1]
        else:
            self.reported_status |= action == "StatusNotification"
        self.gateway.inbox.put(call)

    def _answer_heartbeat(self, call: Call) -> None:
        now = dt.datetime.now(dt.UTC)  # it may have waited, and the charger sets its clock by it
        text = frames.result(call.message_id, {"currentTime": hot.format_time(now)})
        if self.traced:
            latency = int((time.monotonic() - call.arrived) * 1000)
            self._log(call.sequence, call.received_at, call.action, call.message_id, call.raw, text, "", latency)
        self.settle(call, Answer(text))

    def settle(self, call: Call, answer: Answer) -> None:
        """The CALL is answered or given up: send what there is to send, and admit the next."""
        try:
            if answer.text:
                if answer.lasting and call.bad is None and call.action not in ALWAYS_ANEW:
                    self._answers[call.message_id] = (hash(call.raw), answer.text)
                    if len(self._answers) > KEPT_ANSWERS:
                        del self._answers[next(iter(self._answers))]
                self.send_text(answer.text)
        finally:  # whatever becomes of this answer, the station's next CALL has its turn
            self.gateway.admission.release(self.station_id)

    # --- what we say ---

    def send_text(self, text: str) -> None:
        """Send a frame, in order. On the event loop only; silently nothing once the socket is closing."""
        if self._closing is None and self._wire.send_text(text) > MAX_UNSENT:
            self.close(1008, Reason.PROTOCOL, "answers are not read")

    def close(self, code: int, reason: Reason, words: str = "") -> None:
        """Close the socket; `reason` is what the connection's history will say."""
        if self._closing is None:
            self._closing = reason
            # Runs at once, and ends at once unless the peer reads too slowly.
            self._goodbye = asyncio.Task(self._say_goodbye(code, words), loop=self.gateway.loop, eager_start=True)

    async def _say_goodbye(self, code: int, words: str) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # the peer is gone; the receiving loop hears of it
            await self._send({"type": "websocket.close", "code": code, "reason": words})

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
