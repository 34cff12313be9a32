"""Times as chargers write them, and how far a charger's clock is off."""

from __future__ import annotations

import datetime as dt
import re

from apps.charging.facts import Ended, Measured, Moment, Started
from apps.installations.status import StatusReported

APART_S = 5.0  # two messages received this far apart …
AGREE_S = 2.0  # … whose offsets agree this well tell the offset of the clock; replayed ones do not
_KEPT = 4
_TIME = re.compile(
    r"(\d{4})-?(\d{2})-?(\d{2})(?:T|\s*)(\d{2}):?(\d{2})(?::?(\d{2})(?:[.,](\d+))?)?\s*(Z|[+-]\d{2}:?(?:\d{2})?)?",
    re.ASCII,
)


def read_time(text: str) -> tuple[Moment, str]:
    """A time in any of the ways that chargers write it, and the name of the repair ('' where it was as OCPP wants it).

    Repaired: no zone (it is UTC), lower-case letters, a blank or nothing for the T, second 60, hour 24, a comma, an
    offset without colon or minutes. The moment's `parsed` is None where the text is no time with hour and minute.
    """
    try:
        parsed = dt.datetime.fromisoformat(text)
    except ValueError:
        return _read_odd_time(text)
    if parsed.tzinfo is dt.UTC:
        return Moment(text, parsed), ""
    if ":" not in text:
        return _read_odd_time(text)
    if parsed.tzinfo is None:
        return Moment(text, parsed.replace(tzinfo=dt.UTC)), "time_without_zone"
    return _in_utc(text, parsed, "")


def _read_odd_time(text: str) -> tuple[Moment, str]:
    found = _TIME.fullmatch(text.strip().upper())
    if found is None:
        return Moment(text, None), "bad_time"
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    fraction = int((found[7] or "0")[:6].ljust(6, "0"))
    extra = dt.timedelta(days=hour == 24, seconds=second == 60, microseconds=fraction)
    if hour > 24 or second > 60 or (hour == 24 and minute + second):
        return Moment(text, None), "bad_time"
    try:
        zone = _zone(found[8])
        parsed = dt.datetime(year, month, day, hour % 24, minute, min(second, 59), tzinfo=zone) + extra
    except (ValueError, OverflowError):
        return Moment(text, None), "bad_time"
    return _in_utc(text, parsed, "odd_time" if found[8] else "time_without_zone")


def _zone(text: str | None) -> dt.tzinfo:
    if not text or text == "Z":
        return dt.UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    offset = dt.timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return dt.timezone(-offset if text[0] == "-" else offset)


def _in_utc(text: str, parsed: dt.datetime, repair: str) -> tuple[Moment, str]:
    try:
        return Moment(text, parsed.astimezone(dt.UTC)), repair
    except OverflowError:
        return Moment(text, None), "bad_time"


class ClockWatch:
    """What one connection tells about its charger's clock. `offset_s`: how far it is ahead; None until known."""

    __slots__ = ("_seen", "offset_s")

    def __init__(self) -> None:
        self.offset_s: float | None = None
        self._seen: list[tuple[dt.datetime, float]] = []

    def observe(self, sent: dt.datetime, received: dt.datetime) -> None:
        """A message whose timestamp means "now" was received."""
        offset = (sent - received).total_seconds()
        for earlier, known in self._seen:
            if abs(offset - known) <= AGREE_S and (received - earlier).total_seconds() >= APART_S:
                self.offset_s = offset
                break
        # Kept ones lie apart, so that a burst of replayed messages does not push the others out.
        if not self._seen or (received - self._seen[-1][0]).total_seconds() >= APART_S:
            self._seen = [*self._seen[1 - _KEPT :], (received, offset)]


def stamped_now(body: object) -> dt.datetime | None:
    """The time in a message that means "now" where the message is not replayed; None where it carries none."""
    if isinstance(body, Measured):
        return body.elements[0].at.parsed if len(body.elements) == 1 else None
    if isinstance(body, Started | Ended):
        return body.at.parsed
    return body.at if isinstance(body, StatusReported) else None
