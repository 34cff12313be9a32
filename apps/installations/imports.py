"""CSV in and out, by natural keys inside the tenant and never by ids: what another tenant has is simply not known.

A `Kind` names its columns and says for each row what is to be done (`judge`, without a query a row: `load` reads for a
whole chunk). Reading and judging change nothing; `write` does one row in a transaction of its own: an import that was
interrupted goes on where it stopped, and a repeated row changes nothing. An empty cell leaves a value as it is.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.core.actor import Actor
from apps.core.csv import plain_cell
from apps.core.models import in_calendar

MAX_BYTES = 5 * 1024 * 1024
MAX_ROWS = 20_000
MAX_CELL = 2000
CHUNK = 500

Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `needed` for new rows."""

    name: str
    needed: bool = False
    help: Promise | str = ""


@dataclass(slots=True)
class Verdict:
    """What is to be done with one row. Action: create, change, same or refuse. `told` are the file's own words for
    values that say nothing as text."""

    line: int
    key: str
    action: str
    values: dict[str, Any] = field(default_factory=dict)
    target: Any = None
    reasons: list[str] = field(default_factory=list)
    before: dict[str, Any] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of rows. `permissions` are those to add and to change; `load(actor, rows)` gives what `judge` knows."""

    name: str
    title: Promise | str
    columns: tuple[Column, ...]
    permissions: tuple[str, str]
    load: Callable[[Actor, list[Row]], Any]
    judge: Callable[[Any, Row], Verdict]
    write: Callable[[Actor, Verdict], None]
    export: Callable[[Actor], Iterator[list[Any]]]


KINDS: dict[str, Kind] = {}


def offer(kind: Kind) -> Kind:
    """Let this kind be imported and exported."""
    KINDS[kind.name] = kind
    return kind


class UnusableFile(ValueError):
    """The file as a whole cannot be read; the message says why and what to do."""


def read_file(content: bytes, kind: Kind) -> list[tuple[int, Row]]:
    """The rows with their line numbers. Raises UnusableFile."""
    if len(content) > MAX_BYTES:
        raise UnusableFile(_("The file is larger than 5 MB. Split it."))
    text = _decoded(content)
    if "\x00" in text:
        raise UnusableFile(_("This is not a CSV file: save the table as CSV first."))
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=_delimiter(text), restkey="", strict=True)
    try:
        _check_head(list(reader.fieldnames or []), kind)
        names = {column.name for column in kind.columns}
        rows: list[tuple[int, Row]] = []
        for found in reader:
            row = {name: plain_cell((value or "").strip()) for name, value in found.items() if name in names}
            if any(row.values()):
                rows.append((reader.line_num, row))
            if len(rows) > MAX_ROWS:
                raise UnusableFile(_("The file has more than 20,000 rows. Split it."))
    except csv.Error as error:
        raise UnusableFile(_("The file cannot be read as CSV: %(error)s.") % {"error": error}) from error
    if not rows:
        raise UnusableFile(_("The file has no rows below its head."))
    return rows


def judge_rows(kind: Kind, actor: Actor, rows: Iterable[tuple[int, Row]]) -> Iterator[Verdict]:
    """What would be done, row by row. A key that stands in the file twice is refused the second time."""
    seen: set[str] = set()
    for chunk in _chunks(list(rows)):
        known = kind.load(actor, [row for _line, row in chunk])
        for line, row in chunk:
            verdict = _judged(kind, known, actor, row)
            verdict.line = line
            if verdict.action != "refuse" and verdict.key.casefold() in seen:
                verdict.action, verdict.reasons = "refuse", [_("This stands in the file twice.")]
            seen.add(verdict.key.casefold())
            yield verdict


def _judged(kind: Kind, known: Any, actor: Actor, row: Row) -> Verdict:
    if too_long := [name for name, value in row.items() if len(value) > MAX_CELL]:
        return refuse("", _("Too long: %(columns)s.") % {"columns": ", ".join(too_long)})
    verdict = kind.judge(known, row)
    if verdict.action == "create":
        missing = [column.name for column in kind.columns if column.needed and not row.get(column.name)]
        if missing:
            return refuse(verdict.key, _("Needed for a new row: %(columns)s.") % {"columns": ", ".join(missing)})
    right = {"create": kind.permissions[0], "change": kind.permissions[1]}.get(verdict.action)
    if right is not None and not actor.can(right):
        return refuse(verdict.key, _("Your role does not allow this."))
    return verdict


def _chunks(rows: list[tuple[int, Row]]) -> Iterator[list[tuple[int, Row]]]:
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]


def _decoded(content: bytes) -> str:
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise UnusableFile(_("The file's characters cannot be read. Save it as CSV in UTF-8."))


def _delimiter(text: str) -> str:
    head = text.partition("\n")[0]
    return ";" if head.count(";") > head.count(",") else ","


def _check_head(head: list[str], kind: Kind) -> None:
    names = [column.name for column in kind.columns]
    unknown = [name for name in head if name and name not in names]
    if unknown:
        told = {"unknown": ", ".join(unknown[:5]), "known": ", ".join(names)}
        raise UnusableFile(_("These columns are not known: %(unknown)s. Known are: %(known)s.") % told)
    if len(set(head)) != len(head):
        raise UnusableFile(_("A column stands in the head twice."))
    if names[0] not in head:
        raise UnusableFile(_("The column %(name)s is missing in the first line.") % {"name": names[0]})


# --- what kinds share -------------------------------------------------------------------------------------------------
def refuse(key: str, *reasons: str) -> Verdict:
    return Verdict(0, key, "refuse", reasons=list(reasons))


def judge_fields(key: str, instance: models.Model, values: Mapping[str, Any], *, new: bool) -> Verdict:
    """Compare `values` (column of the model → value or text) with the row, and check them as the model does.

    Nothing is queried: uniqueness is what the kind looked up, related rows come as rows.
    """
    before = {} if new else {name: getattr(instance, name) for name in values}
    reasons = []
    for name, value in values.items():
        column = instance._meta.get_field(name)
        assert isinstance(column, models.Field)
        try:
            typed = value if isinstance(value, models.Model | None) else column.clean(value, instance)
            if isinstance(typed, dt.date):
                in_calendar(typed)
        except ValidationError as error:
            reasons.append(f"{name}: {' '.join(error.messages)}")
        else:
            setattr(instance, name, typed)
    if reasons:
        return refuse(key, *reasons)
    checked = {name: getattr(instance, name) for name in values}
    if new:
        return Verdict(0, key, "create", values=checked, target=instance)
    changed = {name: value for name, value in checked.items() if value != before[name]}
    if not changed:
        return Verdict(0, key, "same", target=instance)
    return Verdict(0, key, "change", values=changed, target=instance, before={name: before[name] for name in changed})


def given(row: Row, *names: str) -> dict[str, str]:
    """The cells of these columns that are not empty."""
    return {name: row[name] for name in names if row.get(name)}


def choice(value: str, choices: type[models.TextChoices], reasons: list[str], column: str) -> str | None:
    """The value of a choice, typed as value or label in any case; else None and a reason."""
    for one in choices:
        if value.casefold() in (one.value.casefold(), str(one.label).casefold()):
            return one.value
    known = ", ".join(one.value for one in choices)
    reasons.append(
        _("%(column)s: %(value)s is none of %(known)s.") % {"column": column, "value": value, "known": known}
    )
    return None


_YES, _NO = ("yes", "true", "1", "ja"), ("no", "false", "0", "nein")


def yes_or_no(value: str, reasons: list[str], column: str) -> bool | None:
    if value.casefold() in (*_YES, *_NO):
        return value.casefold() in _YES
    reasons.append(_("%(column)s: write yes or no.") % {"column": column})
    return None


NOT_KNOWN = gettext_lazy("%(column)s: %(value)s is not known here.")


def by_name(rows: Iterable[Any], name: str) -> dict[str, Any]:
    """Rows by the lower-case form of one of their texts."""
    return {str(getattr(one, name)).lower(): one for one in rows}


def related(value: str, known: dict[str, Any], reasons: list[str], column: str) -> Any:
    """The row of this name among those that the tenant has; else None and a reason."""
    found = known.get(value.lower())
    if found is None:
        reasons.append(NOT_KNOWN % {"column": column, "value": value})
    return found
