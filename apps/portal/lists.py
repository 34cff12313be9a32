"""Base of the portal's tables: the database filters, sorts and cuts pages, a selector makes typed rows of a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import django_tables2 as tables
from django.db.models import QuerySet
from django_tables2.data import TableQuerysetData

EXPORT_CHUNK = 500
# The most rows of a file: a list with more is refused, as one cut short would pass for the whole.
EXPORT_ROWS = 20_000


class RowData(TableQuerysetData):
    """Table data of `build(page of a QuerySet)`; columns order by names of the QuerySet, and its key comes last."""

    def __init__(self, data: QuerySet[Any], build: Callable[[QuerySet[Any]], Sequence[Any]]) -> None:
        super().__init__(data)
        self.build = build

    def __getitem__(self, key: Any) -> Any:
        return self.build(self.rows[key])

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, EXPORT_ROWS, EXPORT_CHUNK):
            rows = self.build(self.rows[start : start + EXPORT_CHUNK])
            yield from rows
            if len(rows) < EXPORT_CHUNK:
                return

    @property
    def rows(self) -> QuerySet[Any]:
        """In an order without ties: else rows would come twice or never, from one part of the list to the next."""
        rows: QuerySet[Any] = self.data
        keys = rows.query.order_by
        return rows if {"pk", "-pk"}.intersection(keys) else rows.order_by(*keys, "pk")


class RowTable(tables.Table):
    """A table of typed rows. Subclasses name columns after the rows' attributes and set the texts below."""

    caption: Any = ""
    empty_title: Any = ""

    @property
    def row_count_text(self) -> str:
        """How many rows there are, as a sentence."""
        return self.count_text(self.page.paginator.count)

    def count_text(self, count: int) -> str:
        raise NotImplementedError

    @property
    def is_too_long(self) -> bool:
        """Whether it has more rows than a file takes."""
        return bool(self.page.paginator.count > EXPORT_ROWS)

    def export_rows(self) -> Iterator[list[Any]]:
        """Head and rows as plain values: what a `plain_<name>` method tells, else the attribute."""
        told = [column for column in self.columns if not column.column.exclude_from_export]
        names = [column.name for column in told]
        yield [str(column.header) for column in told]
        for row in self.data:
            yield [self.plain_value(name, row) for name in names]

    def plain_value(self, name: str, row: Any) -> Any:
        told = getattr(self, f"plain_{name}", None)
        return told(row) if told else getattr(row, name)
