"""One statement a table for many rows, on PostgreSQL (`unnest`) and SQLite (`executemany`).

For the gateway's batches, where the ORM's cost a row is what a message costs. Rows are tuples in the order of the
columns given; values are what the database driver takes (int, str, bytes, float, datetime in UTC, None).
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import re
import struct
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.adapt import Dumper
from psycopg.pq import Format

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Table:
    """Where rows go. `types` are PostgreSQL's names, one a column, for the casts that keep indexes usable."""

    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    conflict: str = ""
    _statements: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.columns) != len(self.types):
            raise ValueError(f"{self.name}: {len(self.columns)} columns, {len(self.types)} types")


@dataclass(frozen=True)
class Update:
    """A guarded UPDATE of many rows. `keys` find the row; `sets` are new values; `guard` is SQL over `t` (the row) and
    `v` (the new values), so that older never overwrites newer."""

    name: str
    keys: tuple[str, ...]
    sets: tuple[str, ...]
    types: tuple[str, ...]
    expressions: tuple[tuple[str, str], ...] = ()
    guard: str = ""
    _statements: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def columns(self) -> tuple[str, ...]:
        return self.keys + self.sets

    def __post_init__(self) -> None:
        if len(self.columns) != len(self.types):
            raise ValueError(f"{self.name}: {len(self.columns)} columns, {len(self.types)} types")


def insert_rows(connection: BaseDatabaseWrapper, table: Table, rows: Sequence[Row]) -> None:
    """INSERT all rows; `table.conflict` is the ON CONFLICT clause, if any."""
    if not rows:
        return
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(_pg_insert(table), _arrays(rows, table.types))
        else:
            cursor.executemany(_sqlite_insert(table), [_sqlite_row(row) for row in rows])


def update_rows(connection: BaseDatabaseWrapper, update: Update, rows: Sequence[Row]) -> None:
    """UPDATE all rows, each key at most once (PostgreSQL would pick one of two at random)."""
    if not rows:
        return
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(_pg_update(update), _arrays(rows, update.types))
        else:
            cursor.executemany(_sqlite_update(update), [_sqlite_row(row) for row in rows])


def fetch_rows(connection: BaseDatabaseWrapper, sql: str, *params: Any) -> list[Row]:
    """Rows of a query whose list parameters are written `= ANY(%s::type[])`, or for hundreds of values
    `IN (SELECT unnest(%s::type[]))`, which PostgreSQL never looks through once a row. Also on SQLite (as JSON)."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.cursor.format = Format.BINARY  # half the cost of texts, on both sides
            cursor.execute(sql, [_pg_parameter(value) for value in params])
            return list(cursor.fetchall())
        cursor.execute(_sqlite_query(sql), [_sqlite_parameter(value) for value in params])
        return list(cursor.fetchall())


def lock_rows(
    connection: BaseDatabaseWrapper, table: str, key: str, ids: Iterable[int], *, skip_locked: bool = False
) -> list[int]:
    """Lock rows in key order, so that no two batches wait for each other (PostgreSQL; SQLite has one writer).
    Returns the ids locked: without those held elsewhere if `skip_locked`."""
    wanted = sorted(set(ids))
    if connection.vendor != "postgresql" or not wanted:
        return wanted
    skip = " SKIP LOCKED" if skip_locked else ""
    sql = f"SELECT {key} FROM {table} WHERE {key} = ANY(%s::bigint[]) ORDER BY {key} FOR NO KEY UPDATE{skip}"
    return [row[0] for row in fetch_rows(connection, sql, wanted)]


def aware(value: dt.datetime | None) -> dt.datetime | None:
    """A time from `fetch_rows`: aware UTC on both databases (SQLite's driver gives naive ones)."""
    if value is None or value.tzinfo is not None:
        return value
    return value.replace(tzinfo=dt.UTC)


def _pg_parameter(value: Any) -> Any:
    """A list of numbers or of texts as PostgreSQL's array literal; see `_arrays`."""
    if type(value) is not list:
        return value
    return _text_array(value) if value and type(value[0]) is str else _number_array(value)


def _arrays(rows: Sequence[Row], types: tuple[str, ...]) -> list[str | bytes]:
    """The rows' columns as PostgreSQL's array literals: half the cost of letting the driver dump lists."""
    return [_ARRAY.get(kind, _text_array)(column) for column, kind in zip(zip(*rows, strict=True), types, strict=True)]


def _number_array(column: Sequence[Any]) -> str:
    text = str(column)
    if "<" in text:  # members of an enumeration, which print their names
        text = str([value if value is None else int(value) for value in column])
    return f"{{{text[1:-1].rstrip(',').replace('None', 'NULL')}}}"


class _Times(bytes):
    """A `timestamptz[]` as PostgreSQL sends it; a third of the cost of ISO texts, on both sides."""


class _TimesDumper(Dumper):
    format = Format.BINARY
    oid = psycopg.postgres.types["timestamptz"].array_oid

    def dump(self, obj: bytes) -> bytes:
        return obj


psycopg.adapters.register_dumper(_Times, _TimesDumper)

_SINCE = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_TIME, _NULL = struct.Struct(">iq").pack, struct.pack(">i", -1)


def _time_array(column: Row) -> _Times:
    # One dimension, perhaps with NULLs, of this type and length, counted from 1.
    head = struct.pack(">iiIii", 1, 1, psycopg.postgres.types["timestamptz"].oid, len(column), 1)
    times = [_NULL if value is None else _TIME(8, (value - _SINCE) // _MICROSECOND) for value in column]
    return _Times(head + b"".join(times))


def _uuid_array(column: Row) -> str:
    return f"{{{','.join(['NULL' if value is None else str(value) for value in column])}}}"


def _bytes_array(column: Row) -> str:
    return f"{{{','.join([f'"{_HEX}{value.hex()}"' for value in column])}}}"


def _text_array(column: Sequence[Any]) -> str:
    return f"{{{','.join(['NULL' if value is None else _quoted(value) for value in column])}}}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_HEX = "\\\\x"
_ARRAY: dict[str, Callable[[Row], str | bytes]] = {
    "timestamptz": _time_array,
    "uuid": _uuid_array,
    "bytea": _bytes_array,
    **dict.fromkeys(("bigint", "int", "smallint", "float8", "bool", "boolean"), _number_array),
}


def _pg_insert(table: Table) -> str:
    if "pg" not in table._statements:
        columns = ", ".join(table.columns)
        arrays = ", ".join(f"%s::{kind}[]" for kind in table.types)
        table._statements["pg"] = (
            f"INSERT INTO {table.name} ({columns}) SELECT * FROM unnest({arrays}) {table.conflict}"
        )
    return table._statements["pg"]


def _sqlite_insert(table: Table) -> str:
    if "sqlite" not in table._statements:
        columns = ", ".join(table.columns)
        marks = ", ".join(["%s"] * len(table.columns))
        table._statements["sqlite"] = f"INSERT INTO {table.name} ({columns}) VALUES ({marks}) {table.conflict}"
    return table._statements["sqlite"]


def _assignments(update: Update) -> str:
    plain = [f"{column} = v.{column}" for column in update.sets if column not in dict(update.expressions)]
    return ", ".join([*plain, *(f"{column} = {expression}" for column, expression in update.expressions)])


def _where(update: Update) -> str:
    keys = " AND ".join(f"t.{column} = v.{column}" for column in update.keys)
    return f"{keys} AND ({update.guard})" if update.guard else keys


def _pg_update(update: Update) -> str:
    if "pg" not in update._statements:
        arrays = ", ".join(f"%s::{kind}[]" for kind in update.types)
        update._statements["pg"] = (
            f"UPDATE {update.name} AS t SET {_assignments(update)} "
            f"FROM unnest({arrays}) AS v ({', '.join(update.columns)}) WHERE {_where(update)}"
        )
    return update._statements["pg"]


def _sqlite_update(update: Update) -> str:
    if "sqlite" not in update._statements:
        values = ", ".join(f"%s AS {column}" for column in update.columns)
        update._statements["sqlite"] = (
            f"UPDATE {update.name} AS t SET {_assignments(update)} FROM (SELECT {values}) AS v WHERE {_where(update)}"
        )
    return update._statements["sqlite"]


@functools.cache
def _sqlite_query(sql: str) -> str:
    for kind in ("bigint", "text"):
        for written in (f"= ANY(%s::{kind}[])", f"IN (SELECT unnest(%s::{kind}[]))"):
            sql = sql.replace(written, "IN (SELECT value FROM json_each(%s))")
    return re.sub(r" FOR NO KEY UPDATE( OF [\w, ]+)?", "", sql)


def _sqlite_parameter(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list) else _sqlite_value(value)


def _sqlite_row(row: Row) -> Row:
    return tuple(_sqlite_value(value) for value in row)


def _sqlite_value(value: Any) -> Any:
    # Django's SQLite stores aware UTC datetimes as naive text and UUIDs as 32 hex digits.
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).replace(tzinfo=None).isoformat(sep=" ")
    if isinstance(value, uuid.UUID):
        return value.hex
    return value
