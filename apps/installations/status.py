"""What a boot or a status report means for a station's live state and history: pure functions of plain data."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

MAX_CONNECTOR = 99  # a higher number is a broken message, not a plug
STATION = 0  # connector number 0 is the station itself (OCPP 1.6 section 4.9)


@dataclass(slots=True, frozen=True)
class Booted:
    """BootNotification, as text."""

    vendor: str
    model: str
    serial: str = ""
    firmware: str = ""
    iccid: str = ""
    imsi: str = ""
    meter_type: str = ""
    meter_serial: str = ""


@dataclass(slots=True, frozen=True)
class StatusReported:
    """StatusNotification. `at` is the charger's time, clamped; None where it sent none that can be."""

    connector: int
    status: str
    at: dt.datetime | None
    error_code: str = ""
    info: str = ""
    vendor_error_code: str = ""


@dataclass(slots=True)
class ConnectorFacts:
    """A connector as a batch sees it: 1.6 number, database id (None until written), newest status."""

    number: int
    max_power_w: int
    id: int | None = None
    status: str = "Unknown"
    error_code: str = ""
    generation: int = 0
    sequence: int = 0


@dataclass(slots=True)
class StationFacts:
    """A station as a batch sees it. `connectors` holds number 0, the station itself, as well."""

    id: int
    operator_id: int
    clock_offset_s: float | None
    booted_at: dt.datetime | None
    # where it stands, which no reading asks for
    location_id: int = 0
    host_id: int | None = None
    seller_id: int = 0
    unknown_cards: str = ""
    time_zone: str = "UTC"
    connectors: dict[int, ConnectorFacts] = field(default_factory=dict)

    def day(self, moment: dt.datetime) -> dt.date:
        """The date on the clock of its place."""
        return moment.astimezone(ZoneInfo(self.time_zone)).date()


@dataclass(slots=True, frozen=True)
class StatusChange:
    """A report to write. `newest`: it moves the live state; `changed`: it begins an interval."""

    connector: ConnectorFacts
    report: StatusReported
    at: dt.datetime
    newest: bool
    changed: bool


def decide_status(
    station: StationFacts, report: StatusReported, *, generation: int, sequence: int, received_at: dt.datetime
) -> StatusChange:
    """Newest by (generation, sequence) wins the live state (contract G9); a repeat begins no interval."""
    connector = station.connectors[report.connector]
    newest = (generation, sequence) > (connector.generation, connector.sequence)
    changed = (report.status, report.error_code) != (connector.status, connector.error_code)
    return StatusChange(connector, report, report.at or received_at, newest, changed or not newest)


def apply_status(change: StatusChange, *, generation: int, sequence: int) -> None:
    """Let later messages of the batch see the report."""
    if change.newest:
        connector = change.connector
        connector.status, connector.error_code = change.report.status, change.report.error_code
        connector.generation, connector.sequence = generation, sequence


def found_connector(number: int) -> ConnectorFacts:
    """A connector that a charger names and the inventory lacks: 22 kW until somebody says otherwise. Raises ValueError
    for a number that no plug has."""
    if not STATION < number <= MAX_CONNECTOR:
        raise ValueError(f"connector {number}")
    return ConnectorFacts(number=number, max_power_w=22_000)
