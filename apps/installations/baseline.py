"""The small configuration that every charger needs, because many ship with sampling off. Data and comparison only.

Source: OCPP 1.6 section 9.1. Attempts and interval of transaction messages: the n-th retry waits n intervals, so ten
attempts bridge an outage of 45 minutes; with the usual three a charger throws transactions away after three minutes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.translation import gettext_noop

ACTOR = "baseline"
MIN_INTERVAL = dt.timedelta(minutes=10)

REFUSED = gettext_noop("the charger refuses this value")
READ_ONLY = gettext_noop("the charger does not let this be changed")
NOT_KNOWN = gettext_noop("the charger does not know this key")
AFTER_RESTART = gettext_noop("takes effect after a restart")
BY_HAND = gettext_noop("set by hand")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A key and the values that would do, best first: the next is tried where the charger refuses one. For a list, more
    than what is wanted does too."""

    key: str
    candidates: tuple[str, ...]
    is_list: bool = False

    def is_met(self, value: str, wanted: str) -> bool:
        if not self.is_list:
            return value.strip() == wanted
        return _parts(wanted) <= _parts(value)

    def after(self, refused: str) -> str | None:
        """The candidate to try after one was refused, or None."""
        rest = self.candidates[self.candidates.index(refused) + 1 :] if refused in self.candidates else ()
        return rest[0] if rest else None


_ENERGY, _POWER = "Energy.Active.Import.Register", "Power.Active.Import"

WANTED: Mapping[str, Wanted] = {
    one.key: one
    for one in (
        Wanted("MeterValueSampleInterval", ("60",)),
        Wanted(
            "MeterValuesSampledData",
            (f"{_ENERGY},{_POWER},Current.Import,Voltage,SoC", f"{_ENERGY},{_POWER},Current.Import,Voltage", _ENERGY),
            is_list=True,
        ),
        Wanted("TransactionMessageAttempts", ("10",)),
        Wanted("TransactionMessageRetryInterval", ("60",)),
    )
}
# Shown, and left as they are.
ALSO_READ = ("ClockAlignedDataInterval", "HeartbeatInterval", "StopTxnSampledData")
KEYS = (*WANTED, *ALSO_READ)


def _parts(value: str) -> set[str]:
    return {part.strip() for part in value.split(",") if part.strip()}
