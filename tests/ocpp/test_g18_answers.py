"""Whatever a charger answers to a command, its meaning is found without an error (contract G18)."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.installations.commands import RULES
from apps.installations.models import CommandState
from apps.ocpp import frames
from apps.ocpp.masking import mask, mask_value
from apps.ocpp.v16.commands import read_answer, read_configuration

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
ENTRIES = st.dictionaries(st.sampled_from(["key", "value", "readonly", "extra"]), JSON)
OBJECTS = st.dictionaries(TEXTS | st.just("status"), JSON, max_size=4)
FINAL = {CommandState.DONE, CommandState.ACCEPTED, CommandState.REJECTED, CommandState.UNKNOWN}


@given(st.sampled_from(sorted(RULES)), OBJECTS)
def test_g18_every_result_has_a_meaning(action, payload):
    outcome = read_answer(action, frames.Result("1", payload))
    assert outcome.state in FINAL
    assert len(outcome.detail) <= 300


@given(st.sampled_from(sorted(RULES)), TEXTS, st.text(max_size=400), JSON)
def test_g18_every_error_is_a_refusal(action, code, description, details):
    outcome = read_answer(action, frames.Error("1", code, description, details))
    assert outcome.state == CommandState.REJECTED
    assert len(outcome.detail) <= 300


@pytest.mark.parametrize("answer", ['[3,"1","Accepted"]', '[3,"1"]', '[3,"1",{},{}]', '[3,"1",{"status":"\\u0000"}]'])
def test_g18_what_a_broken_answer_meant_is_not_known(answer):
    outcome = read_answer("Reset", frames.parse(answer))
    assert (outcome.state, outcome.detail) == (CommandState.UNKNOWN, "the charger's answer could not be read")


@given(
    st.fixed_dictionaries(
        {}, optional={"configurationKey": JSON | st.lists(ENTRIES | JSON), "unknownKey": JSON | st.lists(JSON)}
    )
)
def test_g18_every_configuration_can_be_kept(payload):
    reported, unknown = read_configuration(payload)
    assert all(
        0 < len(key) <= 50 and len(value) <= 2000 and type(readonly) is bool for key, value, readonly in reported
    )
    assert all(isinstance(key, str) for key in unknown)


@given(JSON)
def test_masking_never_fails_and_is_done_once(value):
    masked = mask_value(value)
    assert mask_value(masked) == masked
    text = orjson.dumps(value).decode()
    assert json.loads(mask("DataTransfer", text)) == json.loads(orjson.dumps(masked))


@pytest.mark.parametrize(
    ("action", "word", "state", "detail"),
    [
        ("RemoteStartTransaction", "Accepted", "accepted", "Accepted"),
        ("RemoteStopTransaction", "Rejected", "rejected", "Rejected"),
        ("UnlockConnector", "Unlocked", "done", "Unlocked"),
        ("UnlockConnector", "UnlockFailed", "rejected", "UnlockFailed"),
        ("UnlockConnector", "NotSupported", "rejected", "NotSupported"),
        ("ChangeAvailability", "Scheduled", "accepted", "Scheduled"),
        ("ChangeConfiguration", "RebootRequired", "done", "RebootRequired"),
        ("ChangeConfiguration", "NotSupported", "rejected", "NotSupported"),
        ("ClearCache", "accepted", "done", "Accepted"),
        ("TriggerMessage", "NotImplemented", "rejected", "NotImplemented"),
        ("DataTransfer", "UnknownVendorId", "rejected", "UnknownVendorId"),
        ("Reset", "Maybe", "unknown", "the charger answered without a status that is known"),
    ],
)
def test_g18_a_status_word_means_yes_no_or_nobody_knows(action, word, state, detail):
    outcome = read_answer(action, frames.Result("1", {"status": word}))
    assert (outcome.state, outcome.detail) == (state, detail)
