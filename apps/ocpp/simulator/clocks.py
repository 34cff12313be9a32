"""What a charger takes for the time."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Protocol


class Clock(Protocol):
    def now(self) -> dt.datetime: ...

    async def sleep(self, seconds: float) -> None: ...


class LiveClock:
    """The true time, or one that is `offset` off. Waits are `speed` times shorter; energy still takes its time, so
    that nothing a fast charger says is impossible."""

    def __init__(self, *, speed: float = 1.0, offset: dt.timedelta = dt.timedelta()) -> None:
        self.speed = speed
        self.offset = offset

    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC) + self.offset

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.speed)


class PastClock:
    """A time in the past that passes only by sleeping, and at once."""

    def __init__(self, at: dt.datetime) -> None:
        self.at = at

    def now(self) -> dt.datetime:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += dt.timedelta(seconds=seconds)


def text(moment: dt.datetime) -> str:
    """A time as OCPP writes it: UTC, milliseconds, Z."""
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
