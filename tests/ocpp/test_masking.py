"""Secrets never enter the frame log, and everything else does, letter by letter."""

from __future__ import annotations

import json
import time

import pytest

from apps.ocpp.masking import UNREADABLE, mask

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
        # The name of the secret as a reader of JSON sees it, not as it is spelt.
        (
            "ChangeConfiguration",
            rf'[2,"19","ChangeConfiguration",{{"key":"\u0041uthorization\u004bey","value":"{SECRET}"}}]',
        ),
        ("DataTransfer", rf'[2,"19","DataTransfer",{{"vendorId":"v","data":{{"p\u0061ssword":"{SECRET}"}}}}]'),
        ("DataTransfer", frame("DataTransfer", {"vendorId": "v", "data": rf'{{"p\u0061ssword":"{SECRET}"}}'})),
        ("GetDiagnostics", rf'[2,"19","GetDiagnostics",{{"location":"ftp:\u002f\u002flogs:{SECRET}@files.example"}}]'),
        *(
            ("ChangeConfiguration", frame("ChangeConfiguration", {"key": key, "value": SECRET}))
            for key in (
                *("Authorization Key", "authorization:key", "Authorization\u200bKey", "\uff21uthorizationKey"),
                *("pa\u017f\u017fword", "Authorization\u212aey", "WifiPSK", "ApnPwd", "WLAN passphrase", "AccessToken"),
            )
        ),
        (
            "GetConfiguration",
            json.dumps([3, "19", {"configurationKey": [{"KEY": "AuthorizationKey", "VALUE": SECRET}]}]),
        ),
        ("DataTransfer", frame("DataTransfer", {"vendorId": "v", "data": {"name": "password", "value": SECRET}})),
        (
            "SetVariables",
            frame("SetVariables", {"a": [{"attributeValue": SECRET, "variable": {"name": "BasicAuthPassword"}}]}),
        ),
        (
            "ChangeConfiguration",
            f'[2,"19","ChangeConfiguration",{{"key":"AuthorizationKey","value":"{SECRET}","key":"x","value":"y"}}]',
        ),
        # Texts within texts.
        *(
            ("DataTransfer", frame("DataTransfer", {"vendorId": "v", "data": data}))
            for data in (
                json.dumps({"key": "AuthorizationKey", "value": SECRET}),
                json.dumps({"text": json.dumps({"password": SECRET})}),
                json.dumps({"password": f'with "quotes", a comma and {SECRET}'}),
                f"authorization_key={SECRET}",
                f"X-Api-Key: {SECRET}",
                f"AuthorizationKey 0011223344556677{SECRET}",
                f"<password>{SECRET}</password>",
                f"Authorization: Bearer {SECRET}",
                f"-----BEGIN EC PRIVATE KEY-----\nMIIE{SECRET}\n-----END EC PRIVATE KEY-----",
            )
        ),
        # What people write into URLs though its rules forbid it.
        *(
            ("GetDiagnostics", frame("GetDiagnostics", {"location": location}))
            for location in (
                f"ftp://logs:a/b{SECRET}@files.example.org",
                f"ftp://logs:a#b?{SECRET}@files.example.org",
                f"ftp://logs:a@{SECRET}@files.example.org",
                f"//logs:{SECRET}@files.example.org",
                f"https://files.example.org/a#token={SECRET}",
                f"https://files.example.org/a?user=b&pass={SECRET}",
            )
        ),
        ("", f'[2,"19","ChangeConfiguration",{{"key":"\\u0041uthorizationKey","value":"{SECRET}"'),
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
        (
            "DataTransfer",
            {"vendorId": "v", "data": "https://files.example.org:8080/a?b=\u00fc, or mail us@example.org"},
        ),
        ("DataTransfer", {"vendorId": "v", "data": '{"key": "Interval", "value": "300"}'}),
        ("StatusNotification", {"connectorId": 1, "info": "T\u00fcr offen", "errorCode": "NoError"}),
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


@pytest.mark.parametrize(
    "text",
    [
        "a" * 900_000 + "://",
        json.dumps(
            [3, "1", {"configurationKey": [{"key": f"K{n}", "value": "https:" + "a" * 300} for n in range(2000)]}]
        ),
        frame("DataTransfer", {"data": "password" * 100_000}),
        frame("DataTransfer", {"data": "//a:" * 200_000 + "?" + "token" * 20_000}),
        frame("DataTransfer", {"data": "basic " * 150_000}),
    ],
    ids=["letters", "configuration", "words", "addresses", "schemes"],
)
def test_no_text_of_a_charger_holds_up_the_gateway(text):
    """A megabyte costs well under a second; what took more than linear time took minutes."""
    began = time.process_time()
    mask("DataTransfer", text)
    assert time.process_time() - began < 5.0


@pytest.mark.parametrize("depth", [40, 300, 1000, 5000])
def test_however_deep_a_text_is_nested_its_secret_is_masked(depth):
    inner = json.dumps({"password": SECRET})
    for text in ('{"a":' * depth + inner + "}" * depth, '"://' + "[" * depth + inner):
        assert SECRET not in mask("DataTransfer", text)
    assert SECRET not in mask("DataTransfer", json.dumps({"://": "[" * depth + inner + "]" * depth}))


def test_a_frame_that_is_no_json_and_names_no_secret_is_kept_as_evidence():
    text = r'[2,"19","StatusNotification",{"info":"\ud800 https://files.example.org"}]'
    assert mask("StatusNotification", text) is text
    assert mask("DataTransfer", text.replace("info", "password")) == UNREADABLE
