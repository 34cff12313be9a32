"""Secrets never enter the frame log: values of secret keys, passwords and signatures in URLs, credentials."""

from __future__ import annotations

import json
from typing import Any

import orjson

from apps.installations.secrets import MASK, mask_text, mask_value, may_hold_secret, names_secret

__all__ = ["MASK", "mask", "mask_text", "mask_value"]

# Nothing in these can be a secret, and they are most of the traffic.
PLAIN = frozenset({"Authorize", "Heartbeat", "MeterValues", "StartTransaction", "StopTransaction"})
UNREADABLE = "a text that is not JSON and may hold a secret; it is not kept"


def mask(action: str, text: str) -> str:
    """`text` (a frame or a payload as JSON) without its secrets; the very same text where it holds none."""
    if action in PLAIN or not may_hold_secret(text):
        return text
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return UNREADABLE if names_secret(text) or mask_text(text) != text else text
    masked = mask_value(value)
    if masked != value:
        return orjson.dumps(masked).decode()
    return UNREADABLE if names_secret(text) and _repeats_a_name(text) else text


def _repeats_a_name(text: str) -> bool:
    """Whether an object has a name twice: only the last one was looked at."""

    def count(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found := dict(pairs)) != len(pairs):
            raise _Repeated
        return found

    try:
        json.loads(text, object_pairs_hook=count)
    except (_Repeated, RecursionError):
        return True
    return False


class _Repeated(Exception):
    pass
