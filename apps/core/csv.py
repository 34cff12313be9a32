"""CSV that a spreadsheet opens as text and never as a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.http import StreamingHttpResponse

BOM = "\ufeff"
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def safe_cell(value: Any) -> Any:
    """A text cell that a spreadsheet would run gets a leading apostrophe; numbers and dates stay as they are.

    One that begins with apostrophes before such a character gets one more, so that `plain_cell` is its exact inverse.
    """
    if isinstance(value, str):
        return f"'{value}" if _FORMULA.match(value) else value
    return "" if value is None else value


def plain_cell(text: str) -> str:
    """A text cell without exactly the apostrophe that `safe_cell` puts before it."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def rows_as_csv(rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """The lines of a CSV file, one at a time."""
    line = io.StringIO()
    writer = csv.writer(line)
    for row in rows:
        writer.writerow([safe_cell(value) for value in row])
        yield line.getvalue()
        line.seek(0)
        line.truncate()


def csv_response(name: str, rows: Iterable[Sequence[Any]]) -> StreamingHttpResponse:
    """A download `name.csv`, in UTF-8 with the mark by which spreadsheets know it."""
    response = StreamingHttpResponse(
        (BOM + text if number == 0 else text for number, text in enumerate(rows_as_csv(rows))),
        content_type="text/csv; charset=utf-8",
    )
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return response
