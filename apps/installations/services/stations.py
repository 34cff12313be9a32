"""Changes to locations, chargers, their connectors and their hardware."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from apps.accounts.selectors import default_seller
from apps.accounts.services import record_audit
from apps.core import live
from apps.core.actor import Actor
from apps.core.guards import require, require_reason
from apps.installations.models import (
    EVSE,
    ChargingStation,
    Command,
    CommandState,
    Connector,
    ConnectorState,
    HardwareAssignment,
    HardwareUnit,
    Location,
    StationModel,
    StationState,
)
from apps.installations.services.commands import ring_gateway

ARCHIVED = gettext_noop("the charger was archived")


@dataclass(frozen=True, slots=True)
class ConnectorSpec:
    """A connector to be made. `number` is the connectorId of OCPP 1.6, `evse` its EVSE's number (default: the same)."""

    number: int
    evse: int | None = None
    number_in_evse: int = 1
    standard: str = Connector.Standard.TYPE_2
    format: str = Connector.Format.SOCKET
    power_type: str = Connector.PowerType.AC_3
    max_voltage_v: int = 400
    max_current_a: int = 32
    max_power_w: int = 22_000


def create_location(*, actor: Actor, name: str, street: str, city: str, country: str, **fields: Any) -> Location:
    """Make a location; `fields` are further columns of it, the operator's default seller stands in for a missing one.
    Raises ValidationError, PermissionDenied."""
    operator_id = require(actor, "installations.add_location")
    fields.setdefault("seller", default_seller(operator_id))
    location = Location(operator_id=operator_id, name=name, street=street, city=city, country=country, **fields)
    with transaction.atomic():
        _save_new(location)
        record_audit(actor=actor, action="location.created", target=location, after={"name": name, "city": city})
    return location


def create_station(
    *,
    actor: Actor,
    location: Location,
    identity: str,
    name: str = "",
    model: StationModel | None = None,
    connectors: Sequence[ConnectorSpec] = (ConnectorSpec(1),),
) -> ChargingStation:
    """Make a charger with its EVSEs, connectors and their live rows. Its key is made by `ocpp.keys`.

    Raises ValidationError (identity taken or unusable, a foreign location or model), PermissionDenied.
    """
    operator_id = require(actor, "installations.add_chargingstation", location.host_id)
    station = ChargingStation(operator_id=operator_id, location=location, identity=identity, name=name, model=model)
    with transaction.atomic():
        _save_new(station)
        StationState.objects.create(station=station, operator_id=station.operator_id)
        for spec in connectors:
            _make_connector(station, spec)
        record_audit(
            actor=actor,
            action="station.created",
            target=station,
            after={"identity": identity, "location": location.name, "connectors": [one.number for one in connectors]},
        )
    live.touch(f"operator.{station.operator_id}")
    return station


def add_connector(*, actor: Actor, station: ChargingStation, spec: ConnectorSpec) -> Connector:
    """Add a connector, and its EVSE where the charger has none of that number yet."""
    require(actor, "installations.add_connector", station.location.host_id)
    with transaction.atomic():
        connector = _make_connector(station, spec)
        record_audit(actor=actor, action="connector.added", target=station, after=asdict(spec))
    return connector


def archive_station(*, actor: Actor, station: ChargingStation, now: dt.datetime, why: str) -> None:
    """Take a charger out of service for good: its identity becomes free, its history stays. What waits for it is
    withdrawn. Raises ValidationError without a reason."""
    require(actor, "installations.delete_chargingstation", station.location.host_id)
    require_reason(why)
    with transaction.atomic():
        for rows in (
            Connector.objects.visible_to(actor).filter(station=station, archived_at=None),
            EVSE.objects.visible_to(actor).filter(station=station, archived_at=None),
            ChargingStation.objects.visible_to(actor).filter(pk=station.pk, archived_at=None),
        ):
            rows.update(archived_at=now)
        Command.objects.visible_to(actor).filter(station=station, state=CommandState.QUEUED).update(
            state=CommandState.NOT_DELIVERED,
            answered_by=Command.By.SYSTEM,
            detail=ARCHIVED,
            finished_at=now,
        )
        record_audit(
            actor=actor, action="station.archived", target=station, before={"identity": station.identity}, why=why
        )
    station.archived_at = now
    live.touch(f"operator.{station.operator_id}", f"station.{station.pk}")
    ring_gateway(station)


def restore_station(*, actor: Actor, station: ChargingStation, why: str) -> None:
    """Take an archived charger back into use, with what was archived together with it. Raises ValidationError where its
    identity was given to another charger meanwhile."""
    require(actor, "installations.change_chargingstation", station.location.host_id)
    require_reason(why)
    archived_at, station.archived_at = station.archived_at, None
    with transaction.atomic():
        station.validate_constraints()
        for rows in (Connector.objects.visible_to(actor), EVSE.objects.visible_to(actor)):
            # What the charger still said after it was archived made its connectors anew.
            rows.filter(station=station, archived_at=None).update(archived_at=timezone.now())
        for rows in (EVSE.objects.visible_to(actor), Connector.objects.visible_to(actor)):
            rows.filter(station=station, archived_at=archived_at).update(archived_at=None)
        station.save(update_fields=["archived_at"])
        record_audit(
            actor=actor, action="station.restored", target=station, after={"identity": station.identity}, why=why
        )
    live.touch(f"operator.{station.operator_id}", f"station.{station.pk}")


def confirm_connector(*, actor: Actor, connector: Connector, why: str) -> None:
    """Say that the data of a connector which the charger reported were checked."""
    require(actor, "installations.change_connector", connector.station.location.host_id)
    with transaction.atomic():
        record_audit(
            actor=actor,
            action="connector.checked",
            target=connector,
            before={"found_at": connector.found_at and connector.found_at.isoformat()},
            why=why,
        )
        connector.found_at = None
        connector.save(update_fields=["found_at"])
    live.touch(f"operator.{connector.operator_id}")


def trace_station(*, actor: Actor, station: ChargingStation, until: dt.datetime | None) -> None:
    """Let heartbeats of a charger enter its frame log until then; None: no longer."""
    require(actor, "installations.change_chargingstation", station.location.host_id)
    before, station.traced_until = station.traced_until, until
    with transaction.atomic():
        station.save(update_fields=["traced_until"])
        record_audit(
            actor=actor,
            action="station.traced",
            target=station,
            before={"until": before and before.isoformat()},
            after={"until": until and until.isoformat()},
        )


def assign_hardware(
    *, actor: Actor, station: ChargingStation, unit: HardwareUnit, at: dt.datetime, why: str = ""
) -> HardwareAssignment:
    """Hang a unit at a charger from `at` on. What hung there, and where the unit hung, ends then.

    Raises ValidationError where a period would overlap one that is closed or begins later.
    """
    require(actor, "installations.change_chargingstation", station.location.host_id)
    with transaction.atomic():
        rows = HardwareAssignment.objects.visible_to(actor).filter(Q(station=station) | Q(unit=unit))
        around = list(rows.select_for_update(no_key=True).select_related("unit").order_by("pk"))
        if any(one.removed_at is None and one.station_id == station.pk and one.unit_id == unit.pk for one in around):
            raise ValidationError({"unit": _("This unit hangs at this charger already.")})
        if any(one.installed_at >= at or (one.removed_at is not None and one.removed_at > at) for one in around):
            raise ValidationError({"at": _("At that time this unit or another one hung here or elsewhere.")})
        before = [one for one in around if one.removed_at is None]
        rows.filter(removed_at=None).update(removed_at=at)
        assignment = HardwareAssignment(operator_id=station.operator_id, unit=unit, station=station, installed_at=at)
        _save_new(assignment)
        record_audit(
            actor=actor,
            action="hardware.assigned",
            target=station,
            before={"units": [one.unit.serial for one in before if one.station_id == station.pk]},
            after={"unit": unit.serial, "from": at.isoformat()},
            why=why,
        )
    return assignment


def _make_connector(station: ChargingStation, spec: ConnectorSpec) -> Connector:
    number = spec.evse if spec.evse is not None else spec.number
    evse = (
        EVSE.objects.unscoped("the charger's own EVSEs")
        .filter(station=station, number=number)
        .filter(archived_at=None)
        .first()
    )
    if evse is None:
        evse = EVSE(operator_id=station.operator_id, station=station, number=number)
        _save_new(evse)
    values = {name: value for name, value in asdict(spec).items() if name != "evse"}
    connector = Connector(operator_id=station.operator_id, station=station, evse=evse, **values)
    _save_new(connector)
    ConnectorState.objects.create(connector=connector, operator_id=station.operator_id)
    return connector


def _save_new(row: models.Model) -> None:
    row.full_clean()
    row.save(force_insert=True)
