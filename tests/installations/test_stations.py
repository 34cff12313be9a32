"""Chargers, their connectors and their hardware."""

from __future__ import annotations

import datetime as dt

import pytest
from django.core.exceptions import PermissionDenied, ValidationError

from apps.accounts.models import AuditEntry
from apps.core.actor import Actor, Kind
from apps.installations import selectors, services
from apps.installations.models import (
    EVSE,
    ChargingStation,
    Command,
    CommandState,
    ConnectorState,
    HardwareAssignment,
    HardwareUnit,
    StationState,
)
from apps.installations.services import ConnectorSpec

NOW = dt.datetime(2026, 11, 21, 12, 0, tzinfo=dt.UTC)


def create(ours, system, **kwargs):
    return services.create_station(
        **{"actor": system, "location": ours.location, "identity": "CP-7", "name": "Gate 7", **kwargs}
    )


def audited(action):
    return AuditEntry.objects.unscoped("test").filter(action=action)


def test_a_charger_is_made_with_its_evses_connectors_and_live_rows(ours, system):
    station = create(
        ours,
        system,
        connectors=[
            ConnectorSpec(1, evse=1, standard="IEC_62196_T2_COMBO", power_type="DC", max_power_w=150_000),
            ConnectorSpec(2, evse=1, number_in_evse=2, standard="CHADEMO", power_type="DC", max_power_w=50_000),
            ConnectorSpec(3, evse=2),
        ],
    )
    assert StationState.objects.visible_to(system).get(station=station).online is False
    assert [evse.number for evse in EVSE.objects.visible_to(system).filter(station=station).order_by("number")] == [
        1,
        2,
    ]
    rows = station.connectors.order_by("number")
    assert [(row.number, row.evse.number, row.number_in_evse) for row in rows] == [(1, 1, 1), (2, 1, 2), (3, 2, 1)]
    assert ConnectorState.objects.visible_to(system).filter(connector__station=station).count() == 3
    assert audited("station.created").get().after["connectors"] == [1, 2, 3]


def test_an_identity_is_taken_whatever_its_case_until_its_charger_is_archived(ours, system):
    station = create(ours, system)
    with pytest.raises(ValidationError):
        create(ours, system, identity="cp-7")
    services.archive_station(actor=system, station=station, now=NOW, why="sold")
    assert create(ours, system, identity="cp-7").pk != station.pk


@pytest.mark.parametrize("identity", ["", "a b", "a/b", "a:b", "x" * 49, "<script>"])
def test_an_identity_that_ocpp_does_not_allow_is_refused(ours, system, identity):
    with pytest.raises(ValidationError):
        create(ours, system, identity=identity)


def test_a_charger_never_stands_at_another_operators_location(ours, rival, system):
    with pytest.raises(ValidationError):
        create(ours, system, location=rival.location)
    assert not ChargingStation.objects.visible_to(system).filter(identity="CP-7").exists()


def test_services_refuse_an_actor_without_the_permission(ours):
    viewer = Actor(kind=Kind.API_KEY, operator_id=ours.operator.pk, operator_wide=True, label="viewer")
    with pytest.raises(PermissionDenied):
        create(ours, viewer)
    with pytest.raises(PermissionDenied):
        services.create_location(actor=viewer, name="Yard", street="A 1", city="Kiel", country="DE")
    with pytest.raises(PermissionDenied):
        services.add_connector(actor=viewer, station=ours.station, spec=ConnectorSpec(2))
    with pytest.raises(PermissionDenied):
        services.archive_station(actor=viewer, station=ours.station, now=NOW, why="sold")


def test_a_location_is_checked_and_audited(system):
    location = services.create_location(
        actor=system, name="Yard", street="A 1", city="Kiel", country="DE", time_zone="Europe/Berlin"
    )
    assert audited("location.created").get().object_id == str(location.pk)
    for wrong in ({"country": "Germany"}, {"name": "yard"}, {"name": ""}):
        with pytest.raises(ValidationError):
            services.create_location(
                **{"actor": system, "name": "Other", "street": "A 1", "city": "Kiel", "country": "DE", **wrong}
            )


def test_a_connector_number_is_used_once(ours, system):
    services.add_connector(actor=system, station=ours.station, spec=ConnectorSpec(2, evse=1, number_in_evse=2))
    with pytest.raises(ValidationError):
        services.add_connector(actor=system, station=ours.station, spec=ConnectorSpec(2))
    assert ours.station.connectors.count() == 2
    assert ours.station.evses.count() == 1


def test_archiving_withdraws_what_waits_and_needs_a_reason(ours, system):
    command = services.request_command(
        actor=system, station=ours.station, action="ClearCache", payload={}, why="", now=NOW
    )
    with pytest.raises(ValidationError):
        services.archive_station(actor=system, station=ours.station, now=NOW, why="")
    services.archive_station(actor=system, station=ours.station, now=NOW, why="sold")
    command.refresh_from_db()
    assert (command.state, command.detail) == (CommandState.NOT_DELIVERED, "the charger was archived")
    assert Command.objects.visible_to(system).count() == 1
    assert not ours.station.connectors.filter(archived_at=None).exists()
    assert audited("station.archived").get().why == "sold"


@pytest.fixture
def units(ours):
    return [HardwareUnit.objects.create(operator=ours.operator, serial=f"SN{n}", vendor="Acme") for n in range(2)]


def days(count):
    return NOW + dt.timedelta(days=count)


def test_a_swap_ends_the_old_units_period_and_keeps_the_charger(ours, system, units):
    first = services.assign_hardware(actor=system, station=ours.station, unit=units[0], at=days(0))
    services.assign_hardware(actor=system, station=ours.station, unit=units[1], at=days(5), why="burnt")
    first.refresh_from_db()
    assert first.removed_at == days(5)
    assert audited("hardware.assigned").filter(why="burnt").get().before == {"units": ["SN0"]}


def test_a_unit_moves_from_one_charger_to_another(ours, system, units):
    other = create(ours, system)
    services.assign_hardware(actor=system, station=ours.station, unit=units[0], at=days(0))
    services.assign_hardware(actor=system, station=other, unit=units[0], at=days(1))
    open_ones = HardwareAssignment.objects.visible_to(system).filter(removed_at=None)
    assert [one.station_id for one in open_ones] == [other.pk]


@pytest.mark.parametrize("day", [-1, 0, 4])
def test_a_period_that_overlaps_is_refused(ours, system, units, day):
    services.assign_hardware(actor=system, station=ours.station, unit=units[0], at=days(0))
    services.assign_hardware(actor=system, station=ours.station, unit=units[1], at=days(5))
    with pytest.raises(ValidationError):
        services.assign_hardware(actor=system, station=ours.station, unit=units[0], at=days(day))


def test_a_unit_is_not_assigned_where_it_hangs_already(ours, system, units):
    services.assign_hardware(actor=system, station=ours.station, unit=units[0], at=days(0))
    with pytest.raises(ValidationError):
        services.assign_hardware(actor=system, station=ours.station, unit=units[0], at=days(1))


def test_live_state_names_the_charger_and_each_connector(ours, system):
    StationState.objects.visible_to(system).update(
        online=True, last_seen_at=NOW, clock_offset_s=-3.5, status="Faulted", error_code="GroundFailure"
    )
    ConnectorState.objects.visible_to(system).update(status="Charging", status_at=NOW)
    state = selectors.live_state(system, ours.station)
    assert (state.online, state.last_seen_at, state.clock_offset_s) == (True, NOW, -3.5)
    assert [(one.number, one.status, one.since, one.error_code) for one in state.connectors] == [
        (0, "Faulted", None, "GroundFailure"),
        (1, "Charging", NOW, ""),
    ]


def test_live_state_of_another_operators_charger_does_not_exist(rival, system):
    with pytest.raises(StationState.DoesNotExist):
        selectors.live_state(system, rival.station)
