"""The short way between socket and charger: frames cut, texts read, texts written; both servers, awkward pieces."""

from __future__ import annotations

import json
import socket
import time

from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from apps.ocpp import wire
from tests.ocpp import live
from tests.ocpp.test_backpressure import upgrade

LIMIT = 1000
CONTROL = (Opcode.PING, Opcode.CLOSE)
OPCODES = (Opcode.TEXT, Opcode.CONT, Opcode.BINARY, *CONTROL)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    opcode = draw(st.sampled_from(OPCODES))
    size = 125 if opcode in CONTROL else LIMIT
    data = draw(st.binary(max_size=size) | st.text(max_size=size // 4).map(str.encode))
    return Frame(opcode, data, fin=opcode in CONTROL or draw(st.booleans()))


@given(st.lists(frames(), max_size=8), st.lists(st.integers(1, 300), min_size=1))
def test_whole_frames_come_out_whatever_the_pieces(sent, cuts):
    whole = [frame.serialize(mask=True) for frame in sent]
    stream, pieces, number = b"".join(whole), [], 0
    while stream:
        cut = cuts[number % len(cuts)]
        pieces.append(stream[:cut])
        stream, number = stream[cut:], number + 1
    splitter = wire.Splitter(LIMIT)
    assert [frame for piece in pieces for frame in splitter.split(piece)] == whole
    assert not splitter.over


@given(st.lists(frames(), max_size=3), st.integers(LIMIT + 1, 2**62))
def test_a_frame_that_is_too_long_comes_with_all_that_follows(before, size):
    head = b"".join(frame.serialize(mask=True) for frame in before)
    rest = bytes((0x81, 0xFF)) + size.to_bytes(8) + b"mask and some of it"
    splitter = wire.Splitter(LIMIT)
    assert b"".join(splitter.split(head + rest)) == head + rest
    assert splitter.over


@given(frames())
def test_only_a_text_in_one_piece_is_read_here(frame):
    text = None
    if frame.opcode is Opcode.TEXT and frame.fin:
        try:
            text = frame.data.decode()
        except UnicodeDecodeError:
            text = None
    assert wire.text_of(frame.serialize(mask=True)) == text
    assert wire.text_of(frame.serialize(mask=False)) is None


@given(st.text(max_size=200) | st.sampled_from(["", "x" * 125, "x" * 126, "é" * 40_000, "x" * 65_535, "x" * 65_536]))
def test_a_text_is_written_as_a_server_does(text):
    assert wire.text_frame(text) == Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


def answers(raw: socket.socket, count: int) -> list[list[object]]:
    """So many short text frames."""
    raw.settimeout(live.PATIENCE_S)
    data, found = b"", []
    while len(found) < count:
        data += raw.recv(65536)
        while len(data) >= 2 and len(data) >= 2 + data[1]:
            if data[0] == wire.FIN_TEXT:
                found.append(json.loads(data[2 : 2 + data[1]]))
            data = data[2 + data[1] :]
    return found


def call(number: int) -> bytes:
    text = f'[2,"m{number}","DataTransfer",{{"vendorId":"é"}}]'
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=True)


def fragments(number: int) -> list[bytes]:
    text = f'[2,"m{number}","DataTransfer",{{"vendorId":"é"}}]'.encode()
    parts = [Frame(Opcode.TEXT, text[:9], fin=False), Frame(Opcode.PING, b"?"), Frame(Opcode.CONT, text[9:])]
    return [part.serialize(mask=True) for part in parts]


def test_calls_in_any_pieces_are_answered_in_order(server, tenant):
    station = live.add_station(tenant)
    stream = b"".join([call(1), *fragments(2), call(3), *fragments(4), call(5), call(6)])
    with upgrade(server, station.identity) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(stream), 7):
            raw.sendall(stream[start : start + 7])
            time.sleep(0.002)
        assert [answer[1] for answer in answers(raw, 6)] == ["m1", "m2", "m3", "m4", "m5", "m6"]
        raw.sendall(b"".join(call(number) for number in range(10, 30)))
        assert [answer[1] for answer in answers(raw, 20)] == [f"m{number}" for number in range(10, 30)]
