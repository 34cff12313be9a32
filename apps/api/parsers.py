"""Bodies: JSON that can be stored and sent on. All else is refused in words before anything reads it."""

from __future__ import annotations

import json
import math
from typing import Any

from rest_framework import exceptions
from rest_framework.parsers import BaseParser

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 32
MAX_INTEGER = 2**63 - 1


class TooLarge(exceptions.APIException):
    status_code = 413
    default_detail = "The body is larger than 1 MB."
    default_code = "too_large"


class JsonParser(BaseParser):
    """JSON in UTF-8 (RFC 8259, 8.1), whatever charset the request names."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        body = stream.read(MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            raise TooLarge
        try:
            data = json.loads(body.decode(), parse_constant=_no_number)
        except RecursionError as error:
            raise exceptions.ParseError(_TOO_DEEP) from error
        except ValueError as error:
            raise exceptions.ParseError(f"JSON parse error: {error}") from error
        _check(data)
        return data


_TOO_DEEP = "The JSON is nested too deeply."


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _check(data: Any) -> None:
    """Raise ParseError for what no column and no charger takes."""
    level = [data]
    for _depth in range(MAX_DEPTH):
        for value in level:
            if not isinstance(value, list | dict) and not _is_plain(value):
                raise exceptions.ParseError("The JSON holds a character or a number that cannot be kept.")
        level = [part for value in level if isinstance(value, list | dict) for part in _parts(value)]
        if not level:
            return
    raise exceptions.ParseError(_TOO_DEEP)


def _parts(value: list[Any] | dict[str, Any]) -> list[Any]:
    return [*value.keys(), *value.values()] if isinstance(value, dict) else value


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or abs(value) <= MAX_INTEGER
