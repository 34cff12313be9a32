"""Many rows in one statement: every kind of value arrives as it was sent, on both databases."""

from __future__ import annotations

import datetime as dt
import signal
import uuid

import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from apps.core import bulk
from tests.fuzz import examples

TABLE = bulk.Table(
    "bulk_trial",
    columns=("id", "number", "figure", "flag", "words", "at", "mark", "raw"),
    types=("bigint", "bigint", "float8", "bool", "text", "timestamptz", "uuid", "bytea"),
    conflict="ON CONFLICT DO NOTHING",
)
CHANGE = bulk.Update(
    "bulk_trial",
    keys=("id",),
    sets=("number", "words"),
    types=("bigint", "bigint", "text"),
    guard="t.number < v.number",
)

words = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=40)
times = st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(2100, 1, 1), timezones=st.just(dt.UTC))
rows = st.lists(
    st.tuples(
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.floats(allow_nan=False, allow_infinity=False),
        st.none() | st.booleans(),
        st.none() | words | st.sampled_from(['"', "\\", "{a,b}", "NULL", "", " ", "\t\n", "'"]),
        st.none() | times,
        st.none() | st.uuids(),
        st.binary(max_size=20),
    ),
    min_size=1,
    max_size=5,
)


@pytest.fixture(scope="module")
def table(django_db_setup, django_db_blocker):
    kinds = {"sqlite": ("datetime", "char(32)", "blob"), "postgresql": ("timestamptz", "uuid", "bytea")}
    time, mark, raw = kinds[connection.vendor]
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE bulk_trial (id bigint PRIMARY KEY, number bigint, figure double precision, flag bool, "
            f"words text, at {time}, mark {mark}, raw {raw})"
        )
    yield
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("DROP TABLE bulk_trial")


@pytest.mark.usefixtures("table")
class BulkTest(TestCase):
    @settings(max_examples=examples(60), deadline=None)
    @given(rows)
    def test_rows_arrive_as_sent(self, sent):
        bulk.insert_rows(connection, TABLE, [(index, *row) for index, row in enumerate(sent)])
        for condition in ("= ANY(%s::bigint[])", "IN (SELECT unnest(%s::bigint[]))"):
            query = f"SELECT * FROM bulk_trial WHERE id {condition} ORDER BY id"
            assert [_plain(row[1:]) for row in bulk.fetch_rows(connection, query, [*range(9)])] == sent

    def test_a_member_of_an_enumeration_is_its_number(self):
        bulk.insert_rows(connection, TABLE, [(1, signal.SIGTERM, None, None, None, None, None, b"")])
        bulk.insert_rows(connection, TABLE, [(n, None, None, None, None, None, None, b"") for n in (2, 3)])
        found = bulk.fetch_rows(connection, "SELECT number FROM bulk_trial ORDER BY id")
        assert found == [(15,), (None,), (None,)]

    def test_a_row_that_conflicts_is_left_alone(self):
        row = (1, 1, 1.0, True, "first", None, None, b"")
        bulk.insert_rows(connection, TABLE, [row])
        bulk.insert_rows(connection, TABLE, [(1, 2, 2.0, False, "second", None, None, b"x")])
        assert bulk.fetch_rows(connection, "SELECT words FROM bulk_trial") == [("first",)]

    def test_a_guard_keeps_older_values_from_overwriting_newer(self):
        bulk.insert_rows(connection, TABLE, [(n, 5, None, None, "old", None, None, b"") for n in (1, 2)])
        bulk.update_rows(connection, CHANGE, [(1, 6, "newer"), (2, 4, "older")])
        assert bulk.fetch_rows(connection, "SELECT words FROM bulk_trial ORDER BY id") == [("newer",), ("old",)]


def _plain(row):
    number, figure, flag, text, at, mark, raw = row
    flag = None if flag is None else bool(flag)
    mark = None if mark is None else uuid.UUID(str(mark))
    return (number, figure, flag, text, bulk.aware(at), mark, bytes(raw))
