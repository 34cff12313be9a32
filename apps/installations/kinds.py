"""Locations, chargers and connectors as CSV."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models.functions import Lower
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.accounts.models import Organisation, Seller
from apps.accounts.selectors import default_seller
from apps.accounts.zones import known_zones
from apps.core.actor import Actor
from apps.installations import hours, services
from apps.installations.imports import (
    NOT_KNOWN,
    Column,
    Kind,
    Row,
    Verdict,
    by_name,
    choice,
    given,
    judge_fields,
    offer,
    refuse,
    related,
    yes_or_no,
)
from apps.installations.models import ChargingStation, Connector, Location, StationModel, UnknownCardPolicy
from apps.installations.services import ConnectorSpec


# --- locations --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Places:
    locations: dict[str, Location]
    hosts: dict[str, Organisation]
    sellers: dict[str, Seller]
    default_seller: Seller | None


# "24/7" has no blanks around its stroke.
BETWEEN_LINES = " / "
_PLACE_TEXTS = ("name", "street", "postal_code", "city", "country", "time_zone")


def _load_places(actor: Actor, rows: list[Row]) -> _Places:
    names = {row.get("name", "").lower() for row in rows}
    found = Location.objects.visible_to(actor).filter(archived_at=None).annotate(lower=Lower("name"))
    return _Places(
        locations=by_name(found.filter(lower__in=names).select_related("host", "seller"), "name"),
        hosts=by_name(Organisation.objects.visible_to(actor).filter(archived_at=None), "name"),
        sellers=by_name(Seller.objects.visible_to(actor), "legal_name"),
        default_seller=default_seller(actor.operator_id),
    )


def _judge_place(known: _Places, row: Row) -> Verdict:
    key, reasons = row.get("name", ""), list[str]()
    if not key:
        return refuse("", _("The name is missing."))
    location = known.locations.get(key.lower())
    zone = row.get("time_zone") or (location or Location()).time_zone
    values = _place_values(known, row, zone, reasons)
    if reasons:
        return refuse(key, *reasons)
    if location is None:
        verdict = judge_fields(key, Location(), {"seller": known.default_seller} | values, new=True)
    else:
        verdict = judge_fields(key, location, values, new=False)
    if hours_before := verdict.before.get("opening_hours"):
        verdict.before["opening_hours"] = _hours_text(hours_before, ZoneInfo(zone))
    verdict.told = given(row, "opening_hours")
    return verdict


def _place_values(known: _Places, row: Row, zone: str, reasons: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = given(row, *_PLACE_TEXTS)
    if "country" in values:
        values["country"] = values["country"].upper()
    if zone not in known_zones():
        reasons.append(NOT_KNOWN % {"column": "time_zone", "value": zone})
    elif row.get("opening_hours"):
        values["opening_hours"] = _hours(row["opening_hours"], ZoneInfo(zone), reasons)
    for name in given(row, "latitude", "longitude"):
        values[name] = _decimal(row[name], reasons, name)
    if row.get("publish"):
        values["publish"] = yes_or_no(row["publish"], reasons, "publish")
    if row.get("unknown_cards"):
        values["unknown_cards"] = choice(row["unknown_cards"], UnknownCardPolicy, reasons, "unknown_cards")
    for name, rows in (("host", known.hosts), ("seller", known.sellers)):
        if row.get(name):
            values[name] = related(row[name], rows, reasons, name)
    return values


def _hours(text: str, zone: ZoneInfo, reasons: list[str]) -> hours.Hours | None:
    try:
        return hours.from_text(text.replace(BETWEEN_LINES, "\n"), zone)
    except ValueError as wrong:
        reasons.append(f"opening_hours: {wrong}")
        return None


def _hours_text(kept: hours.Hours, zone: ZoneInfo) -> str:
    return hours.to_text(kept, zone).replace("\n", BETWEEN_LINES)


def _write_place(actor: Actor, verdict: Verdict) -> None:
    if verdict.action == "create":
        services.create_location(actor=actor, **verdict.values)
    else:
        services.change_imported(actor=actor, row=verdict.target, values=verdict.values, before=verdict.before)


def _export_places(actor: Actor) -> Iterator[list[Any]]:
    rows = Location.objects.visible_to(actor).filter(archived_at=None).select_related("host", "seller").order_by("name")
    for one in rows.iterator(chunk_size=500):
        yield [
            *(one.name, one.street, one.postal_code, one.city, one.country, one.time_zone, one.latitude, one.longitude),
            *("yes" if one.publish else "no", one.host.name if one.host else ""),
            *(one.seller.legal_name, one.unknown_cards, _hours_text(one.opening_hours, ZoneInfo(one.time_zone))),
        ]


LOCATIONS = offer(
    Kind(
        name="locations",
        title=gettext_lazy("Locations"),
        columns=(
            Column("name", True, gettext_lazy("The key: a location of this name is changed, else made.")),
            Column("street", True),
            Column("postal_code"),
            Column("city", True),
            Column("country", True, gettext_lazy("Two letters")),
            Column("time_zone", False, gettext_lazy("Such as Europe/Berlin")),
            Column("latitude"),
            Column("longitude"),
            Column("publish", False, gettext_lazy("yes or no")),
            Column("host", False, gettext_lazy("Name of an organisation")),
            Column("seller", False, gettext_lazy("Legal name of a seller; empty: the default one")),
            Column("unknown_cards", False, gettext_lazy("refuse, accept_free or accept_review")),
            Column("opening_hours", False, gettext_lazy("24/7, or such as Mon-Fri 08:00-18:00 / Sat 09:00-12:00")),
        ),
        permissions=("installations.add_location", "installations.change_location"),
        load=_load_places,
        judge=_judge_place,
        write=_write_place,
        export=_export_places,
    )
)


# --- chargers ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Stations:
    stations: dict[str, ChargingStation]
    locations: dict[str, Location]
    models: dict[str, StationModel]


def _load_stations(actor: Actor, rows: list[Row]) -> _Stations:
    wanted = {row.get("location", "").lower() for row in rows}
    places = Location.objects.visible_to(actor).filter(archived_at=None).annotate(lower=Lower("name"))
    models = StationModel.objects.visible_to(actor)
    return _Stations(
        stations=_stations(actor, rows),
        locations=by_name(places.filter(lower__in=wanted), "name"),
        models={f"{one.vendor}\n{one.name}".lower(): one for one in models},
    )


def _stations(actor: Actor, rows: list[Row]) -> dict[str, ChargingStation]:
    identities = {row.get("identity", "").lower() for row in rows}
    found = ChargingStation.objects.visible_to(actor).filter(archived_at=None).annotate(lower=Lower("identity"))
    return by_name(found.filter(lower__in=identities).select_related("location", "model"), "identity")


def _judge_station(known: _Stations, row: Row) -> Verdict:
    key, reasons = row.get("identity", ""), list[str]()
    if not key:
        return refuse("", _("The identity is missing."))
    values: dict[str, Any] = given(row, "name")
    if row.get("location"):
        values["location"] = related(row["location"], known.locations, reasons, "location")
    if row.get("vendor") or row.get("model"):
        name = f"{row.get('vendor', '')}\n{row.get('model', '')}"
        values["model"] = related(name, known.models, reasons, "vendor, model")
    if reasons:
        return refuse(key, *(reason.replace("\n", " ") for reason in reasons))
    station = known.stations.get(key.lower())
    if station is None:
        return judge_fields(key, ChargingStation(), {"identity": key, **values}, new=True)
    return judge_fields(key, station, values, new=False)


def _write_station(actor: Actor, verdict: Verdict) -> None:
    if verdict.action == "create":
        services.create_station(actor=actor, connectors=(), **verdict.values)
    else:
        services.change_imported(actor=actor, row=verdict.target, values=verdict.values, before=verdict.before)


def _export_stations(actor: Actor) -> Iterator[list[Any]]:
    rows = ChargingStation.objects.visible_to(actor).filter(archived_at=None).select_related("location", "model")
    for one in rows.order_by("identity").iterator(chunk_size=500):
        model = (one.model.vendor, one.model.name) if one.model else ("", "")
        yield [one.identity, one.location.name, one.name, *model]


STATIONS = offer(
    Kind(
        name="chargers",
        title=gettext_lazy("Chargers"),
        columns=(
            Column("identity", True, gettext_lazy("The key: how the charger names itself in OCPP.")),
            Column("location", True, gettext_lazy("Name of a location")),
            Column("name"),
            Column("vendor", False, gettext_lazy("Of a charger model that is listed")),
            Column("model"),
        ),
        permissions=("installations.add_chargingstation", "installations.change_chargingstation"),
        load=_load_stations,
        judge=_judge_station,
        write=_write_station,
        export=_export_stations,
    )
)


# --- connectors -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Connectors:
    stations: dict[str, ChargingStation]
    connectors: dict[tuple[int, int], Connector]


_CONNECTOR_NUMBERS = ("max_voltage_v", "max_current_a", "max_power_w")


def _load_connectors(actor: Actor, rows: list[Row]) -> _Connectors:
    stations = _stations(actor, rows)
    ids = [one.pk for one in stations.values()]
    found = Connector.objects.visible_to(actor).filter(archived_at=None, station__in=ids).select_related("evse")
    return _Connectors(stations, {(one.station_id, one.number): one for one in found})


def _judge_connector(known: _Connectors, row: Row) -> Verdict:
    identity, number, reasons = row.get("identity", ""), row.get("number", ""), list[str]()
    key = f"{identity} #{number.lstrip('0') or number}"
    station = known.stations.get(identity.lower())
    if station is None:
        return refuse(key, NOT_KNOWN % {"column": "identity", "value": identity})
    if not _is_number(number):
        return refuse(key, _("number: write the connectorId of OCPP 1.6, from 1."))
    values = _connector_values(row, reasons)
    if reasons:
        return refuse(key, *reasons)
    connector = known.connectors.get((station.pk, int(number)))
    evse = int(row["evse"]) if row.get("evse") else None
    if connector is None:
        verdict = judge_fields(key, Connector(station=station), {"number": number, **values}, new=True)
        verdict.values |= {"evse": evse} if evse is not None else {}
        verdict.target = station
        return verdict
    if evse not in (None, connector.evse.number):
        return refuse(key, _("evse: it belongs to EVSE %(evse)d and stays there.") % {"evse": connector.evse.number})
    return judge_fields(key, connector, values, new=False)


def _connector_values(row: Row, reasons: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = given(row, "number_in_evse", *_CONNECTOR_NUMBERS)
    numbers = given(row, "evse", "number_in_evse")
    wrong = [name for name, text in numbers.items() if not _is_number(text)]
    reasons += [_("%(column)s: write a number from 1 to 1000.") % {"column": name} for name in wrong]
    for name, choices in (
        ("standard", Connector.Standard),
        ("format", Connector.Format),
        ("power_type", Connector.PowerType),
    ):
        if row.get(name):
            values[name] = choice(row[name], choices, reasons, name)
    return values


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= 1000


def _write_connector(actor: Actor, verdict: Verdict) -> None:
    if verdict.action == "create":
        services.add_connector(actor=actor, station=verdict.target, spec=ConnectorSpec(**verdict.values))
    else:
        services.change_imported(actor=actor, row=verdict.target, values=verdict.values, before=verdict.before)


def _export_connectors(actor: Actor) -> Iterator[list[Any]]:
    rows = Connector.objects.visible_to(actor).filter(archived_at=None, station__archived_at=None)
    ordered = rows.select_related("station", "evse").order_by("station__identity", "number")
    for one in ordered.iterator(chunk_size=500):
        yield [
            *(one.station.identity, one.number, one.evse.number, one.number_in_evse, one.standard, one.format),
            *(one.power_type, one.max_voltage_v, one.max_current_a, one.max_power_w),
        ]


CONNECTORS = offer(
    Kind(
        name="connectors",
        title=gettext_lazy("Connectors"),
        columns=(
            Column("identity", True, gettext_lazy("Of the charger; with the number it is the key.")),
            Column("number", True, gettext_lazy("connectorId of OCPP 1.6, from 1")),
            Column("evse", False, gettext_lazy("EVSE id of OCPP 2.x, from 1; empty: the connector's own number")),
            Column("number_in_evse", False, gettext_lazy("connectorId of OCPP 2.x; empty: 1")),
            Column("standard", False, ", ".join(Connector.Standard.values)),
            Column("format", False, ", ".join(Connector.Format.values)),
            Column("power_type", False, ", ".join(Connector.PowerType.values)),
            Column("max_voltage_v"),
            Column("max_current_a"),
            Column("max_power_w"),
        ),
        permissions=("installations.add_connector", "installations.change_connector"),
        load=_load_connectors,
        judge=_judge_connector,
        write=_write_connector,
        export=_export_connectors,
    )
)


def _decimal(value: str, reasons: list[str], column: str) -> Decimal | None:
    try:
        return Decimal(value.replace(",", ".")).quantize(Decimal("0.000001"))
    except InvalidOperation:
        reasons.append(_("%(column)s: %(value)s is no number.") % {"column": column, "value": value})
        return None
