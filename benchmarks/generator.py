"""The load: chargers on one event loop, as cheap as Python makes them (uvloop, picows).

    python -m benchmarks.generator '{"mode": "closed", …}'

One JSON object on standard output. Modes: `closed` (each charger sends its next CALL when the last one is answered),
`open` (a total rate; a message's latency counts from when it was due), `storm` (all connect at once, one attempt each).
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from array import array
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

import picows
import uvloop

from benchmarks import processes
from benchmarks.fleet import uid_of

EPOCH = time.time() - 20 * 3600  # session time; each reading is STEP_S later than the last, and all lie in the past
STEP_S = 5
TICK_S = 0.001
CLIENT_PATIENCE_S = 30.0
FIRST_CONNECTS = 200  # at once, while the load is built up


@dataclass
class Plan:
    """What to do. `pid` is the server, `database` the one whose backends count; rates are messages a second."""

    mode: str
    url: str
    key: str
    stations: int
    pid: int
    database: str = ""
    warm_up_s: float = 10.0
    window_s: float = 60.0
    rate: float = 0.0
    authorize_rate: float = 0.0
    authorize_stations: int = 0
    wrong_every: int = 0


@dataclass
class Result:
    """CPU in µs a message, latencies in ms."""

    messages: int = 0
    seconds: float = 0.0
    gateway_us: float = 0.0
    database_us: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    authorize_p50_ms: float = 0.0
    authorize_p99_ms: float = 0.0
    late: int = 0
    refused: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        return self.messages / self.seconds if self.seconds else 0.0


class Charger(picows.WSListener):
    """One connection; one CALL in flight."""

    def __init__(self, load: Load, number: int) -> None:
        self.load = load
        self.number = number
        self.transaction = 0
        self.count = 0
        self.in_flight = False
        self.due: deque[float] = deque()
        self.since = 0.0
        self.answered: asyncio.Future[list[Any]] | None = None

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type == picows.WSMsgType.CLOSE:
            self.load.closed += 1
            transport.disconnect()
            return
        payload = frame.get_payload_as_bytes()
        if payload.startswith(b"[3") and self.answered is None:
            self.acknowledged()
        else:
            self._rest(json.loads(payload))

    def _rest(self, message: list[Any]) -> None:
        if message[0] == 2:  # what the system asks of us; it costs little and must be answered
            answer = json.dumps([3, message[1], {"status": "NotImplemented"}])
            self.transport.send(picows.WSMsgType.TEXT, answer.encode())
        elif self.answered is not None:
            answered, self.answered = self.answered, None
            answered.set_result(message)
        else:
            self.load.refused += 1
            self.acknowledged(refused=True)

    def acknowledged(self, *, refused: bool = False) -> None:
        now = time.perf_counter()
        self.in_flight = False
        if self.load.counting and not refused:
            self.load.latencies.append(now - self.since)
        if self.load.closed_loop:
            self.say(now)
        elif self.due:
            self.say(self.due.popleft())

    def due_at(self, moment: float) -> None:
        """Send now, or when the message in flight is answered."""
        if self.in_flight:
            self.due.append(moment)
        else:
            self.say(moment)

    def say(self, since: float) -> None:
        self.since, self.in_flight = since, True
        self.transport.send(picows.WSMsgType.TEXT, self.next_message())

    def next_message(self) -> bytes:
        self.count += 1
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(EPOCH + self.count * STEP_S))
        return self.load.meter_values % (self.number, self.count, self.transaction, moment.encode(), 1000 + self.count)

    async def ask(self, action: str, payload: dict[str, Any]) -> list[Any]:
        self.answered = asyncio.get_running_loop().create_future()
        self.count += 1
        text = json.dumps([2, f"{self.number}-{action}-{self.count}", action, payload], separators=(",", ":"))
        self.transport.send(picows.WSMsgType.TEXT, text.encode())
        return await asyncio.wait_for(self.answered, CLIENT_PATIENCE_S)

    async def report_status(self) -> None:
        """As every charger does after its connect; one that does not is asked."""
        await self.ask("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Preparing"})

    async def start(self) -> None:
        """Begin the session to which the readings belong."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(EPOCH))
        start = {"connectorId": 1, "idTag": uid_of(self.number), "meterStart": 1000, "timestamp": moment}
        answer = await self.ask("StartTransaction", start)
        if answer[0] != 3:
            raise RuntimeError(f"the start was refused: {answer}")
        self.transaction = answer[2]["transactionId"]


class AuthorizingCharger(Charger):
    """Asks about a card instead."""

    def next_message(self) -> bytes:
        self.count += 1
        return b'[2,"a%d-%d","Authorize",{"idTag":"%s"}]' % (self.number, self.count, uid_of(self.number).encode())

    def acknowledged(self, *, refused: bool = False) -> None:
        now = time.perf_counter()
        self.in_flight = False
        if self.load.counting:
            self.load.authorize_latencies.append(now - self.since)
        if self.due:
            self.say(self.due.popleft())


class Load:
    """All chargers of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.closed_loop = plan.mode == "closed"
        self.counting = False
        self.refused = 0
        self.closed = 0
        self.latencies = array("d")
        self.authorize_latencies = array("d")
        self.meter_values = meter_values()
        self.chargers: list[Charger] = []

    async def connect(self, number: int, kind: type[Charger] = Charger, *, key: str = "") -> Charger:
        identity = f"BENCH-{number}"
        secret = base64.b64encode(f"{identity}:{key or self.plan.key}".encode()).decode()
        _transport, charger = await picows.ws_connect(
            lambda: kind(self, number),
            f"{self.plan.url}/{identity}",
            extra_headers={"Authorization": f"Basic {secret}", "Sec-WebSocket-Protocol": "ocpp1.6"},
            websocket_handshake_timeout=CLIENT_PATIENCE_S,
            read_buffer_init_size=1024,
        )
        assert isinstance(charger, Charger)
        return charger

    async def run(self) -> Result:
        plan = self.plan
        gate = asyncio.Semaphore(FIRST_CONNECTS)

        async def enter(number: int, kind: type[Charger]) -> Charger:
            async with gate:
                charger = await self.connect(number, kind)
                await charger.report_status()
                if kind is Charger:
                    await charger.start()
                return charger

        bulk = await asyncio.gather(*(enter(number, Charger) for number in range(plan.stations)))
        first = plan.stations
        asking = await asyncio.gather(
            *(enter(number, AuthorizingCharger) for number in range(first, first + plan.authorize_stations))
        )
        self.chargers = [*bulk, *asking]
        if self.closed_loop:
            for charger in bulk:
                charger.say(time.perf_counter())
            await asyncio.sleep(plan.warm_up_s)
            return await self._measure(asyncio.sleep(plan.window_s))
        clocks = [asyncio.create_task(self._clock(bulk, plan.rate))]
        if asking:
            clocks.append(asyncio.create_task(self._clock(asking, plan.authorize_rate)))
        await asyncio.sleep(plan.warm_up_s)
        result = await self._measure(asyncio.sleep(plan.window_s))
        for clock in clocks:
            clock.cancel()
        result.late = sum(len(charger.due) for charger in bulk)
        return result

    async def _clock(self, chargers: list[Charger], rate: float) -> None:
        """Let messages become due at a steady rate, whatever the answers do."""
        began, sent = time.perf_counter(), 0
        while True:
            now = time.perf_counter()
            while began + sent / rate <= now:
                chargers[sent % len(chargers)].due_at(began + sent / rate)
                sent += 1
            await asyncio.sleep(TICK_S)

    async def _measure(self, window: Any) -> Result:
        server, database = processes.tree(self.plan.pid), processes.backends(self.plan.database)
        before = (processes.cpu_s(server), processes.cpu_s(database), time.perf_counter())
        self.counting = True
        await window
        self.counting = False
        seconds = time.perf_counter() - before[2]
        messages = len(self.latencies)
        if self.closed:
            raise RuntimeError(f"{self.closed} connections were closed")
        return Result(
            messages=messages,
            seconds=seconds,
            gateway_us=(processes.cpu_s(server) - before[0]) / max(messages, 1) * 1e6,
            database_us=(processes.cpu_s(database) - before[1]) / max(messages, 1) * 1e6,
            p50_ms=quantile(self.latencies, 0.5),
            p99_ms=quantile(self.latencies, 0.99),
            authorize_p50_ms=quantile(self.authorize_latencies, 0.5),
            authorize_p99_ms=quantile(self.authorize_latencies, 0.99),
            refused=self.refused,
        )

    async def storm(self) -> Result:
        """Everybody at once; one in `wrong_every` with a wrong key."""
        result = Result()
        kept: list[Charger] = []

        async def attempt(number: int) -> str:
            wrong = number % self.plan.wrong_every == 0
            try:
                kept.append(await self.connect(number, key=self.plan.key[::-1] if wrong else ""))
            except picows.WSInvalidStatusError as refusal:
                answer = f"{int(refusal.response.status)}"
            except (OSError, TimeoutError, picows.WSError) as trouble:
                answer = type(trouble).__name__
            else:
                answer = "accepted"
            return f"{'wrong' if wrong else 'right'} key: {answer}"

        before, began = processes.cpu_s(processes.tree(self.plan.pid)), time.perf_counter()
        for outcome in await asyncio.gather(*(attempt(number) for number in range(self.plan.stations))):
            result.outcomes[outcome] = result.outcomes.get(outcome, 0) + 1
        result.seconds = time.perf_counter() - began
        result.messages = self.plan.stations
        cpu = processes.cpu_s(processes.tree(self.plan.pid)) - before
        result.gateway_us = cpu / self.plan.stations * 1e6
        return result


def meter_values() -> bytes:
    """A MeterValues of six samples and some 900 bytes, with places for: charger, count, transaction, time, register."""
    common = '"context":"Sample.Periodic","format":"Raw","location":"Outlet"'
    samples = [
        f'{{"value":"%d","measurand":"Energy.Active.Import.Register","unit":"Wh",{common}}}',
        f'{{"value":"11040.0","measurand":"Power.Active.Import","unit":"W",{common}}}',
        *(
            f'{{"value":"16.0","measurand":"Current.Import","phase":"L{phase}","unit":"A",{common}}}'
            for phase in (1, 2, 3)
        ),
        f'{{"value":"230.1","measurand":"Voltage","phase":"L1-N","unit":"V",{common}}}',
    ]
    value = f'{{"timestamp":"%s","sampledValue":[{",".join(samples)}]}}'
    head = '[2,"%d-%d","MeterValues",{"connectorId":1,"transactionId":%d,"meterValue":['
    return f"{head}{value}]}}]".encode()


def quantile(seconds: array[float], share: float) -> float:
    """In milliseconds; 0 where nothing was measured."""
    ordered = sorted(seconds)
    return ordered[int(share * (len(ordered) - 1))] * 1000 if ordered else 0.0


def main() -> None:
    load = Load(Plan(**json.loads(sys.argv[1])))
    result = uvloop.run(load.storm() if load.plan.mode == "storm" else load.run())
    print(json.dumps(asdict(result)))


if __name__ == "__main__":
    main()
