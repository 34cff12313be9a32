"""What a meter showed: one meterValue element to typed figures, and what is doubtful about a register. Pure.

OCPP 1.6 sections 7.31 and 7.33: energy in Wh, power in W, current in A, voltage in V unless the sample names another
unit. A figure without phase is the total; where there is none, L1 to L3 are taken together. Of several locations the
outlet counts. Export registers and intervals are never read as the import register. Each choice is noted by a code of
`NOTES`, so that a figure can be followed back to the samples.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from django.utils.translation import gettext_lazy as _

from apps.charging.energy import to_wh
from apps.charging.facts import Element, Kind

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
_MANY = 64  # samples; an element with more is read without remembering its plan

Parts = tuple[tuple[int, int], ...]  # which samples make a figure: their index and 1 or 1000
Table = dict[tuple[str, str], tuple[int, Kind]]


class Figures(NamedTuple):
    """What an element says. `notes` are codes of `NOTES`, separated by blanks."""

    register_wh: int | None
    power_w: int | None
    current_a: float | None
    voltage_v: float | None
    soc_percent: int | None
    context: str
    notes: str


class Plan(NamedTuple):
    """How the figures are read from samples of certain kinds. A charger sends the same few combinations for ever."""

    register: Parts
    power: Parts
    current: Parts
    voltage: Parts
    soc: Parts
    context: str
    notes: str
    key: str


def read(element: Element) -> Figures:
    """The figures of one element."""
    values = element.values
    plan = _plan_of(element.kinds)
    notes: list[str] = []
    figures = Figures(
        _register(plan.register, values, notes) if plan.register else None,
        _whole(_sum(plan.power, values, notes)) if plan.power else None,
        _tenths(_sum(plan.current, values, notes)) if plan.current else None,
        _tenths(_sum(plan.voltage, values, notes), len(plan.voltage)) if plan.voltage else None,
        _soc(plan.soc, values, notes) if plan.soc else None,
        plan.context,
        plan.notes,
    )
    if notes:
        return figures._replace(notes=" ".join(dict.fromkeys((*plan.notes.split(), *notes)))[:MAX_NOTES])
    return figures


def digest(element: Element, *, dated: bool = True) -> int:
    """The signed 64-bit digest of an element's samples; with the time as sent where that is no key of its own."""
    parts = (_plan_of(element.kinds).key, *element.values, *(() if dated else (element.at.sent,)))
    data = "\x1e".join(parts).encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), signed=True)


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


# --- which samples make which figure ---


def _plan_of(kinds: tuple[Kind, ...]) -> Plan:
    return _plan(kinds) if len(kinds) <= _MANY else _plan.__wrapped__(kinds)


@lru_cache(maxsize=1024)
def _plan(kinds: tuple[Kind, ...]) -> Plan:
    notes: list[str] = []
    table = _table(kinds, notes)
    for measurand, _phase in table:
        if measurand != _REGISTER and measurand.startswith("Energy.Active."):
            notes.append("export" if ".Export." in measurand else "interval")
    register, power, current, voltage = (_parts(measurand, table, notes) for measurand in _UNITS)
    soc = table.get(("SoC", ""))
    return Plan(
        register,
        power,
        current,
        voltage,
        () if soc is None else ((soc[0], 1),),
        kinds[0].context[:20],
        " ".join(dict.fromkeys(notes))[:MAX_NOTES],
        "\x1d".join("\x1f".join(kind) for kind in kinds),
    )


def _table(kinds: Iterable[Kind], notes: list[str]) -> Table:
    """The samples by measurand and phase, of several places the best."""
    table: Table = {}
    for index, kind in enumerate(kinds):
        if kind.format != "Raw":
            notes.append("signed")
            continue
        _index, other = table.setdefault((kind.measurand, kind.phase), (index, kind))
        if other.location != kind.location:
            notes.append("outlet")
            if _PLACES.get(kind.location, _ELSEWHERE) < _PLACES.get(other.location, _ELSEWHERE):
                table[kind.measurand, kind.phase] = index, kind
    return table


def _parts(measurand: str, table: Table, notes: list[str]) -> Parts:
    """The total's sample, or those of the phases in the first of the ways to name them that the element uses."""
    chosen = [table[measurand, ""]] if (measurand, "") in table else []
    if not chosen:
        ways = ([table[measurand, name] for name in names if (measurand, name) in table] for names in _PHASES)
        chosen = next(filter(None, ways), [])
        if chosen:
            notes.append("phases")
    if any(kind.location != "Outlet" for _index, kind in chosen):
        notes.append("not_outlet")
    return tuple((index, _scale(kind, notes)) for index, kind in chosen)


def _scale(kind: Kind, notes: list[str]) -> int:
    """1, or 1000 where the sample is in thousands of its unit."""
    plain, kilo = _UNITS[kind.measurand]
    if kind.unit == plain:
        return 1
    if not kind.unit:
        notes.append("no_unit")
        return 1
    if kind.unit == kilo:
        notes.append("kilo")
        return 1000
    notes.append("odd_unit")
    return 1


# --- the figures ---


def _register(parts: Parts, values: tuple[str, ...], notes: list[str]) -> int | None:
    wh = 0
    for index, scale in parts:
        value = values[index]
        if value.isdigit() and len(value) < 16:
            wh += int(value) * scale
            continue
        exact = Decimal(value)
        if abs(exact) > MAX_WH // 1000:
            notes.append("out_of_range")
            return None
        wh += to_wh(exact, "kWh" if scale == 1000 else "Wh")
    if wh < 0:
        notes.append("negative")
    return wh


def _sum(parts: Parts, values: tuple[str, ...], notes: list[str]) -> float | None:
    total = 0.0
    for index, scale in parts:
        total += float(values[index]) * scale
    if not -MAX_FIGURE <= total <= MAX_FIGURE:
        notes.append("out_of_range")
        return None
    if total < 0:
        notes.append("negative")
    return total


def _soc(parts: Parts, values: tuple[str, ...], notes: list[str]) -> int | None:
    percent = float(values[parts[0][0]])
    if not 0 <= percent <= 100:
        notes.append("out_of_range")
        return None
    return round(percent)


def _whole(number: float | None) -> int | None:
    return None if number is None else round(number)


def _tenths(number: float | None, count: int = 1) -> float | None:
    """The number, or the mean of what `count` samples sum up to, with one decimal."""
    return None if number is None else round(number / count, 1)
