"""A charger's connection that ends without a word, or whose end nobody hears, costs no other charger an answer, and its
own station none on its next connection.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from websockets.frames import Frame, Opcode

from apps.ocpp import admission, batches, gateway, servers
from apps.ocpp.inbox import Inbox
from config.asgi import chargers
from tests.ocpp import live
from tests.ocpp.lanes import meter_payload
from tests.ocpp.test_admission import Ticket
from tests.ocpp.test_backpressure import upgrade


class Threaded(servers.Uvicorn):
    """uvicorn in a thread of this process, where its sockets can be watched and its batches be held up."""

    def __init__(self) -> None:
        super().__init__(chargers, host="127.0.0.1", port=0)
        self._thread = threading.Thread(target=uvicorn.Server.run, args=(self,))

    @property
    def port(self) -> int:
        port: int = self.servers[0].sockets[0].getsockname()[1]
        return port

    def begin(self) -> None:
        self._thread.start()
        live.wait_for(lambda: self.started)

    def end(self) -> None:
        self.handle_exit(0, None)
        self._thread.join(30)
        gateway._current = None


@pytest.fixture
def in_thread(tenant) -> Iterator[Threaded]:
    one = Threaded()
    one.begin()
    try:
        yield one
    finally:
        one.end()


def send(raw: socket.socket, message_id: str, action: str, payload: dict) -> None:
    raw.sendall(Frame(Opcode.TEXT, json.dumps([2, message_id, action, payload]).encode()).serialize(mask=True))


def reset(raw: socket.socket) -> None:
    """End the connection with RST, as a modem does that was moved to another network."""
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()


def test_g02_a_socket_that_breaks_off_during_its_batch_takes_nobodys_answer_with_it(in_thread, tenant, monkeypatch):
    first, dead, *others = [live.add_station(tenant) for _ in range(5)]
    write, settle, lose = batches.Batch._write, Inbox._settle, servers.ChargerProtocol.connection_lost
    writing, lost, answering = threading.Event(), threading.Event(), threading.Event()

    def held(self, *args, **kwargs):
        writing.set()
        lost.wait(10)
        write(self, *args, **kwargs)

    def settled(self, answers):
        settle(self, answers)
        if any(call.station_id == dead.pk for call, _answer in answers):
            answering.set()

    def losing(self, error):
        # The worst moment: the answers are on their way to the loop when it hears of the end.
        lost.set()
        answering.wait(10)
        lose(self, error)

    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(live.connected(in_thread, one.identity)) for one in (first, *others)]
        raw = upgrade(in_thread, dead.identity)
        monkeypatch.setattr(batches.Batch, "_write", held)
        monkeypatch.setattr(Inbox, "_settle", settled)
        monkeypatch.setattr(servers.ChargerProtocol, "connection_lost", losing)
        sockets[0].send(2, "m", "MeterValues", meter_payload(1000))
        assert writing.wait(10)
        send(raw, "m", "MeterValues", meter_payload(1000))
        live.wait_for(lambda: in_thread.gateway.admission.running == 2)
        for one in sockets[1:]:
            one.send(2, "m", "MeterValues", meter_payload(1000))
        live.wait_for(lambda: in_thread.gateway.admission.running == 5)
        reset(raw)
        assert [one.receive(10)[:2] for one in sockets] == [[3, "m"]] * 4
        monkeypatch.undo()
        live.wait_for(lambda: in_thread.gateway.admission.running == 0)
        with live.connected(in_thread, dead.identity) as again:
            assert again.call("Authorize", {"idTag": tenant.token.uid})[0] == 3


def test_g02_an_answer_that_cannot_be_sent_holds_up_no_other(in_thread, tenant, monkeypatch):
    stations = [live.add_station(tenant) for _ in range(2)]
    real = servers.ChargerProtocol.send_text
    faults = [RuntimeError("unforeseen")]

    def send_text(self, text):
        if faults:
            raise faults.pop()
        return real(self, text)

    with contextlib.ExitStack() as stack:
        one, other = [stack.enter_context(live.connected(in_thread, one.identity)) for one in stations]
        monkeypatch.setattr(servers.ChargerProtocol, "send_text", send_text)
        one.send(2, "lost", "MeterValues", meter_payload(1000))
        live.wait_for(lambda: not faults)
        assert other.call("MeterValues", meter_payload(1000))[0] == 3
        assert one.call("MeterValues", meter_payload(1001))[0] == 3


def test_a_peer_that_does_not_read_is_dropped_after_the_ping_time_out(in_thread, tenant, monkeypatch):
    monkeypatch.setattr(servers, "CLOSE_S", 0.5)
    in_thread.config.ws_ping_interval = in_thread.config.ws_ping_timeout = 1.0
    station = live.add_station(tenant)
    text = b'[2,"0123456789012345678901234567890123","Heartbeat",{}]'
    burst = Frame(Opcode.TEXT, text).serialize(mask=True) * 1000
    with upgrade(in_thread, station.identity) as raw:
        live.wait_for(lambda: station.pk in in_thread.gateway.sockets)
        raw.settimeout(0.5)
        with contextlib.suppress(OSError):
            while True:
                raw.sendall(burst)
        live.wait_for(lambda: station.pk not in in_thread.gateway.sockets)


class Broken(Ticket):
    def begin(self) -> None:
        super().begin()
        raise RuntimeError("unforeseen")


@pytest.mark.parametrize("at_once", [True, False], ids=["settled", "not settled"])
def test_g02_a_call_that_cannot_begin_does_not_block_its_station(at_once):
    turnstile, begun = admission.Admission(), []
    with pytest.raises(RuntimeError):
        turnstile.offer(Broken(0, turnstile, begun, at_once=at_once))
    assert turnstile.running == 0
    for ticket in (Ticket, Broken, Broken, Ticket):
        turnstile.offer(ticket(len(begun), turnstile, begun, at_once=at_once and ticket is Broken))
    turnstile.release(1)
    assert len(begun) == 5
    turnstile.release(1)
    assert turnstile.running == 0
