"""What 1.6 chargers send seldom is read strictly, answered and kept."""

from __future__ import annotations

import pytest

from apps.core.actor import Actor
from apps.installations.models import ProgressReport
from apps.ocpp.models import Frame
from apps.ocpp.v16.schemas import validators, violation
from tests.factories.cast import make_tenant
from tests.ocpp.lanes import confirmed, refused, running_lanes


@pytest.fixture
def tenant(transactional_db):
    return make_tenant("Amber")


@pytest.fixture
def lanes(tenant):
    with running_lanes() as running:
        yield running


def reports(tenant):
    return list(
        ProgressReport.objects.visible_to(Actor.system(tenant.operator)).order_by("pk").values_list("about", "status")
    )


def test_progress_of_firmware_and_diagnostics_is_confirmed_and_kept(tenant, lanes):
    for status in ("Downloading", "Downloaded", "Installing", "Installed"):
        assert lanes.ask(tenant.station, "FirmwareStatusNotification", {"status": status}) == {}
    assert lanes.ask(tenant.station, "DiagnosticsStatusNotification", {"status": "Uploaded"}) == {}
    assert reports(tenant) == [
        ("firmware", "Downloading"),
        ("firmware", "Downloaded"),
        ("firmware", "Installing"),
        ("firmware", "Installed"),
        ("diagnostics", "Uploaded"),
    ]


def test_the_same_reception_is_kept_once(tenant, lanes):
    for _ in range(2):
        lanes.ask(tenant.station, "FirmwareStatusNotification", {"status": "Installed"}, sequence=7)
    assert reports(tenant) == [("firmware", "Installed")]


def test_a_data_transfer_of_an_unknown_vendor_is_answered_and_stays_in_the_frame_log(tenant, lanes):
    transfer = {"vendorId": "org.example", "messageId": "hello", "data": '{"password":"hunter2","wheel":4}'}
    assert lanes.ask(tenant.station, "DataTransfer", transfer) == {"status": "UnknownVendorId"}
    frame = Frame.objects.unscoped("test").get(action="DataTransfer")
    assert "hello" in frame.request
    assert "wheel" in frame.request
    assert "hunter2" not in frame.request
    assert frame.response.endswith('{"status":"UnknownVendorId"}]')


@pytest.mark.parametrize(
    ("action", "payload", "code"),
    [
        ("FirmwareStatusNotification", {}, "OccurenceConstraintViolation"),
        ("FirmwareStatusNotification", {"status": 3}, "TypeConstraintViolation"),
        ("FirmwareStatusNotification", {"status": "Melted"}, "PropertyConstraintViolation"),
        ("FirmwareStatusNotification", {"status": "Installed", "extra": 1}, "FormationViolation"),
        ("DiagnosticsStatusNotification", {"status": "Installed"}, "PropertyConstraintViolation"),
        ("DataTransfer", {"data": "x"}, "OccurenceConstraintViolation"),
        ("DataTransfer", {"vendorId": "x" * 256}, "PropertyConstraintViolation"),
        ("DataTransfer", {"vendorId": ["x"]}, "TypeConstraintViolation"),
    ],
)
def test_a_payload_that_breaks_its_schema_is_refused_with_its_code(tenant, lanes, action, payload, code):
    assert refused(lanes.send(tenant.station, action, payload).result(timeout=10)) == code
    assert reports(tenant) == []
    assert Frame.objects.unscoped("test").get(action=action).error_code == code


def test_a_refused_message_does_not_stop_the_next(tenant, lanes):
    lanes.send(tenant.station, "DataTransfer", {}).result(timeout=10)
    text = lanes.send(tenant.station, "DataTransfer", {"vendorId": "v"}).result(timeout=10)
    assert confirmed(text) == {"status": "UnknownVendorId"}


def test_all_schemas_of_the_protocol_are_compiled():
    assert len(validators()) == 78
    assert {"Reset", "ResetResponse", "SendLocalList"} <= set(validators())


def test_a_time_without_zone_is_no_violation_and_a_tenth_is_a_tenth():
    status = {"connectorId": 1, "errorCode": "NoError", "status": "Available", "timestamp": "2026-11-21 12:00"}
    assert violation("StatusNotification", status) is None
    limit = {"startPeriod": 0, "limit": 21.4}
    schedule = {"chargingRateUnit": "A", "chargingSchedulePeriod": [limit]}
    answer = {"status": "Accepted", "chargingSchedule": schedule}
    assert violation("GetCompositeScheduleResponse", answer) is None
    limit["limit"] = 4.11
    assert violation("GetCompositeScheduleResponse", answer) == (
        "PropertyConstraintViolation",
        "chargingSchedule/chargingSchedulePeriod/0/limit: multipleOf",
    )


def test_the_description_never_repeats_what_was_sent():
    code, description = violation("DataTransfer", {"vendorId": "hunter2" * 100})
    assert (code, description) == ("PropertyConstraintViolation", "vendorId: maxLength")
    assert violation("DataTransfer", ["hunter2"]) == ("FormationViolation", "the payload is not an object")
