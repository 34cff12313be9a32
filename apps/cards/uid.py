"""One normal form for the ids that chargers read from cards.

The same card reaches us as `04a2b3c4`, `04A2B3C4`, `04:A2:B3:C4`, `C4B3A204` (another byte order) or padded with
zeros, by make of charger. Case, separators and padding are removed for all; byte order is data of the card
(`Token.byte_order`).
"""

from __future__ import annotations

import hashlib

MAX_LENGTH = 36  # OCPP 2.x idToken; 1.6 allows 20


def normalise(uid: str) -> str:
    """Upper case, without the separators between hex bytes and the zeros that some readers fill up with.

    Never longer than `MAX_LENGTH`; of longer ids a hash of the whole is the end, so that no two of them look alike.
    """
    text = uid.strip().upper()
    bare = text.replace(":", "").replace("-", "").replace(" ", "")
    return _fitted(_unpadded(bare) if _is_hex(bare) else text)


def reversed_bytes(uid: str) -> str | None:
    """The same UID in the other byte order, or None where it is not whole hex bytes."""
    if len(uid) % 2 or not _is_hex(uid):
        return None
    return bytes.fromhex(uid)[::-1].hex().upper()


def _unpadded(uid: str) -> str:
    # ISO 14443 UIDs have 4, 7 or 10 bytes; what is longer by zeros behind or before one of these lengths is filled up.
    for length in (8, 14, 20):
        if len(uid) > length:
            if not uid[length:].strip("0"):
                return _unpadded(uid[:length])
            if not uid[:-length].strip("0"):
                return _unpadded(uid[-length:])
    return uid


def _fitted(text: str) -> str:
    if len(text) <= MAX_LENGTH:
        return text
    ending = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest().upper()
    return f"{text[: MAX_LENGTH - len(ending) - 1]}~{ending}"


def _is_hex(text: str) -> bool:
    return bool(text) and all(character in "0123456789ABCDEF" for character in text)
