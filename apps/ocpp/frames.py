"""Reading and writing OCPP-J frames (OCPP-J 1.6 section 4). Pure: no state, no I/O.

The fast parser reads all of them. What it refuses (lone surrogates, NaN, control characters) is read once more by the
standard library's, only to find the id to which `FormationViolation` is answered. Integers beyond 64 bit become floats
here; the range of each number is checked where it is used.
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, field
from typing import Any

import orjson

MAX_FRAME = 1024 * 1024
MAX_DEPTH = 32
MAX_ID = 36
MAX_ACTION = 50


class Kind(enum.IntEnum):
    """The first element of a frame."""

    CALL = 2
    RESULT = 3
    ERROR = 4


class ErrorCode(enum.StrEnum):
    """OCPP-J 1.6 section 4.2.3, its spelling of "Occurence" included."""

    NOT_IMPLEMENTED = "NotImplemented"
    NOT_SUPPORTED = "NotSupported"
    INTERNAL_ERROR = "InternalError"
    PROTOCOL_ERROR = "ProtocolError"
    SECURITY_ERROR = "SecurityError"
    FORMATION_VIOLATION = "FormationViolation"
    PROPERTY_CONSTRAINT_VIOLATION = "PropertyConstraintViolation"
    OCCURENCE_CONSTRAINT_VIOLATION = "OccurenceConstraintViolation"
    TYPE_CONSTRAINT_VIOLATION = "TypeConstraintViolation"
    GENERIC_ERROR = "GenericError"


class CallError(Exception):
    """A CALL that is answered with an error instead of a confirmation."""

    def __init__(self, code: str, description: str = "") -> None:
        super().__init__(f"{code}: {description}")
        self.code = code
        self.description = description


@dataclass(slots=True)
class Call:
    message_id: str
    action: str
    payload: dict[str, Any]


@dataclass(slots=True)
class Result:
    message_id: str
    payload: dict[str, Any]


@dataclass(slots=True)
class Error:
    """A refusal of a CALL of ours, or an answer of which no more can be read (`broken`): what it meant is not known."""

    message_id: str
    code: str
    description: str = ""
    details: Any = field(default_factory=dict)
    broken: bool = False


@dataclass(slots=True)
class Bad:
    """A frame that says nothing. `message_id` is None where there is nobody to answer to; `action` is for the log."""

    message_id: str | None
    description: str
    code: str = ErrorCode.FORMATION_VIOLATION
    action: str = ""


Frame = Call | Result | Error | Bad


def parse(text: str) -> Frame:
    """What `text` says. Never raises."""
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        return _read_again(text)
    if type(message) is not list or len(message) < 2 or not _is_id(message[1]):
        return Bad(None, "no array with a message id of 1 to 36 characters")
    if "\\" in text and "\\u0000" in text and _holds_null(message):
        return _bad(message, "U+0000 is not allowed")
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(message) > MAX_DEPTH:
        return _bad(message, f"nested deeper than {MAX_DEPTH}")
    kind = message[0]
    if kind == Kind.CALL and type(kind) is int:
        return _call(message)
    if kind == Kind.RESULT and type(kind) is int:
        return _result(message)
    if kind == Kind.ERROR and type(kind) is int:
        return _error(message)
    return Bad(message[1], "the message type is not 2, 3 or 4")


def size(text: str) -> int:
    """Bytes that the text takes in UTF-8; free where it is ASCII, as nearly all is."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def call(message_id: str, action: str, payload: dict[str, Any]) -> str:
    """A CALL of ours."""
    return orjson.dumps([Kind.CALL, message_id, action, payload]).decode()


def result(message_id: str, payload: dict[str, Any]) -> str:
    """The confirmation of a CALL."""
    return orjson.dumps([Kind.RESULT, message_id, payload]).decode()


def error(message_id: str, code: str, description: str = "") -> str:
    """The refusal of a CALL. Details stay empty: they would tell a stranger about our insides."""
    return orjson.dumps([Kind.ERROR, message_id, code, description[:255], {}]).decode()


def _call(message: list[Any]) -> Frame:
    if len(message) != 4:
        return _bad(message, "a CALL has four elements")
    _, message_id, action, payload = message
    if type(action) is not str or not 0 < len(action) <= MAX_ACTION:
        return Bad(message_id, f"the action is not a text of 1 to {MAX_ACTION} characters")
    if type(payload) is not dict:
        return _bad(message, "the payload is not an object")
    return Call(message_id, action, payload)


def _result(message: list[Any]) -> Result | Error:
    # An answer is never answered: a broken one settles our command.
    if len(message) != 3 or type(message[2]) is not dict:
        return Error(message[1], ErrorCode.FORMATION_VIOLATION, "the answer is not [3, id, {…}]", broken=True)
    return Result(message[1], message[2])


def _error(message: list[Any]) -> Error:
    texts = [part if type(part) is str else "" for part in message[2:4]] + ["", ""]
    return Error(message[1], texts[0] or ErrorCode.GENERIC_ERROR, texts[1], message[4] if len(message) > 4 else {})


def _bad(message: list[Any], description: str) -> Frame:
    """Only a CALL gets an answer that it was malformed."""
    if message[0] in (Kind.RESULT, Kind.ERROR):
        return Error(message[1], ErrorCode.FORMATION_VIOLATION, description, broken=True)
    action = message[2] if len(message) > 2 and type(message[2]) is str else ""
    return Bad(message[1], description, action=_printable(action))


def _read_again(text: str) -> Frame:
    try:
        message = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return Bad(None, "not JSON")
    if type(message) is not list or len(message) < 2 or not _is_id(message[1]):
        return Bad(None, "no array with a message id of 1 to 36 characters")
    return _bad(message, "a text or a number that JSON does not allow")


def _is_id(value: Any) -> bool:
    return type(value) is str and 0 < len(value) <= MAX_ID and value.isprintable()


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)[
        :MAX_ACTION
    ]


def _holds_null(message: list[Any]) -> bool:
    return any("\0" in text for text in _texts(message))


def _texts(message: list[Any]) -> list[str]:
    """All texts of a decoded message, keys too."""
    found: list[str] = []
    waiting: list[Any] = [message]
    while waiting:
        value = waiting.pop()
        if type(value) is str:
            found.append(value)
        elif type(value) is list:
            waiting.extend(value)
        elif type(value) is dict:
            found.extend(value)
            waiting.extend(value.values())
    return found


def _depth(message: list[Any]) -> int:
    depth = 0
    level: list[Any] = [message]
    while level:
        depth += 1
        level = [
            child
            for value in level
            for child in (value if type(value) is list else value.values())
            if type(child) in (list, dict)
        ]
    return depth
