"""Secrets never enter the frame log: secret configuration values, passwords and signatures in URLs, Basic auth."""

from __future__ import annotations

import re
from typing import Any

import orjson

from apps.installations.commands import SECRET_WORDS, is_secret_key

MASK = "•••"
# Nothing in these can be a secret, and they are most of the traffic.
PLAIN = frozenset({"Authorize", "Heartbeat", "MeterValues", "StartTransaction", "StopTransaction"})
UNREADABLE = "a text that is not JSON and may hold a secret; it is not kept"

_HINTS = (*SECRET_WORDS, "authorization_key", "authorization-key", "private_key", "api_key", "://", r":\/\/", "basic ")
_USER_INFO = re.compile(r"(?i)([a-z][a-z0-9+.-]*:(?://|\\/\\/))[^/\s\"?#]*@")
_SIGNATURE = re.compile(r"(?i)([?&](?:[a-z0-9_-]*(?:token|sig|signature|credential|password|secret|key))=)[^&#\s\"]+")
_BASIC = re.compile(r"(?i)(\bbasic\s+)[a-z0-9+/=_-]{16,}|(\bauthorization\W{1,4}basic\s+)[^\s\"]+")
# Within a text, as in the JSON that vendors put into a DataTransfer.
_NAMED = re.compile(rf"(?i)((?:{'|'.join(SECRET_WORDS)})[\"']?\s*[:=]\s*[\"']?)[^\"'\s,;&}}]+")


def mask(action: str, text: str) -> str:
    """`text` (a frame or a payload as JSON) without its secrets; the very same text where it holds none."""
    if action in PLAIN:
        return text
    folded = text.casefold()
    if not any(hint in folded for hint in _HINTS):
        return text
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return UNREADABLE
    masked = mask_value(value)
    return text if masked == value else orjson.dumps(masked).decode()


def mask_value(value: Any) -> Any:
    """The same for decoded JSON."""
    if isinstance(value, str):
        return _mask_text(value)
    if isinstance(value, list):
        return [mask_value(part) for part in value]
    if isinstance(value, dict):
        return _mask_object(value)
    return value


def _mask_text(text: str) -> str:
    text = _SIGNATURE.sub(rf"\1{MASK}", _USER_INFO.sub(rf"\1{MASK}@", text))
    return _NAMED.sub(rf"\1{MASK}", _BASIC.sub(rf"\1\2{MASK}", text))


def _mask_object(value: dict[str, Any]) -> dict[str, Any]:
    key = value.get("key")
    names_secret = isinstance(key, str) and is_secret_key(key)
    return {
        name: MASK if part and (is_secret_key(name) or (names_secret and name == "value")) else mask_value(part)
        for name, part in value.items()
    }
