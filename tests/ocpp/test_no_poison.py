"""No message that the frame reader lets through can make the database refuse its batch."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from apps.charging.models import ReviewItem
from tests.charging.stored import Stored
from tests.fuzz import examples

TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300),
    st.sampled_from(["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2026-11-21T12:00:00Z", "1e99", "-0", "9" * 25]),
)
NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([0, -1, 1, 2**63])
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
SAMPLES = st.fixed_dictionaries(
    {"value": st.one_of(NUMBERS.map(str), VALUES)},
    optional={
        "measurand": st.sampled_from(
            ["Energy.Active.Import.Register", "Power.Active.Import", "SoC", "Voltage", "x" * 64]
        ),
        "unit": st.sampled_from(["Wh", "kWh", "W", "kW", "Percent", "?"]),
        "phase": st.sampled_from(["L1", "L2", "N"]),
        "context": TEXTS,
        "location": TEXTS,
    },
)
ELEMENTS = st.lists(
    st.fixed_dictionaries({"timestamp": TEXTS, "sampledValue": st.lists(SAMPLES, min_size=1, max_size=4)}),
    min_size=1,
    max_size=3,
)
ANY = {
    "BootNotification": [
        "chargePointVendor",
        "chargePointModel",
        "chargePointSerialNumber",
        "iccid",
        "imsi",
        "meterType",
    ],
    "StatusNotification": ["connectorId", "status", "errorCode", "info", "timestamp", "vendorErrorCode"],
    "Authorize": ["idTag"],
    "StartTransaction": ["connectorId", "idTag", "timestamp", "meterStart"],
    "MeterValues": ["connectorId", "transactionId", "meterValue"],
    "StopTransaction": ["transactionId", "idTag", "timestamp", "meterStop", "reason", "transactionData"],
}
GOOD: dict[str, st.SearchStrategy[Any]] = {
    "connectorId": st.integers(0, 3),
    "transactionId": st.integers(1, 5),
    "meterStart": st.integers(-(2**62), 2**62),
    "meterStop": st.integers(-(2**62), 2**62),
    "meterValue": ELEMENTS,
    "transactionData": ELEMENTS,
    "idTag": TEXTS,
    "timestamp": TEXTS,
}


@st.composite
def payloads(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    action = draw(st.sampled_from(sorted(ANY)))
    return action, {name: draw(st.one_of(GOOD.get(name, TEXTS), GOOD.get(name, TEXTS), VALUES)) for name in ANY[action]}


@pytest.mark.django_db
@settings(
    max_examples=examples(150),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(payloads(), min_size=1, max_size=4))
def test_g07_whatever_a_frame_holds_its_batch_commits_and_it_is_answered(ours, messages):
    charger = Stored(ours)
    for action, payload in messages:
        try:
            parsed = orjson.loads(json.dumps(payload))
        except orjson.JSONDecodeError:
            assume(False)
        charger.wait(seconds=10)
        kind, *_rest = charger.ask(action, **parsed)
        assert kind in (3, 4)
    assert not ReviewItem.objects.visible_to(charger.actor).filter(code__in=("failed", "stub", "quarantine")).exists()
