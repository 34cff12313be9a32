"""What is a secret in what chargers say and are told, and the same without it. Pure, and linear in the text's length:
it reads what strangers wrote, on the gateway's event loop."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Any

import orjson

MASK = "•••"
# A space stands for whatever separates the parts of a name, or for nothing.
SECRET_WORDS = (
    *("authorization key", "auth key", "pass word", "pass wd", "pass phrase", "pass code", "pwd", "psk", "secret"),
    *("private key", "api key", "shared key", "wifi key", "access token", "auth token", "refresh token", "credential"),
)
MAX_DEPTH = 64
MAX_NAME = 200
MAX_TEXTS = 4  # JSON within a text within JSON …

# One of these is in every text that holds a secret, once its case is folded.
HINTS = (
    *("pass", "pwd", "psk", "secret", "token", "credential", "key", "auth", "sig", "basic", "bearer", "//", r"\/"),
    "\\u",
)
_WORD = re.compile("|".join(word.replace(" ", "") for word in SECRET_WORDS))
_NAMES = frozenset({"key", "name", "variable", "id", "parameter", "setting", "field"})

# These are matched against lower case, which is several times faster than to ignore case; what each captures is masked.
_NAME = re.compile("|".join(word.replace(" ", r"[\W_]{0,3}") for word in SECRET_WORDS))
_NAMED = re.compile(
    rf"(?:{'|'.join(word.replace(' ', '[ _.-]?') for word in SECRET_WORDS)})[\w.-]{{0,16}}\\*[\"']?"
    r"(?:\s*(?:[:=>]|%3[ad])\s*|\s+(?=[a-z0-9+/=_-]{16}))\\*[\"']?"
    r"((?<=[\"'])[^\"'\n]+|[^\"'\s,;&}<]+)"
)
_SIGNATURE = re.compile(
    r"[?&;#][a-z0-9_.-]*(?:token|sig|signature|credential|pass|password|passwd|pwd|secret|key|auth|psk)=([^&#\s\"]+)"
)
_AUTHORIZATION = re.compile(
    r"\b(?:basic|bearer)\s+([a-z0-9+/=_.~-]{16,})|\bauthorization\W{1,4}(?:basic|bearer|digest)\s+([^\s\"]+)"
)
_PRIVATE_KEY = re.compile(r"-----begin [a-z ]{0,30}private key-----(.+?)(?:-----end|\Z)", re.DOTALL)
_IN_TEXTS = (_SIGNATURE, _AUTHORIZATION, _PRIVATE_KEY, _NAMED)

_AUTHORITY_END = re.compile(r"[/?#]")
_URL_END = re.compile(r"[\s\"<>]")
_SLASHES = re.compile(r"//|\\/\\/")
_ESCAPED = re.compile(r"\\u00([2-7][0-9a-fA-F])")
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}  # unlike `lower`, keeps every place


def is_secret_key(key: str) -> bool:
    """Whether a configuration key holds a secret: its value is neither shown, stored nor logged."""
    return _WORD.search(fold_name(key)) is not None


def fold_name(name: str) -> str:
    """A name without case, separators and look-alikes of other scripts' widths."""
    return _fold(name[:MAX_NAME])


@lru_cache(maxsize=4096)
def _fold(name: str) -> str:
    folded = name if name.isascii() else unicodedata.normalize("NFKC", name)
    return "".join(character for character in folded.casefold() if character.isalnum())


def mask_value(value: Any) -> Any:
    """Decoded JSON without its secrets; equal to `value` where it holds none."""
    return _mask(value, 0, 0)


def mask_text(text: str) -> str:
    """The same for a text that is shown as it is."""
    masked: str = _mask_text(text, 0, 0)
    return masked


def may_hold_secret(text: str) -> bool:
    """False where it is certain that `text`, as it is or as JSON, holds none. Cheap."""
    if not text.isascii():
        return True
    folded = text.casefold()
    return any(hint in folded for hint in HINTS)


def names_secret(text: str) -> bool:
    """Whether the name of a secret is anywhere in `text`."""
    return _NAME.search(_unescape(text).translate(_LOWER)) is not None


def _unescape(text: str) -> str:
    r"""`text` with its `\u0041` as letters, as a reader of JSON sees them. For what is no JSON."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text) if "\\u" in text else text


def _mask(value: Any, depth: int, texts: int) -> Any:
    if isinstance(value, str):
        return _mask_text(value, depth, texts)
    if not isinstance(value, dict | list):
        return value
    if depth >= MAX_DEPTH:
        return MASK
    if isinstance(value, list):
        return [_mask(part, depth + 1, texts) for part in value]
    names_secret = _names_secret(value)
    return {
        name: MASK if part and _is_secret(name, part, names_secret) else _mask(part, depth + 1, texts)
        for name, part in value.items()
    }


def _names_secret(value: dict[str, Any]) -> bool:
    """Whether it is a pair of a secret's name and its value: `{"key": "AuthorizationKey", "value": …}`."""
    for name, part in value.items():
        if isinstance(part, dict):
            part = part.get("name")
        if isinstance(part, str) and fold_name(name) in _NAMES and is_secret_key(part):
            return True
    return False


def _is_secret(name: str, part: Any, names_secret: bool) -> bool:
    folded = fold_name(name)
    return (
        _WORD.search(folded) is not None
        or (names_secret and folded.endswith("value"))
        or (folded == "authorization" and isinstance(part, str))
    )


def _mask_text(text: str, depth: int, texts: int) -> str:
    if not may_hold_secret(text):
        return text
    if texts < MAX_TEXTS and text.lstrip()[:1] in ("{", "[", '"'):
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            pass
        else:
            masked = _mask(value, depth + 1, texts + 1)
            return text if masked == value else orjson.dumps(masked).decode()
    plain = _unescape(text)
    masked = _mask_plain(plain)
    return text if masked == plain else masked


def _mask_plain(text: str) -> str:
    text = _mask_user_info(text)
    for pattern in _IN_TEXTS:
        text = _cover(pattern, text)
    return text


def _cover(pattern: re.Pattern[str], text: str) -> str:
    pieces: list[str] = []
    done = 0
    for found in pattern.finditer(text.lower() if text.isascii() else text.translate(_LOWER)):
        assert found.lastindex is not None
        begin, end = found.span(found.lastindex)
        pieces += text[done:begin], MASK
        done = end
    return "".join([*pieces, text[done:]]) if pieces else text


def _mask_user_info(text: str) -> str:
    """URLs without user and password. A password may hold what the rules of URLs forbid there: slashes, question marks,
    another @."""
    pieces: list[str] = []
    done = 0
    found = _SLASHES.search(text)
    while found is not None:
        end = _end(_URL_END, text, found.end())
        last_at = text.rfind("@", found.end(), end)
        while found is not None and found.end() <= last_at:
            authority = text[found.end() : _end(_AUTHORITY_END, text, found.end(), end)]
            if "@" in authority or (":" in authority and not authority.startswith("[")):
                pieces += text[done : found.end()], MASK
                done = last_at
                break
            found = _SLASHES.search(text, found.end(), end)
        found = _SLASHES.search(text, end)
    return "".join([*pieces, text[done:]]) if pieces else text


def _end(pattern: re.Pattern[str], text: str, begin: int, limit: int | None = None) -> int:
    limit = len(text) if limit is None else limit
    found = pattern.search(text, begin, limit)
    return found.start() if found else limit
