"""One charge point: its socket, its calls, its connectors, and what it keeps while nobody listens.

What happens at a charger happens whether it is connected or not (`start`, `measure`, `stop`): its messages wait in a
queue with the times of then and the queue is sent in order (OCPP 1.6 sections 3.7.1, 4.8, 4.10). `call` asks directly.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import random
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from apps.ocpp.simulator import clocks, commands
from apps.ocpp.simulator.vehicle import Hardware, Meter, Vehicle

Payload = dict[str, Any]

ANSWER_S = 30.0
MAX_WAIT_S = 60.0


class NotConnected(ConnectionError):
    """There is no socket, or it broke before the answer came."""


class CallRefused(Exception):
    """The system answered CALLERROR."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(f"{code}: {description}")
        self.code = code
        self.description = description


@dataclass(slots=True, eq=False)
class Transaction:
    """What is charging. `id` is what the system calls it, None until the charger was told."""

    connector: int
    uid: str
    id: int | None = None
    id_tag_status: str = ""
    stopped: bool = False


@dataclass(slots=True)
class Queued:
    """A transaction message that waits to be delivered."""

    action: str
    payload: Payload
    transaction: Transaction
    attempts: int = 0


@dataclass(slots=True)
class Connector:
    """One plug with its meter."""

    number: int
    meter: Meter
    status: str = "Available"
    operative: bool = True
    transaction: Transaction | None = None
    remote: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    halt: asyncio.Event = field(default_factory=asyncio.Event)
    halt_reason: str = "Local"

    def ask_to_stop(self, reason: str) -> None:
        self.halt_reason = reason
        self.halt.set()


class SimulatedCharger:
    """A charger with `identity` and `key` under `url` (which ends with the operator's key).

    `mangle` may change the text of a CALL before it leaves, or make several frames of it; `answers` replaces answers to
    our commands by action: a payload, a function of the request, or `commands.SILENCE`.
    """

    def __init__(
        self,
        url: str,
        identity: str,
        key: str | bytes,
        *,
        hardware: Hardware | None = None,
        clock: clocks.Clock | None = None,
        seed: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.url = f"{url.rstrip('/')}/{quote(identity, safe='')}"
        self.identity = identity
        self.key = key.encode() if isinstance(key, str) else key
        self.hardware = hardware or Hardware()
        self.clock = clock or clocks.LiveClock()
        self.seed = seed
        self.random = random.Random(f"{seed}:{identity}")  # noqa: S311 - one seed gives one life
        self.connectors = {
            number: Connector(number, Meter(self.hardware, register_wh=self.random.randrange(50_000, 9_000_000)))
            for number in range(1, self.hardware.connectors + 1)
        }
        self.configuration = commands.default_configuration(self.hardware.connectors)
        self.answers: dict[str, Any] = {}
        self.mangle: Callable[[str, str, Payload], list[str]] | None = None
        self.commands: list[tuple[str, Payload]] = []
        self.heartbeat_s = 300
        self.queue: deque[Queued] = deque()
        self.booted = asyncio.Event()  # since its last start
        self.answer_s = ANSWER_S
        self.stays_offline = False
        self.supervised = False
        self.online = asyncio.Event()
        self.queued = asyncio.Event()
        self.commanded = asyncio.Condition()
        self._tls = tls
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: dict[str, asyncio.Future[Payload]] = {}
        self._one_call = asyncio.Lock()
        self._delivering = asyncio.Lock()
        self._prefix = f"{self.random.getrandbits(40):010x}"
        self._count = 0

    # --- the socket ---

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def connected(self) -> bool:
        return self._socket is not None

    async def connect(self, *, timeout_s: float = 30.0, subprotocol: str = "ocpp1.6") -> None:
        """Open the socket. Raises OSError, TimeoutError and `websockets.exceptions.InvalidHandshake`."""
        await self.close()
        secret = base64.b64encode(self.identity.encode() + b":" + self.key).decode()
        self._socket = await connect(
            self.url,
            subprotocols=[Subprotocol(subprotocol)],
            additional_headers={"Authorization": f"Basic {secret}"},
            compression=None,
            proxy=None,
            open_timeout=timeout_s,
            close_timeout=2,
            ping_interval=None,
            ssl=self._tls,
        )
        self._reader = asyncio.create_task(self._read(self._socket))
        self.online.set()

    async def close(self, code: int = 1000) -> None:
        """Close the socket in order."""
        socket, reader = self._socket, self._reader
        if socket is not None and reader is not None:
            await socket.close(code)
            await reader

    async def break_off(self) -> None:
        """The line is cut: no close frame."""
        socket, reader = self._socket, self._reader
        if socket is not None and reader is not None:
            socket.transport.abort()
            await reader

    async def closed(self) -> tuple[int | None, str]:
        """Wait until the other side has closed; its code and reason."""
        assert self._socket is not None, "not connected"
        socket = self._socket
        await socket.wait_closed()
        return socket.close_code, socket.close_reason or ""

    async def _read(self, socket: ClientConnection) -> None:
        try:
            async for text in socket:
                await self._take(json.loads(text))
        except ConnectionClosed:
            pass
        finally:
            self._socket = None
            self.online.clear()
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(NotConnected("the connection broke before the answer"))

    async def _take(self, frame: list[Any]) -> None:
        if frame[0] == 2:
            _kind, message_id, action, payload = frame
            self.commands.append((action, payload))
            answer = commands.answer(self, action, payload)
            if answer is not None:
                await self.send(json.dumps([*answer[:1], message_id, *answer[1:]], separators=(",", ":")))
            async with self.commanded:
                self.commanded.notify_all()
            return
        future = self._waiting.get(frame[1])
        if future is None or future.done():
            return
        if frame[0] == 3:
            future.set_result(frame[2])
        else:
            future.set_exception(CallRefused(frame[2], frame[3]))

    def spawn(self, work: Any) -> None:
        """Do something after the answer to a command has left. A broken line ends it quietly."""

        async def quietly() -> None:
            with contextlib.suppress(NotConnected, CallRefused, TimeoutError, OSError, InvalidHandshake):
                await work

        task = asyncio.create_task(quietly())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def send(self, text: str | bytes) -> None:
        """Send one frame as it is. Raises `NotConnected`."""
        if self._socket is None:
            raise NotConnected("the charger is offline")
        try:
            await self._socket.send(text)
        except ConnectionClosed as error:
            raise NotConnected(str(error)) from error

    async def call(self, action: str, payload: Payload, *, message_id: str = "", timeout_s: float = 0.0) -> Payload:
        """Send a CALL and wait for its confirmation, one at a time.

        Raises `CallRefused`, `NotConnected`, and TimeoutError when nothing came (OCPP-J 4.1.1).
        """
        async with self._one_call:
            message_id = message_id or self.new_message_id()
            future: asyncio.Future[Payload] = asyncio.get_running_loop().create_future()
            self._waiting[message_id] = future
            try:
                for text in self._frames(message_id, action, payload):
                    await self.send(text)
                return await asyncio.wait_for(future, timeout_s or self.answer_s)
            finally:
                del self._waiting[message_id]

    def new_message_id(self) -> str:
        self._count += 1
        return f"{self._prefix}-{self._count}"

    def _frames(self, message_id: str, action: str, payload: Payload) -> list[str]:
        if self.mangle is not None:
            return self.mangle(message_id, action, payload)
        return [frame(message_id, action, payload)]

    async def command(self, action: str, *, count: int = 1, timeout_s: float = 10.0) -> Payload:
        """Wait until the system has sent `action` for the `count`-th time; its payload."""
        async with asyncio.timeout(timeout_s), self.commanded:
            while len(found := [payload for name, payload in self.commands if name == action]) < count:
                await self.commanded.wait()
            return found[count - 1]

    # --- what a charger says ---

    def now(self) -> str:
        return clocks.text(self.clock.now())

    async def boot(self) -> Payload:
        """Present itself, and report every connector."""
        hardware = self.hardware
        answer = await self.call(
            "BootNotification",
            {
                "chargePointVendor": hardware.vendor,
                "chargePointModel": hardware.model,
                "chargePointSerialNumber": f"SN-{self.identity}"[:25],
                "firmwareVersion": hardware.firmware,
            },
        )
        self.booted.set()
        self.heartbeat_s = max(int(answer.get("interval") or 0), 10)
        await self.report_all()
        return answer

    async def report_all(self) -> None:
        """Say the status of the charger (connector 0) and of each connector."""
        await self.report(0)
        for number in self.connectors:
            await self.report(number)

    async def heartbeat(self) -> Payload:
        return await self.call("Heartbeat", {})

    async def report(self, connector: int, status: str = "", *, error_code: str = "NoError", **more: str) -> Payload:
        """Say a connector's status, and change it before if one is given."""
        status = self._set_status(connector, status)
        payload = {"connectorId": connector, "errorCode": error_code, "status": status, "timestamp": self.now(), **more}
        return await self.call("StatusNotification", payload)

    async def change(self, connector: int, status: str) -> None:
        """A connector's status changes; the system hears of it only if the charger is connected."""
        self._set_status(connector, status)
        if self.connected:
            with contextlib.suppress(NotConnected, TimeoutError, CallRefused):
                await self.report(connector)

    def _set_status(self, connector: int, status: str) -> str:
        if connector not in self.connectors:
            return status or "Available"
        one = self.connectors[connector]
        one.status = status or one.status
        return one.status if one.operative or one.transaction else "Unavailable"

    async def authorize(self, uid: str) -> str:
        """The answer to a card: Accepted, Blocked, Expired, Invalid or ConcurrentTx."""
        answer = await self.call("Authorize", {"idTag": uid})
        return str(answer["idTagInfo"]["status"])

    # --- what happens at it ---

    def start(self, connector: int, uid: str, vehicle: Vehicle | None = None) -> Transaction:
        """Charging begins. The message is queued."""
        one, now = self.connectors[connector], self.clock.now()
        one.meter.connect(vehicle or Vehicle(max_power_w=self.hardware.max_power_w), now)
        one.transaction = transaction = Transaction(connector, uid)
        one.halt.clear()
        one.halt_reason = "Local"
        payload = {"connectorId": connector, "idTag": uid, "meterStart": one.meter.wh, "timestamp": clocks.text(now)}
        self._enqueue("StartTransaction", payload, transaction)
        return transaction

    def measure(self, connector: int, context: str = "Sample.Periodic") -> None:
        """The meter is read; the message is queued. Nothing where sampling is configured away."""
        one, now = self.connectors[connector], self.clock.now()
        one.meter.advance(now)
        samples = one.meter.samples(self.sampled_measurands, context)
        if one.transaction is not None and samples:
            value = {"timestamp": clocks.text(now), "sampledValue": samples}
            self._enqueue("MeterValues", {"connectorId": connector, "meterValue": [value]}, one.transaction)

    def stop(self, connector: int, reason: str = "Local") -> None:
        """Charging ends. The message is queued."""
        one, now = self.connectors[connector], self.clock.now()
        transaction = one.transaction
        assert transaction is not None, "nothing is charging here"
        one.meter.connect(None, now)
        one.transaction, transaction.stopped = None, True
        payload = {"meterStop": one.meter.wh, "timestamp": clocks.text(now), "reason": reason}
        if reason in ("Local", "EVDisconnected"):
            payload["idTag"] = transaction.uid
        self._enqueue("StopTransaction", payload, transaction)

    def lose_transactions(self) -> None:
        """The power went off, and a bad charger forgot what was charging."""
        for one in self.connectors.values():
            one.meter.connect(None, self.clock.now())
            one.transaction = None

    def transaction(self, transaction_id: int) -> Transaction | None:
        """What is charging under this id."""
        running = [one.transaction for one in self.connectors.values() if one.transaction]
        return next((one for one in running if one.id == transaction_id), None)

    @property
    def sampled_measurands(self) -> frozenset[str]:
        names = self.configuration["MeterValuesSampledData"].value.split(",")
        return frozenset(name.strip() for name in names if name.strip())

    def setting(self, key: str) -> int:
        """A number among the configuration keys."""
        return int(self.configuration[key].value)

    # --- the queue of transaction messages ---

    def _enqueue(self, action: str, payload: Payload, transaction: Transaction) -> None:
        self.queue.append(Queued(action, payload, transaction))
        self.queued.set()

    async def deliver(self) -> None:
        """Send everything that is queued, in order, each until it is confirmed or its attempts are used up.

        Raises `NotConnected`; what was not confirmed stays queued.
        """
        async with self._delivering:
            while self.queue:
                if await self._deliver_one(self.queue[0]):
                    self.queue.popleft()
            self.queued.clear()

    async def _deliver_one(self, queued: Queued) -> bool:
        """Whether it is done with: confirmed, or given up after TransactionMessageAttempts."""
        payload, transaction = queued.payload, queued.transaction
        if queued.action != "StartTransaction":
            # -1: its Start was never confirmed (OCPP 1.6 errata 3.18).
            payload = {**payload, "transactionId": -1 if transaction.id is None else transaction.id}
        try:
            answer = await self.call(queued.action, payload)
        except (CallRefused, TimeoutError):
            queued.attempts += 1
            if queued.attempts >= self.setting("TransactionMessageAttempts"):
                return True
            await self.clock.sleep(queued.attempts * self.setting("TransactionMessageRetryInterval"))
            return False
        if queued.action == "StartTransaction":
            transaction.id = answer["transactionId"]
            transaction.id_tag_status = answer["idTagInfo"]["status"]
            self._obey_refusal(transaction)
        return True

    def _obey_refusal(self, transaction: Transaction) -> None:
        if transaction.id_tag_status != "Accepted" and not transaction.stopped:
            self.connectors[transaction.connector].ask_to_stop("DeAuthorized")

    # --- resets ---

    async def restart(self, reason: str) -> None:
        """End what is charging, go away, come back and boot."""
        for one in self.connectors.values():
            if one.transaction is not None:
                one.ask_to_stop(reason)
                if not self.supervised:
                    self.stop(one.number, reason)
        self.booted.clear()
        await asyncio.sleep(0.1)
        if self.connected and not self.supervised:
            await self.deliver()
        await self.close()
        if not self.supervised:
            await self.connect()
            await self.boot()


def frame(message_id: str, action: str, payload: Payload) -> str:
    """A CALL as text."""
    return json.dumps([2, message_id, action, payload], separators=(",", ":"))


def connect_delay(charger_random: random.Random, attempt: int) -> float:
    """Seconds to wait before the n-th try to connect (from 1): doubling to a minute, and jittered, so that a thousand
    chargers do not come back in one moment."""
    return charger_random.uniform(0.5, 1.0) * min(2.0**attempt, MAX_WAIT_S)
