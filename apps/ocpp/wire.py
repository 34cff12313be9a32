"""The short way between a server's socket and its charger: whole texts in, whole texts out.

ASGI's way costs a queue, a future and a step of a task a message, and the servers' parsers are made for every kind of
frame: together as much as everything that is done with a MeterValues before its batch. Accepting, refusing and closing
stay ASGI's; a server offers the short way in the scope, as the extension `NAME`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from websockets.frames import apply_mask

NAME = "voltdesk.wire"
FIN_TEXT = 0x81
MASKED = 0x80

Take = Callable[[str | None], None]


class Wire(Protocol):
    """A socket of a server. Everything on the event loop."""

    def listen(self, take: Take) -> None:
        """From now on each message of an open connection goes to `take`: its text, or None for a binary one."""

    def send_text(self, text: str) -> int:
        """Send a text frame; nothing where the connection is no longer open. Returns how many bytes wait unsent."""


class Splitter:
    """Cuts what a socket receives into whole frames (RFC 6455, section 5.2), whatever the pieces it comes in."""

    __slots__ = ("_limit", "_rest", "over")

    def __init__(self, limit: int) -> None:
        self.over = False
        self._limit = limit + max(_HEADER)
        self._rest = bytearray()

    def split(self, data: bytes) -> tuple[bytes, ...]:
        """The frames that are whole by now. Where a header names more than `limit` bytes of payload, all that came from
        there on is the last of them, and it is `over`: the server's parser refuses such a frame by its header."""
        if not self._rest and _end(data, 0) == len(data):
            return (data,)
        self._rest += data
        frames, start = [], 0
        while end := _end(self._rest, start):
            if end - start > self._limit:
                self.over, end = True, len(self._rest)
            elif end > len(self._rest):
                break
            frames.append(bytes(self._rest[start:end]))
            start = end
        del self._rest[:start]
        return tuple(frames)


def text_of(frame: bytes) -> str | None:
    """The text of a whole masked text frame that is not one of several fragments. None for any other, and where the
    text is no UTF-8."""
    if frame[0] != FIN_TEXT or not frame[1] & MASKED:
        return None
    start = _HEADER[frame[1] & 0x7F]
    try:
        return apply_mask(frame[start:], frame[start - 4 : start]).decode()
    except UnicodeDecodeError:
        return None


def text_frame(text: str) -> bytes:
    """A server's text frame, unmasked."""
    payload = text.encode()
    size = len(payload)
    if size < 126:
        return bytes((FIN_TEXT, size)) + payload
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2) + payload
    return b"\x81\x7f" + size.to_bytes(8) + payload


_HEADER = [6] * 126 + [8, 14]  # of a masked frame, by the seven bits of its length


def _end(data: bytes | bytearray, start: int) -> int:
    """Where the frame that begins at `start` ends; 0 where its header is not whole."""
    if len(data) < start + 2:
        return 0
    size = data[start + 1] & 0x7F
    header = _HEADER[size] if data[start + 1] & MASKED else _HEADER[size] - 4
    if len(data) < start + header:
        return 0
    if size == 126:
        size = int.from_bytes(data[start + 2 : start + 4])
    elif size == 127:
        size = int.from_bytes(data[start + 2 : start + 10])
    return start + header + size
