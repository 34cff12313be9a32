"""Station passwords: 20 random bytes, shown once as 40 hex digits, kept as salted BLAKE2b keyed with a pepper.

Chargers send the digits or the bytes they stand for; both are accepted. The hash is a fast one on purpose: the secret
is random, and a storm of 5,000 chargers must not cost minutes of CPU.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from django.conf import settings

SECRET_BYTES = 20
MIN_BYTES = 16
MAX_CHARACTERS = 128
_HEX = re.compile(rb"(?:[0-9A-Fa-f]{2})+\Z")


@dataclass(frozen=True, slots=True)
class Sealed:
    """A secret as it is stored."""

    salt: bytes
    digest: bytes
    pepper_version: int


class WeakSecret(ValueError):
    """A typed key that is too short, too long, or not plain ASCII."""


def new_secret() -> str:
    """A fresh key as 40 hex digits."""
    return secrets.token_hex(SECRET_BYTES)


def new_url_key() -> str:
    """An operator's part of the charger URL: 60 random bits, lower case without look-alikes."""
    return "".join(secrets.choice("abcdefghjkmnpqrstuvwxyz23456789") for _ in range(12))


def seal(secret: str) -> Sealed:
    """`secret` (40 hex digits, or typed) under the newest pepper. Raises `WeakSecret`."""
    if not secret.isascii() or not secret.isprintable() or len(secret) > MAX_CHARACTERS:
        raise WeakSecret("letters, digits and signs of ASCII, 128 at most")
    plain = _canonical(secret.encode())
    if len(plain) < MIN_BYTES:
        raise WeakSecret(f"{MIN_BYTES} bytes or more; hex digits count half")
    version = max(int(version) for version in settings.STATION_KEY_PEPPERS)
    salt = secrets.token_bytes(16)
    return Sealed(salt, _digest(plain, salt, version), version)


def matches(password: bytes, sealed: Sealed) -> bool:
    """Whether a charger's password opens `sealed`. Takes the same time for right and wrong ones."""
    as_sent = _digest(password, sealed.salt, sealed.pepper_version)
    as_digits = _digest(_canonical(password), sealed.salt, sealed.pepper_version)
    return hmac.compare_digest(as_sent, sealed.digest) | hmac.compare_digest(as_digits, sealed.digest)


def compare_nothing(password: bytes) -> None:
    """The work of one comparison, where there is nothing to compare with."""
    matches(password, _NOBODY)


def _canonical(secret: bytes) -> bytes:
    """Hex digits as the bytes they stand for; anything else as it is."""
    return bytes.fromhex(secret.decode()) if _HEX.match(secret) else secret


def _digest(plain: bytes, salt: bytes, pepper_version: int) -> bytes:
    pepper = settings.STATION_KEY_PEPPERS.get(str(pepper_version))
    if pepper is None:  # a pepper was taken out of the settings: its keys open nothing any more
        return secrets.token_bytes(32)
    return hashlib.blake2b(plain, digest_size=32, key=bytes.fromhex(pepper), salt=salt).digest()


_NOBODY = Sealed(bytes(16), bytes(32), 1)
