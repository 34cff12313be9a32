"""One normal form for the ids that chargers read from cards.

The same card reaches us as `04a2b3c4`, `04A2B3C4`, `04:A2:B3:C4`, `C4B3A204` (another byte order) or padded with
zeros, by make of charger. Case, separators and padding are removed for all; byte order is data of the card
(`Token.byte_order`).
"""

from __future__ import annotations

MAX_LENGTH = 36  # OCPP 2.x idToken; 1.6 allows 20


def normalise(uid: str) -> str:
    """Upper case, without the separators between hex bytes and without the zeros that some readers append."""
    text = uid.strip().upper()
    bare = text.replace(":", "").replace("-", "").replace(" ", "")
    if not _is_hex(bare):
        return text[:MAX_LENGTH]
    return _unpadded(bare)[:MAX_LENGTH]


def reversed_bytes(uid: str) -> str | None:
    """The same UID in the other byte order, or None where it is not whole hex bytes."""
    if len(uid) % 2 or not _is_hex(uid):
        return None
    return bytes.fromhex(uid)[::-1].hex().upper()


def _unpadded(uid: str) -> str:
    # ISO 14443 UIDs have 4, 7 or 10 bytes; a longer run of zeros behind one of these lengths is a reader's padding.
    for length in (8, 14, 20):
        if len(uid) > length and not uid[length:].strip("0"):
            return uid[:length]
    return uid


def _is_hex(text: str) -> bool:
    return bool(text) and all(character in "0123456789ABCDEF" for character in text)
