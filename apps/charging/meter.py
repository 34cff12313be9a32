"""What a meter showed: one meterValue element to typed figures, and what is doubtful about a register. Pure.

OCPP 1.6 sections 7.31 and 7.33: energy in Wh, power in W, current in A, voltage in V unless the sample names another
unit. A figure without phase is the total; where there is none, L1 to L3 are taken together. Of several locations the
outlet counts. Export registers and intervals are never read as the import register. Each choice is noted by a code of
`NOTES`, so that a figure can be followed back to the samples, which are kept as sent.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from django.utils.translation import gettext_lazy as _

from apps.charging.facts import Element, Sample
from apps.core.energy import to_wh

MAX_WH = 2**62
MAX_FIGURE = 2**31 - 1  # of W, A and V
MAX_NOTES = 120
BACKWARDS_WH = 10  # a register sent in kWh with two decimals falls this far by rounding alone
JUMP_FACTOR = 1.2
JUMP_WH = 500

NOTES = {
    "no_unit": _("A value came without a unit; OCPP's default was taken."),
    "odd_unit": _("A value came with a unit that does not fit it; OCPP's default was taken."),
    "kilo": _("A value in kWh or kW was converted."),
    "phases": _("There was no total; the phases were taken together."),
    "outlet": _("There were values of several places; the one at the outlet counts."),
    "not_outlet": _("There was no value at the outlet; another place was taken."),
    "interval": _("Energy of an interval was kept, not counted."),
    "export": _("Exported energy was kept, not counted."),
    "signed": _("Signed data was kept, not read."),
    "negative": _("A value was negative."),
    "out_of_range": _("A value was too large to be true and was kept as sent only."),
    "bad_time": _("The time sent cannot be; the time of receipt was taken."),
}

_REGISTER = "Energy.Active.Import.Register"
_POWER = "Power.Active.Import"
_CURRENT = "Current.Import"
_VOLTAGE = "Voltage"
_UNITS = {_REGISTER: ("Wh", "kWh"), _POWER: ("W", "kW"), _CURRENT: ("A", "kA"), _VOLTAGE: ("V", "kV")}
_PLACES = {"Outlet": 0, "Inlet": 1, "Cable": 2, "Body": 3, "EV": 4}
_ELSEWHERE = len(_PLACES)
_PHASES = (("L1", "L2", "L3"), ("L1-N", "L2-N", "L3-N"), ("L1-L2", "L2-L3", "L3-L1"))

Table = dict[tuple[str, str], Sample]


class Figures(NamedTuple):
    """What an element says. `notes` are codes of `NOTES`, separated by blanks."""

    register_wh: int | None
    power_w: int | None
    current_a: float | None
    voltage_v: float | None
    soc_percent: int | None
    context: str
    notes: str


def read(element: Element) -> Figures:
    """The figures of one element."""
    notes: list[str] = []
    table = _table(element.samples, notes)
    register = _register(table, notes)
    power = _number(_POWER, table, notes)
    current = _number(_CURRENT, table, notes)
    voltage = _number(_VOLTAGE, table, notes)
    return Figures(
        register,
        None if power is None else round(power),
        None if current is None else round(current, 1),
        None if voltage is None else round(voltage, 1),
        _soc(table, notes),
        element.samples[0].context[:20],
        " ".join(dict.fromkeys(notes))[:MAX_NOTES] if notes else "",
    )


def digest(element: Element, *, dated: bool = True) -> int:
    """The signed 64-bit digest of an element's samples; with the time as sent where that is no key of its own."""
    text = "\x1e".join(["\x1f".join(sample) for sample in element.samples])
    if not dated:
        text = f"{element.at.sent}\x1d{text}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), signed=True)


def allowed_wh(max_power_w: int, elapsed: dt.timedelta) -> int:
    """What a connector can deliver in a time at the very most: its power × elapsed × 1.2 + 500 Wh."""
    hours = max(elapsed.total_seconds(), 0.0) / 3600
    return int(max_power_w * hours * JUMP_FACTOR) + JUMP_WH


def doubt(before_wh: int, after_wh: int, *, max_power_w: int, elapsed: dt.timedelta) -> str | None:
    """The review code of a step from one register to the next, or None where it is plausible.

    A register that falls to what a new meter can have counted since was replaced; one that falls less went backwards.
    """
    step, allowed = after_wh - before_wh, allowed_wh(max_power_w, elapsed)
    if step < -BACKWARDS_WH:
        return "meter_changed" if 0 <= after_wh <= allowed < before_wh else "meter_backwards"
    return "meter_jump" if step > allowed else None


def _table(samples: Iterable[Sample], notes: list[str]) -> Table:
    """The samples by measurand and phase, of several places the best."""
    table: Table = {}
    for sample in samples:
        if sample.format != "Raw":
            notes.append("signed")
            continue
        key = sample.measurand, sample.phase
        other = table.get(key)
        if other is None:
            table[key] = sample
        elif other.location != sample.location:
            notes.append("outlet")
            if _PLACES.get(sample.location, _ELSEWHERE) < _PLACES.get(other.location, _ELSEWHERE):
                table[key] = sample
    return table


def _register(table: Table, notes: list[str]) -> int | None:
    for measurand, _phase in table:
        if measurand != _REGISTER and measurand.startswith("Energy.Active."):
            notes.append("export" if ".Export." in measurand else "interval")
    samples = _total_or_phases(_REGISTER, table, notes)
    if not samples:
        return None
    wh = 0
    for sample in samples:
        value = Decimal(sample.value)
        if abs(value) > MAX_WH // 1000:
            notes.append("out_of_range")
            return None
        wh += to_wh(value, "kWh" if _scale(sample, notes) == 1000 else "Wh")
    if wh < 0:
        notes.append("negative")
    return wh


def _number(measurand: str, table: Table, notes: list[str]) -> float | None:
    """The total, or the sum of the phases; of voltages their mean."""
    samples = _total_or_phases(measurand, table, notes)
    if not samples:
        return None
    number = sum(float(sample.value) * _scale(sample, notes) for sample in samples)
    if measurand == _VOLTAGE:
        number /= len(samples)
    if abs(number) > MAX_FIGURE:
        notes.append("out_of_range")
        return None
    if number < 0:
        notes.append("negative")
    return number


def _soc(table: Table, notes: list[str]) -> int | None:
    sample = table.get(("SoC", ""))
    if sample is None:
        return None
    percent = float(sample.value)
    if not 0 <= percent <= 100:
        notes.append("out_of_range")
        return None
    return round(percent)


def _total_or_phases(measurand: str, table: Table, notes: list[str]) -> list[Sample]:
    total = table.get((measurand, ""))
    if total is not None:
        samples = [total]
    else:
        samples = _phases(measurand, table)
        if samples:
            notes.append("phases")
    if samples and samples[0].location != "Outlet":
        notes.append("not_outlet")
    return samples


def _phases(measurand: str, table: Table) -> list[Sample]:
    """The samples of the phases in the first of the ways to name them that the element uses."""
    for names in _PHASES:
        samples = [table[measurand, name] for name in names if (measurand, name) in table]
        if samples:
            return samples
    return []


def _scale(sample: Sample, notes: list[str]) -> int:
    """1, or 1000 where the sample is in thousands of its unit."""
    unit = sample.unit
    plain, kilo = _UNITS[sample.measurand]
    if unit == plain:
        return 1
    if not unit:
        notes.append("no_unit")
        return 1
    if unit == kilo:
        notes.append("kilo")
        return 1000
    notes.append("odd_unit")
    return 1
