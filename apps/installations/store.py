"""Loads what a batch knows about stations and writes what it learned, one statement a table."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field

from django.db.backends.base.base import BaseDatabaseWrapper

from apps.core import bulk, events
from apps.installations.events import STATION_BOOTED
from apps.installations.models import EVSE, Connector, ConnectorState
from apps.installations.status import STATION, Booted, ConnectorFacts, StationFacts, StatusChange

Origin = tuple[StationFacts, int, int, dt.datetime]  # station, generation, sequence, received at


@dataclass(slots=True)
class InstallationChanges:
    """What a batch learned. `offsets`: station id → (generation, seconds the station's clock is ahead, since when)."""

    found: list[tuple[StationFacts, ConnectorFacts, dt.datetime]] = field(default_factory=list)
    statuses: list[tuple[Origin, StatusChange]] = field(default_factory=list)
    boots: list[tuple[Origin, Booted]] = field(default_factory=list)
    offsets: dict[int, tuple[int, float, dt.datetime]] = field(default_factory=dict)


# A row for each connector of a station, or one without.
_STATIONS = """
SELECT s.station_id, s.operator_id, s.clock_offset_s, s.booted_at, k.number, k.max_power_w, k.id{columns}
  FROM installations_stationstate s
  LEFT JOIN installations_connector k ON k.station_id = s.station_id AND k.archived_at IS NULL{tables}
 WHERE s.station_id IN (SELECT unnest(%s::bigint[])){lock}"""
_LOCK = " ORDER BY s.station_id FOR NO KEY UPDATE OF s"
_PLACES = {
    "columns": ", c.location_id, l.host_id, l.seller_id, l.unknown_cards, l.time_zone",
    "tables": """
  JOIN installations_chargingstation c ON c.id = s.station_id
  JOIN installations_location l ON l.id = c.location_id""",
}
_STATUSES = {
    "columns": ", s.status, s.error_code, s.status_generation, s.status_sequence,"
    " ks.status, ks.error_code, ks.generation, ks.sequence",
    "tables": "\n  LEFT JOIN installations_connectorstate ks ON ks.connector_id = k.id",
}

_CONNECTOR_STATUS = bulk.Update(
    "installations_connectorstate",
    keys=("connector_id",),
    sets=("status", "status_at", "generation", "sequence", "error_code", "error_info"),
    types=("bigint", "text", "timestamptz", "bigint", "bigint", "text", "text"),
    guard="(t.generation, t.sequence) < (v.generation, v.sequence)",
)
_STATION_STATUS = bulk.Update(
    "installations_stationstate",
    keys=("station_id",),
    sets=("status", "status_at", "status_generation", "status_sequence", "error_code", "error_info"),
    types=("bigint", "text", "timestamptz", "bigint", "bigint", "text", "text"),
    guard="(t.status_generation, t.status_sequence) < (v.status_generation, v.status_sequence)",
)
_BOOTED = bulk.Update(
    "installations_stationstate",
    keys=("station_id",),
    sets=("booted_at",),
    types=("bigint", "timestamptz"),
    guard="t.booted_at IS NULL OR t.booted_at < v.booted_at",
)
_OFFSET = bulk.Update(
    "installations_stationstate",
    keys=("station_id",),
    sets=("generation", "clock_offset_s", "clock_offset_at"),
    types=("bigint", "bigint", "float8", "timestamptz"),
    expressions=(("generation", "t.generation"),),  # the handshake alone draws it
    guard="t.generation <= v.generation",
)
_INTERVALS = bulk.Table(
    "installations_statusinterval",
    columns=(
        "at",
        "station_id",
        "connector_number",
        "sequence",
        "operator_id",
        "received_at",
        "status",
        "error_code",
        "error_info",
        "vendor_error_code",
    ),
    types=("timestamptz", "bigint", "int", "bigint", "bigint", "timestamptz", "text", "text", "text", "text"),
    conflict="ON CONFLICT DO NOTHING",
)
_BOOTS = bulk.Table(
    "installations_boot",
    columns=(
        "operator_id",
        "station_id",
        "received_at",
        "generation",
        "sequence",
        "vendor",
        "model",
        "serial",
        "firmware",
        "iccid",
        "imsi",
        "meter_type",
        "meter_serial",
    ),
    types=("bigint", "bigint", "timestamptz", "bigint", "bigint", *["text"] * 8),
    conflict="ON CONFLICT DO NOTHING",
)


def load_stations(
    connection: BaseDatabaseWrapper,
    station_ids: Iterable[int],
    *,
    lock: bool = False,
    places: bool = True,
    statuses: bool = True,
) -> dict[int, StationFacts]:
    """Stations with their connectors, number 0 included. Without `places` it is unknown where they stand, which only
    cards and starts ask for; without `statuses` those are unknown, which only reports of a status ask for. `lock` holds
    the stations' live rows, in key order."""
    parts = [part for wanted, part in ((places, _PLACES), (statuses, _STATUSES)) if wanted]
    more = {name: "".join(part[name] for part in parts) for name in ("columns", "tables")}
    query = _STATIONS.format(**more, lock=_LOCK if lock else "")
    own = 5 if places else 0  # columns of the place, which come before those of a status
    stations: dict[int, StationFacts] = {}
    rows = bulk.fetch_rows(connection, query, sorted(set(station_ids)))
    for pk, operator_id, offset_s, booted_at, *connector in rows:
        number, max_power_w, connector_id, *rest = connector
        station = stations.get(pk)
        if station is None:
            station = stations[pk] = StationFacts(pk, operator_id, offset_s, bulk.aware(booted_at), *rest[:own])
            station.connectors[STATION] = ConnectorFacts(STATION, 0, None, *rest[own : own + 4])
        if number is not None:
            station.connectors[number] = ConnectorFacts(number, max_power_w, connector_id, *rest[own + 4 :])
    return stations


def write_changes(connection: BaseDatabaseWrapper, changes: InstallationChanges) -> None:
    """Write all of it. Found connectors first: their ids are needed by what follows."""
    for station, connector, found_at in changes.found:
        _create_connector(station, connector, found_at)
    _write_statuses(connection, changes.statuses)
    _write_boots(connection, changes.boots)
    if changes.offsets:
        bulk.lock_rows(connection, "installations_stationstate", "station_id", changes.offsets)
        bulk.update_rows(connection, _OFFSET, [(pk, *offset) for pk, offset in changes.offsets.items()])


def _create_connector(station: StationFacts, connector: ConnectorFacts, found_at: dt.datetime) -> None:
    if connector.id is not None:
        return
    evse, _ = EVSE.objects.unscoped("a charger named its own connector").get_or_create(
        station_id=station.id,
        number=connector.number,
        archived_at=None,
        defaults={"operator_id": station.operator_id},
    )
    row = Connector.objects.create(
        operator_id=station.operator_id,
        station_id=station.id,
        evse=evse,
        number=connector.number,
        max_power_w=connector.max_power_w,
        standard=Connector.Standard.UNKNOWN,
        found_at=found_at,
    )
    ConnectorState.objects.create(connector=row, operator_id=station.operator_id)
    connector.id = row.pk


def _write_statuses(connection: BaseDatabaseWrapper, statuses: list[tuple[Origin, StatusChange]]) -> None:
    of_connectors, of_stations, intervals = {}, {}, []
    for (station, generation, sequence, received_at), change in statuses:
        report = change.report
        row = (report.status, change.at, generation, sequence, report.error_code, report.info)
        if change.newest and change.connector.number == STATION:
            of_stations[station.id] = (station.id, *row)
        elif change.newest:
            of_connectors[change.connector.id] = (change.connector.id, *row)
        if change.changed:
            intervals.append(
                (
                    change.at,
                    station.id,
                    change.connector.number,
                    sequence,
                    station.operator_id,
                    received_at,
                    report.status,
                    report.error_code,
                    report.info,
                    report.vendor_error_code,
                )
            )
    connectors = [pk for pk in of_connectors if pk is not None]
    bulk.lock_rows(connection, "installations_connectorstate", "connector_id", connectors)
    bulk.update_rows(connection, _CONNECTOR_STATUS, list(of_connectors.values()))
    bulk.lock_rows(connection, "installations_stationstate", "station_id", of_stations)
    bulk.update_rows(connection, _STATION_STATUS, list(of_stations.values()))
    bulk.insert_rows(connection, _INTERVALS, intervals)


def _write_boots(connection: BaseDatabaseWrapper, boots: list[tuple[Origin, Booted]]) -> None:
    newest, rows = {}, []
    for (station, generation, sequence, received_at), boot in boots:
        newest[station.id] = (station.id, received_at)
        identity = (boot.vendor, boot.model, boot.serial, boot.firmware)
        rest = (boot.iccid, boot.imsi, boot.meter_type, boot.meter_serial)
        rows.append((station.operator_id, station.id, received_at, generation, sequence, *identity, *rest))
    bulk.lock_rows(connection, "installations_stationstate", "station_id", newest)
    bulk.update_rows(connection, _BOOTED, list(newest.values()))
    bulk.insert_rows(connection, _BOOTS, rows)
    events.publish_many(STATION_BOOTED, [{"operator_id": row[0], "station_id": row[1]} for row in rows])
