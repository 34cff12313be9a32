"""The physics: what a charger can give, what a car takes, what the meter between them shows."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

TAPER_FROM = 0.8  # of the battery: from here on a car takes less and less
TAPER_TO = 0.15  # of its full power, when it is full
STEP_S = 60.0

ENERGY = "Energy.Active.Import.Register"
POWER = "Power.Active.Import"
CURRENT = "Current.Import"
VOLTAGE = "Voltage"
SOC = "SoC"
TEMPERATURE = "Temperature"


@dataclass(frozen=True, slots=True)
class Hardware:
    """A make of charger. Power in W, voltage in V."""

    vendor: str = "Voltdesk"
    model: str = "Simulated AC 11"
    firmware: str = "1.4.2"
    connectors: int = 1
    max_power_w: int = 11_000
    dc: bool = False

    @property
    def voltage(self) -> int:
        return 400 if self.dc else 230

    @property
    def phases(self) -> int:
        return 1 if self.dc or self.max_power_w <= 3_700 else 3


@dataclass(slots=True)
class Vehicle:
    """A car with its battery: capacity in Wh, charge 0 … 1, power in W."""

    capacity_wh: float = 58_000
    charge: float = 0.3
    limit: float = 0.9
    max_power_w: float = 11_000

    def power_w(self, offered_w: float) -> float:
        """What it takes of what is offered."""
        if self.charge >= self.limit:
            return 0.0
        power = min(offered_w, self.max_power_w)
        if self.charge > TAPER_FROM:
            power *= 1 - (1 - TAPER_TO) * (self.charge - TAPER_FROM) / (1 - TAPER_FROM)
        return power


class Meter:
    """The meter of one connector. `register_wh` never falls, unless somebody makes it."""

    def __init__(self, hardware: Hardware, *, register_wh: float = 0.0) -> None:
        self.hardware = hardware
        self.register_wh = register_wh
        self.power_w = 0.0
        self.vehicle: Vehicle | None = None
        self._at: dt.datetime | None = None

    def connect(self, vehicle: Vehicle | None, at: dt.datetime) -> None:
        """The contactor closes on `vehicle`, or opens (None)."""
        self.advance(at)
        self.vehicle = vehicle
        self.power_w = vehicle.power_w(self.hardware.max_power_w) if vehicle else 0.0
        self._at = at

    def advance(self, at: dt.datetime) -> None:
        """Let energy flow until `at`."""
        car = self.vehicle
        if car is not None and self._at is not None:
            left = (at - self._at).total_seconds()
            while left > 0 and self.power_w > 0:
                step = min(left, STEP_S)
                self.power_w = car.power_w(self.hardware.max_power_w)
                energy = min(self.power_w * step / 3600, car.capacity_wh * (car.limit - car.charge))
                self.register_wh += energy
                car.charge += energy / car.capacity_wh
                left -= step
        self._at = at

    @property
    def wh(self) -> int:
        return int(self.register_wh)

    def samples(self, measurands: frozenset[str], context: str = "Sample.Periodic") -> list[dict[str, str]]:
        """The sampled values (OCPP 1.6 7.43) that the meter shows now: six of them where all are wanted."""
        hardware, volts = self.hardware, self.hardware.voltage
        amperes = self.power_w / volts / hardware.phases
        shown = [(ENERGY, f"{self.wh}", "Wh", ""), (POWER, f"{self.power_w:.0f}", "W", "")]
        if hardware.dc:
            soc = 100 * self.vehicle.charge if self.vehicle else 0.0
            shown += [(CURRENT, f"{amperes:.1f}", "A", ""), (VOLTAGE, f"{volts}", "V", "")]
            shown += [(SOC, f"{soc:.0f}", "Percent", ""), (TEMPERATURE, "31", "Celsius", "")]
        else:
            shown += [(CURRENT, f"{amperes:.1f}", "A", f"L{phase}") for phase in range(1, hardware.phases + 1)]
            shown += [(VOLTAGE, f"{volts}", "V", "L1-N")]
        samples = []
        for measurand, value, unit, phase in shown:
            if measurand in measurands:
                place = {SOC: "EV", TEMPERATURE: "Body"}.get(measurand, "Outlet")
                sample = {"value": value, "context": context, "format": "Raw", "measurand": measurand}
                samples.append(sample | ({"phase": phase} if phase else {}) | {"location": place, "unit": unit})
        return samples
