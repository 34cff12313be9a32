"""The six hot actions: what is repaired, what is refused and how, and that nothing else comes out."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.charging.facts import Authorise, Ended, Measured, Reply, Started, TokenFacts, Verdict
from apps.installations.status import Booted, StatusReported
from apps.ocpp.frames import CallError
from apps.ocpp.v16 import hot
from apps.ocpp.v16.schemas import violation

NOW = dt.datetime(2026, 11, 21, 12, 0, tzinfo=dt.UTC)
TIME = "2026-11-21T11:59:00Z"
START = {"connectorId": 1, "idTag": "04A2B3C4", "timestamp": TIME, "meterStart": 1000}
STOP = {"transactionId": 5, "timestamp": TIME, "meterStop": 2000}
STATUS = {"connectorId": 1, "errorCode": "NoError", "status": "Available"}
BOOT = {"chargePointVendor": "V", "chargePointModel": "M"}


def meter_values(*samples: Any, **more: Any) -> dict[str, Any]:
    return {"connectorId": 1, "meterValue": [{"timestamp": TIME, "sampledValue": list(samples)}]} | more


def read(action: str, payload: dict[str, Any]) -> Any:
    return hot.read(action, payload, NOW)[0]


def repairs(action: str, payload: dict[str, Any]) -> tuple[str, ...]:
    return hot.read(action, payload, NOW)[1]


def refusal(action: str, payload: dict[str, Any]) -> str:
    with pytest.raises(CallError) as caught:
        hot.read(action, payload, NOW)
    return caught.value.code


@pytest.mark.parametrize(
    ("action", "payload", "kind"),
    [
        ("BootNotification", BOOT, Booted),
        ("StatusNotification", STATUS, StatusReported),
        ("Authorize", {"idTag": "04A2B3C4"}, Authorise),
        ("StartTransaction", START, Started),
        ("MeterValues", meter_values({"value": "1"}), Measured),
        ("StopTransaction", STOP, Ended),
    ],
)
def test_what_keeps_to_the_schema_is_read_without_a_repair(action: str, payload: dict, kind: type):
    assert violation(action, payload) is None
    body, named = hot.read(action, payload, NOW)
    assert type(body) is kind
    assert named == ()


# --- repairs ---


@pytest.mark.parametrize(
    ("action", "payload", "named"),
    [
        ("Authorize", {"idTag": "A", "extra": 1}, "unknown_property"),
        ("Authorize", {"idTag": 12345678}, "number_as_text"),
        ("Authorize", {"idTag": "A" * 21}, "too_long"),
        ("StartTransaction", START | {"connectorId": "1"}, "text_as_number"),
        ("StartTransaction", START | {"meterStart": "1000"}, "text_as_number"),
        ("StartTransaction", START | {"meterStart": 1000.0}, "odd_number"),
        ("StartTransaction", START | {"meterStart": 1000.5}, "rounded"),
        ("StartTransaction", START | {"timestamp": "2026-11-21T11:59:00"}, "time_without_zone"),
        ("StartTransaction", START | {"timestamp": "2026-11-21T11:59:60z"}, "odd_time"),
        ("StartTransaction", START | {"timestamp": "yesterday"}, "bad_time"),
        ("StartTransaction", START | {"timestamp": 1763726400}, "bad_time"),
        ("StartTransaction", START | {"timestamp": "1970-01-01T00:00:00Z"}, "bad_time"),
        ("StartTransaction", {name: value for name, value in START.items() if name != "timestamp"}, "bad_time"),
        ("StatusNotification", STATUS | {"status": "available"}, "odd_name"),
        ("StatusNotification", STATUS | {"status": "Suspended_EV"}, "odd_name"),
        ("StatusNotification", STATUS | {"status": "Exploded"}, "unknown_status"),
        ("StatusNotification", STATUS | {"info": "x" * 300}, "too_long"),
        ("StatusNotification", STATUS | {"vendorErrorCode": ["a"]}, "bad_text"),
        ("StopTransaction", STOP | {"reason": "evDisconnected"}, "odd_name"),
        ("StopTransaction", STOP | {"idTag": {}}, "bad_field"),
        ("StopTransaction", STOP | {"idTag": True}, "bad_field"),
        ("MeterValues", meter_values({"value": "1"}, transactionId=""), "bad_field"),
        ("MeterValues", meter_values({"value": "1"}, transactionId="abc"), "bad_field"),
        ("MeterValues", meter_values({"value": 12.5}), "number_as_text"),
        ("MeterValues", meter_values({"value": "12,5"}), "odd_number"),
        ("MeterValues", meter_values({"value": "1", "unit": "kwh"}), "odd_name"),
        ("MeterValues", meter_values({"value": "1"}, {"value": "off"}), "bad_sample"),
        ("MeterValues", meter_values({"value": "1"}, None), "bad_sample"),
        ("MeterValues", meter_values({"value": "1"}, {"value": "NaN"}), "bad_sample"),
        ("MeterValues", meter_values({"value": "1"}, {"value": "1", "unit": ["Wh"]}), "bad_sample"),
        ("MeterValues", meter_values({"value": "1", "vendor": 1}), "unknown_property"),
        (
            "MeterValues",
            {"connectorId": 1, "meterValue": {"timestamp": TIME, "sampledValue": {"value": "1"}}},
            "no_list",
        ),
        ("BootNotification", {}, "missing"),
        ("BootNotification", BOOT | {"iccid": 12345}, "number_as_text"),
    ],
)
def test_what_breaks_the_schema_is_repaired_and_the_repair_is_named(action: str, payload: dict, named: str):
    assert named in repairs(action, payload)


def test_text_and_numbers_mean_the_same_start():
    as_text = read("StartTransaction", START | {"connectorId": "1", "meterStart": "1000"})
    as_number = read("StartTransaction", START)
    assert (as_text.connector, as_text.meter_wh, as_text.start_key) == (1, 1000, as_number.start_key)


def test_half_a_watt_hour_is_rounded_up_and_kept_as_sent():
    body = read("StopTransaction", STOP | {"meterStop": "2000.5"})
    assert (body.meter_wh, body.meter_sent) == (2001, "2000.5")


@pytest.mark.parametrize("sent", [-(2**63) - 1, 10**40, {"at": 10**30}, [True, None]])
def test_a_time_that_is_no_text_is_kept_as_it_was_sent(sent):
    at = read("StopTransaction", STOP | {"timestamp": sent}).at
    assert (at.parsed, at.sent) == (None, json.dumps(sent, separators=(",", ":")))


def test_an_unknown_status_keeps_its_text():
    body = read("StatusNotification", STATUS | {"status": "Exploded", "info": "fire"})
    assert (body.status, body.info) == ("Unknown", "Exploded: fire")


def test_only_the_bad_samples_are_dropped():
    body = read("MeterValues", meter_values({"value": "1"}, {"value": "x"}, {"nothing": 1}, {"value": "2"}))
    assert body.elements[0].values == ("1", "2")


def test_defaults_of_a_sample_are_those_of_ocpp():
    element = read("MeterValues", meter_values({"value": "1"})).elements[0]
    assert element.kinds == (("Energy.Active.Import.Register", "", "", "Sample.Periodic", "Outlet", "Raw"),)


def test_signed_data_is_a_usable_sample():
    signed = {"value": "OCMF|{...}", "format": "SignedData"}
    assert read("MeterValues", meter_values(signed)).elements[0].values == ("OCMF|{...}",)


def test_a_stop_without_usable_transaction_data_is_read_all_the_same():
    assert read("StopTransaction", STOP | {"transactionData": "rubbish"}).elements == ()


def test_a_stop_without_reason_is_local():
    assert read("StopTransaction", STOP).reason == "Local"


def test_the_serial_of_the_charge_box_stands_in_for_that_of_the_charge_point():
    assert read("BootNotification", BOOT | {"chargeBoxSerialNumber": "B1"}).serial == "B1"
    both = BOOT | {"chargeBoxSerialNumber": "B1", "chargePointSerialNumber": "P1"}
    assert read("BootNotification", both).serial == "P1"


@pytest.mark.parametrize("year", ["1970", "2010", "2099"])
def test_a_status_time_that_cannot_be_is_left_out(year: str):
    assert read("StatusNotification", STATUS | {"timestamp": f"{year}-01-01T00:00:00Z"}).at is None


# --- refusals ---


@pytest.mark.parametrize(
    ("action", "payload", "needed"),
    [
        ("StartTransaction", START, ["connectorId", "idTag", "meterStart"]),
        ("StopTransaction", STOP, ["transactionId", "meterStop"]),
        ("MeterValues", meter_values({"value": "1"}), ["connectorId", "meterValue"]),
        ("Authorize", {"idTag": "A"}, ["idTag"]),
        ("StatusNotification", STATUS, ["connectorId", "status"]),
    ],
)
def test_without_the_needed_minimum_it_is_an_occurence_constraint_violation(action: str, payload: dict, needed: list):
    for name in needed:
        for lacking in (payload | {name: None}, {key: value for key, value in payload.items() if key != name}):
            assert refusal(action, lacking) == "OccurenceConstraintViolation"


@pytest.mark.parametrize(
    ("action", "payload", "code"),
    [
        ("StartTransaction", START | {"connectorId": "one"}, "TypeConstraintViolation"),
        ("StartTransaction", START | {"connectorId": True}, "TypeConstraintViolation"),
        ("StartTransaction", START | {"idTag": {"a": 1}}, "TypeConstraintViolation"),
        ("StartTransaction", START | {"meterStart": []}, "TypeConstraintViolation"),
        ("StartTransaction", START | {"connectorId": -1}, "PropertyConstraintViolation"),
        ("StartTransaction", START | {"connectorId": 2**31}, "PropertyConstraintViolation"),
        ("StatusNotification", STATUS | {"connectorId": 100}, "PropertyConstraintViolation"),
        ("StartTransaction", START | {"meterStart": 1e23}, "FormationViolation"),
        ("StartTransaction", START | {"meterStart": "9" * 30}, "FormationViolation"),
        ("StartTransaction", START | {"meterStart": "1e99"}, "FormationViolation"),
        ("StopTransaction", STOP | {"transactionId": 2**63}, "FormationViolation"),
        ("StopTransaction", STOP | {"transactionId": 2.0**70}, "FormationViolation"),
        ("MeterValues", meter_values({"value": "1"}, transactionId=1e19), "FormationViolation"),
        ("MeterValues", meter_values(), "PropertyConstraintViolation"),
        ("MeterValues", meter_values({"value": "x"}), "PropertyConstraintViolation"),
        ("MeterValues", {"connectorId": 1, "meterValue": []}, "PropertyConstraintViolation"),
        ("MeterValues", {"connectorId": 1, "meterValue": "rubbish"}, "PropertyConstraintViolation"),
    ],
)
def test_what_cannot_be_repaired_is_refused_with_the_code_of_1_6(action: str, payload: dict, code: str):
    assert refusal(action, payload) == code


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = {
    "BootNotification": BOOT | {"iccid": "1", "meterType": "T"},
    "StatusNotification": STATUS | {"timestamp": TIME, "info": "i"},
    "Authorize": {"idTag": "A"},
    "StartTransaction": START,
    "MeterValues": meter_values({"value": "1", "unit": "Wh"}, transactionId=5),
    "StopTransaction": STOP | {"reason": "Local", "transactionData": meter_values({"value": "1"})["meterValue"]},
}


@given(st.sampled_from(sorted(FIELDS)), st.data())
def test_any_json_is_read_or_refused_with_a_call_error_and_stays_in_range(action: str, data: st.DataObject):
    payload = dict(FIELDS[action])
    for name in data.draw(st.lists(st.sampled_from(sorted(payload)), min_size=1, unique=True)):
        payload[name] = data.draw(JSON)
    try:
        body, named = hot.read(action, payload, NOW)
    except CallError:
        return
    assert len(set(named)) == len(named)
    for name in ("meter_wh", "transaction_id", "connector"):
        value = getattr(body, name, None)
        assert value is None or -(2**63) <= value < 2**63


# --- keys ---


def test_keys_a_start_s_key_is_of_connector_tag_time_and_meter_as_sent():
    key = read("StartTransaction", START).start_key
    assert len(key) == 32
    others = [{"connectorId": 2}, {"idTag": "04A2B3C5"}, {"timestamp": "2026-11-21T11:59:01Z"}, {"meterStart": 1001}]
    assert key not in {read("StartTransaction", START | other).start_key for other in others}


def test_keys_never_depend_on_the_time_of_receipt():
    for sent in (TIME, "rubbish", "1970-01-01T00:00:00Z"):
        keys = {
            hot.read("StartTransaction", START | {"timestamp": sent}, NOW + dt.timedelta(hours=hours))[0].start_key
            for hours in (0, 1)
        }
        assert len(keys) == 1


@pytest.mark.parametrize(
    ("sent", "clockless"), [(TIME, False), ("2019-12-31T23:59:59Z", True), ("2020-01-01T00:00:00Z", False), ("?", True)]
)
def test_keys_a_charger_is_clockless_before_2020_or_where_the_time_is_none(sent: str, clockless: bool):
    assert read("StartTransaction", START | {"timestamp": sent}).clockless is clockless


# --- confirmations ---


def token(expires_at: dt.datetime | None) -> TokenFacts:
    return TokenFacts(1, "A", "active", expires_at, None, None, "as_printed")


@pytest.mark.parametrize(
    ("action", "reply"),
    [
        ("BootNotification", Reply()),
        ("StatusNotification", Reply()),
        ("MeterValues", Reply()),
        ("StopTransaction", Reply()),
        ("StopTransaction", Reply(Verdict("Accepted", "active", token(NOW)))),
        ("Authorize", Reply(Verdict("Blocked", "lost", token(None)))),
        ("Authorize", Reply(Verdict("Accepted", "active", token(NOW)))),
        ("StartTransaction", Reply(Verdict("ConcurrentTx", "concurrent"), 2**31 - 1)),
    ],
)
def test_every_confirmation_keeps_to_the_schema(action: str, reply: Reply):
    assert violation(f"{action}Response", hot.write(action, reply, NOW)) is None


def test_an_accepted_card_s_date_is_told():
    reply = Reply(Verdict("Accepted", "active", token(NOW)))
    assert hot.write("Authorize", reply, NOW) == {
        "idTagInfo": {"status": "Accepted", "expiryDate": "2026-11-21T12:00:00.000Z"}
    }


def test_a_boot_is_told_the_time_and_the_heartbeat_interval():
    assert hot.write("BootNotification", Reply(), NOW, interval_s=60) == {
        "status": "Accepted",
        "currentTime": "2026-11-21T12:00:00.000Z",
        "interval": 60,
    }
