"""Secrets never enter the frame log, and everything else does, letter by letter."""

from __future__ import annotations

import json

import pytest

from apps.ocpp.masking import mask

SECRET = "hunter2-c0ffee"


def frame(action, payload):
    return json.dumps([2, "19", action, payload])


@pytest.mark.parametrize(
    ("action", "text"),
    [
        ("ChangeConfiguration", frame("ChangeConfiguration", {"key": "AuthorizationKey", "value": SECRET})),
        ("ChangeConfiguration", frame("ChangeConfiguration", {"value": SECRET, "key": "authorizationKEY"})),
        ("ChangeConfiguration", frame("ChangeConfiguration", {"key": "Wifi_Password", "value": SECRET})),
        (
            "GetConfiguration",
            json.dumps(
                [3, "19", {"configurationKey": [{"readonly": False, "key": "AuthorizationKey", "value": SECRET}]}]
            ),
        ),
        ("GetDiagnostics", frame("GetDiagnostics", {"location": f"ftp://logs:{SECRET}@files.example.org/a"})),
        ("GetDiagnostics", f'[2,"19","GetDiagnostics",{{"location":"ftp:\\/\\/logs:{SECRET}@files.example.org"}}]'),
        ("GetDiagnostics", frame("GetDiagnostics", {"location": f"https://x.example/a?X-Amz-Signature={SECRET}&b=1"})),
        ("UpdateFirmware", frame("UpdateFirmware", {"location": f"https://x.example/a?b=1&token={SECRET}"})),
        ("DataTransfer", frame("DataTransfer", {"vendorId": "v", "data": f"Authorization: Basic {SECRET}"})),
        ("DataTransfer", frame("DataTransfer", {"vendorId": "v", "data": f'{{"password":"{SECRET}","n":1}}'})),
        ("DataTransfer", frame("DataTransfer", {"vendorId": "v", "data": "Basic " + "QUJD" * 5 + SECRET})),
        ("DataTransfer", frame("DataTransfer", {"vendorId": "v", "data": f"user=a; Password = {SECRET}; b"})),
        ("DataTransfer", frame("DataTransfer", {"vendorId": "v", "nested": {"apiKey": SECRET}})),
        ("", f'not JSON, but "password":"{SECRET}"'),
    ],
)
def test_a_secret_is_masked(action, text):
    masked = mask(action, text)
    assert SECRET not in masked
    assert masked != text


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("MeterValues", {"connectorId": 1, "meterValue": []}),
        ("ChangeConfiguration", {"key": "HeartbeatInterval", "value": "300"}),
        ("GetConfiguration", {"key": ["AuthorizationKey", "HeartbeatInterval"]}),
        ("Authorize", {"idTag": "04A2B3C4"}),
        ("GetDiagnostics", {"location": "ftp://files.example.org/a?b=1"}),
        ("DataTransfer", {"vendorId": "v", "data": "a basic example @ home"}),
    ],
)
def test_what_is_no_secret_stays_as_it_came(action, payload):
    text = frame(action, payload)
    assert mask(action, text) is text


def test_masking_keeps_the_rest_of_the_frame():
    payload = {"configurationKey": [{"key": "AuthorizationKey", "value": SECRET}, {"key": "Other", "value": "7"}]}
    masked = json.loads(mask("GetConfiguration", json.dumps([3, "19", payload])))
    assert masked == [
        3,
        "19",
        {"configurationKey": [{"key": "AuthorizationKey", "value": "•••"}, {"key": "Other", "value": "7"}]},
    ]
