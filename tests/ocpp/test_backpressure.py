"""A peer that does not read what it is sent is not read from either, and costs the others nothing."""

from __future__ import annotations

import socket
import struct
import time

from tests.ocpp import live

ENOUGH = 64 * 1024 * 1024


def upgrade(server: live.Server, identity: str) -> socket.socket:
    """A socket after its handshake, without a client library that would read from it."""
    raw = socket.create_connection(("127.0.0.1", server.port), timeout=live.PATIENCE_S)
    headers = [
        f"GET /ocpp/{live.URL_KEY}/{identity} HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol: ocpp1.6",
        f"Authorization: {live.basic(identity, live.SECRET)['Authorization']}",
    ]
    raw.sendall("\r\n".join([*headers, "", ""]).encode())
    assert raw.recv(4096).startswith(b"HTTP/1.1 101")
    return raw


def test_a_peer_that_does_not_read_is_not_read_from(server, tenant):
    station, neighbour = live.add_station(tenant), live.add_station(tenant)
    payload = b'[2,"0123456789012345678901234567890123","Heartbeat",{}]'
    frame = struct.pack("!BB", 0x81, 0x80 | len(payload)) + bytes(4) + payload  # masked with zeros
    burst = frame * 1000
    with upgrade(server, station.identity) as raw, live.connected(server, neighbour.identity) as other:
        raw.settimeout(2.0)
        sent = 0
        try:
            while sent < ENOUGH:
                sent += raw.send(burst)
        except OSError:  # nobody takes it any more: a time-out, or the connection was ended
            pass
        assert sent < ENOUGH
        began = time.monotonic()
        assert other.call("Heartbeat")[0] == 3
        assert time.monotonic() - began < 2
