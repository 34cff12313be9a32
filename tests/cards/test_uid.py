"""One normal form for what readers make of a card."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.cards.uid import MAX_LENGTH, normalise, reversed_bytes

HEX = st.binary(min_size=1, max_size=10).map(lambda data: data.hex().upper())


@pytest.mark.parametrize(
    "sent",
    [
        "04A2B3C4",
        "04a2b3c4",
        "04:A2:B3:C4",
        "04-a2-b3-c4",
        "04 A2 B3 C4",
        " 04A2B3C4 ",
        "04A2B3C4000000",
        "0000000004A2B3C4",
    ],
)
def test_case_separators_and_padding_do_not_matter(sent: str):
    assert normalise(sent) == "04A2B3C4"


@pytest.mark.parametrize(
    ("sent", "normal"),
    [
        ("04A2B3C4D5E6F7000000", "04A2B3C4D5E6F7"),
        ("00000004A2B3C4D5E6F7", "04A2B3C4D5E6F7"),
        ("04A2B3C4D5E600", "04A2B3C4D5E600"),
        ("000000100000010", "10000001"),
        ("VID:001122334455", "VID:001122334455"),
        ("guest-1", "GUEST-1"),
        ("", ""),
    ],
)
def test_what_is_no_padding_stays(sent: str, normal: str):
    assert normalise(sent) == normal


def test_two_long_ids_that_begin_alike_do_not_become_one_card():
    one, two = "DE-ABC-" + "1" * 40 + "A", "DE-ABC-" + "1" * 40 + "B"
    assert normalise(one) != normalise(two)
    assert len(normalise(one)) == MAX_LENGTH


@given(st.one_of(st.text(max_size=60), st.text("0A:-", max_size=44)))
def test_normalising_twice_is_normalising_once_and_fits_the_column(uid: str):
    normal = normalise(uid)
    assert normalise(normal) == normal
    assert len(normal) <= MAX_LENGTH


@given(HEX)
def test_reversing_twice_gives_the_uid_again(uid: str):
    assert reversed_bytes(reversed_bytes(uid) or "") == uid


@pytest.mark.parametrize("uid", ["ABC", "GUEST", ""])
def test_what_is_not_whole_bytes_has_no_other_byte_order(uid: str):
    assert reversed_bytes(uid) is None
