"""Whose address a refusal and a connection are kept under."""

from __future__ import annotations

import pytest

from apps.ocpp import handshake


def address_of(client: str, *forwarded: bytes) -> str:
    headers = [(b"x-forwarded-for", value) for value in forwarded]
    scope = {"raw_path": b"/ocpp/key/CP1", "headers": headers, "subprotocols": [], "client": [client, 4711]}
    request = handshake.read_request(scope)
    assert request is not None
    return request.address


@pytest.mark.parametrize(
    "forwarded",
    [
        (b"198.51.100.7",),
        (b"203.0.113.9, 198.51.100.7",),
        (b"203.0.113.9", b"198.51.100.7"),  # proxies that add a line of their own leave the charger's where it was
    ],
)
def test_behind_a_proxy_of_ours_what_the_proxy_says_counts_not_what_the_charger_says(forwarded):
    assert address_of("127.0.0.1", *forwarded) == "198.51.100.7"


def test_nobody_else_may_name_an_address():
    assert address_of("192.0.2.1", b"198.51.100.7") == "192.0.2.1"


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        (b"198.51.100.7:50123", "198.51.100.7"),  # proxies that add the port
        (b"[2001:db8::7]:50123", "2001:db8::7"),
        (b"2001:db8::7", "2001:db8::7"),
        (b"203.0.113.9, unknown", "127.0.0.1"),
        (b"", "127.0.0.1"),
    ],
)
def test_an_address_is_an_address_and_nothing_else(forwarded, address):
    assert address_of("127.0.0.1", forwarded) == address
