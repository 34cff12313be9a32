"""Background work that serves every app."""

from __future__ import annotations

import datetime as dt

from apps.core import timeseries
from apps.core.schedules import every


@every(hours=24)
def ensure_months() -> None:
    """Keep partitions ready for the months ahead."""
    timeseries.ensure_months(today=dt.datetime.now(dt.UTC).date())
