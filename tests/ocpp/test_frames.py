"""OCPP-J frames: whatever arrives is read without an exception, and what we write can be read."""

from __future__ import annotations

import json
import time

from hypothesis import given
from hypothesis import strategies as st

from apps.ocpp import frames

scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=20)
values = st.recursive(scalars, lambda children: st.lists(children) | st.dictionaries(st.text(max_size=8), children))
ids = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=frames.MAX_ID)
sendable = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
payloads = st.dictionaries(
    sendable, sendable | st.integers(-(2**53), 2**53) | st.lists(sendable, max_size=3), max_size=5
)


@given(st.text())
def test_any_text_is_read_without_an_exception(text):
    assert isinstance(frames.parse(text), frames.Frame)


@given(values)
def test_any_json_is_read_without_an_exception(value):
    frame = frames.parse(json.dumps(value))
    assert isinstance(frame, frames.Frame)


@given(st.lists(values, max_size=6), ids)
def test_a_call_that_is_not_one_is_answered_to_its_id_and_to_no_other(rest, message_id):
    frame = frames.parse(json.dumps([2, message_id, *rest]))
    assert frame.message_id == message_id
    if not isinstance(frame, frames.Call):
        assert isinstance(frame, frames.Bad)
        answer = json.loads(frames.error(message_id, frame.code, frame.description))
        assert answer[:3] == [4, message_id, "FormationViolation"]


@given(st.sampled_from([3, 4]), st.lists(values, max_size=6), ids)
def test_an_answer_is_never_answered(kind, rest, message_id):
    frame = frames.parse(json.dumps([kind, message_id, *rest]))
    assert isinstance(frame, frames.Result | frames.Error)


@given(ids, payloads)
def test_what_we_ask_is_read_back(message_id, payload):
    frame = frames.parse(frames.call(message_id, "DataTransfer", payload))
    assert frame == frames.Call(message_id, "DataTransfer", payload)
    assert frames.parse(frames.result(message_id, payload)) == frames.Result(message_id, payload)


@given(ids, sendable)
def test_an_error_is_read_back(message_id, description):
    frame = frames.parse(frames.error(message_id, "GenericError", description))
    assert frame == frames.Error(message_id, "GenericError", description[:255], {})


def test_the_id_of_a_frame_that_the_fast_parser_refuses_is_found():
    for payload in ('{"a":NaN}', '{"a":-Infinity}', '{"a":1e999}', '{"a":"\\ud800"}', '{"a":"\t"}'):
        frame = frames.parse(f'[2,"id-1","MeterValues",{payload}]')
        assert frame == frames.Bad("id-1", frame.description, "FormationViolation", "MeterValues")


def test_a_null_character_is_found_in_keys_and_values_and_not_where_it_is_escaped():
    for payload in ('{"a\\u0000":1}', '{"a":["x",{"b":"\\u0000"}]}'):
        assert isinstance(frames.parse(f'[2,"i","DataTransfer",{payload}]'), frames.Bad)
    assert isinstance(frames.parse('[2,"i","DataTransfer",{"a":"\\\\u0000"}]'), frames.Call)


def test_depth_is_limited_where_brackets_are_in_texts_too():
    brackets = json.dumps([2, "i", "DataTransfer", {"data": "[" * 500}])
    assert isinstance(frames.parse(brackets), frames.Call)
    for nested in ("[" * 40 + "]" * 40, '{"a":' * 40 + "1" + "}" * 40):
        assert isinstance(frames.parse(f'[2,"i","DataTransfer",{{"data":{nested}}}]'), frames.Bad)


def test_a_frame_of_the_greatest_size_is_read_in_reasonable_time():
    for text in (
        "[" * frames.MAX_FRAME,
        '[2,"i","A",{"a":NaN,"b":[' + "1," * 400_000 + "1]}]",
        '"' + "\\ud800" * 150_000,
    ):
        began = time.perf_counter()
        assert isinstance(frames.parse(text), frames.Bad)
        assert time.perf_counter() - began < 0.5
