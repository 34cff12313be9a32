"""A spreadsheet shows our text and runs none of it."""

from __future__ import annotations

import csv
import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.csv import rows_as_csv, safe_cell


@pytest.mark.parametrize("text", ["=cmd()", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_text_that_would_run_gets_an_apostrophe(text):
    assert safe_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", [-1, Decimal("-1.5"), dt.date(2026, 1, 1), "plain", "a=b", ""])
def test_numbers_dates_and_plain_text_stay_as_they_are(value):
    assert safe_cell(value) == value


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r\n")), min_size=1))
def test_every_row_can_be_read_back(cells):
    [row] = csv.reader(rows_as_csv([cells]))
    assert [cell.removeprefix("'") for cell in row] == [cell.removeprefix("'") for cell in cells]
