"""Files of rows: looked at, confirmed, and carried out bit by bit."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import replace
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import models, transaction
from django.db.models import F
from django.utils.translation import gettext as _
from django_q.tasks import async_task

from apps.accounts.services import record_audit
from apps.core import live
from apps.core.actor import Actor, Kind
from apps.installations.imports import KINDS, Verdict, judge_rows, read_file
from apps.installations.models import DataImport, ImportState

REFUSED_KEPT = 500
SAMPLE_KEPT = 100
PROGRESS_EVERY = 50
# A task does this much and enqueues its own continuation: tasks have a time limit.
WORK_S = 20.0


def preview_import(*, actor: Actor, kind: str, file_name: str, content: bytes) -> DataImport:
    """Read a file and say what it would do; nothing is done. Raises UnusableFile, PermissionDenied."""
    chosen = KINDS[kind]
    if actor.operator_id is None or not any(actor.can(right) for right in chosen.permissions):
        raise PermissionDenied
    rows = read_file(content, chosen)
    found = DataImport(
        operator_id=actor.operator_id,
        kind=kind,
        file_name=file_name[:120],
        user_id=actor.user_id if actor.kind is Kind.SESSION else None,
        total=len(rows),
    )
    for row, verdict in zip(rows, judge_rows(chosen, actor, rows), strict=True):
        _count(found, verdict)
        if verdict.action != "refuse":
            found.rows.append(row)
    found.save(force_insert=True)
    return found


def start_import(*, actor: Actor, data_import: DataImport) -> None:
    """Carry out what was shown, in the background: a row that was refused stays so, whatever changed meanwhile; what
    became wrong since is refused then."""
    if not any(actor.can(right) for right in KINDS[data_import.kind].permissions):
        raise PermissionDenied
    with transaction.atomic():
        rows = DataImport.objects.visible_to(actor).filter(pk=data_import.pk, state=ImportState.PREVIEW)
        counted = {"created": 0, "changed": 0, "unchanged": 0, "position": F("refused_count")}
        if not rows.update(state=ImportState.RUNNING, sample=[], **counted):
            raise ValidationError(_("This import was started already."))
        record_audit(
            actor=actor,
            action="import.started",
            target=data_import,
            after={"kind": data_import.kind, "file": data_import.file_name, "rows": data_import.total},
        )
        async_task("apps.installations.tasks.run_import", data_import.pk, sorted(actor.permissions))


def continue_import(*, import_id: int, permissions: list[str], now: dt.datetime) -> bool:
    """Do a part of it; True when all of it is done. A part that is repeated changes nothing twice."""
    data_import = DataImport.objects.unscoped("the task's own import").select_related("user").get(pk=import_id)
    if data_import.state != ImportState.RUNNING:
        return True
    actor = _importer(data_import, permissions)
    kind, until = KINDS[data_import.kind], time.monotonic() + WORK_S
    while left := data_import.total - data_import.position:
        chunk = data_import.rows[-left:][:PROGRESS_EVERY]
        for verdict in judge_rows(kind, actor, [(line, cells) for line, cells in chunk]):
            _count(data_import, _done(actor, verdict, data_import.kind))
        data_import.position += len(chunk)
        _save_progress(data_import)
        if left > len(chunk) and time.monotonic() > until:
            return False
    data_import.state, data_import.finished_at, data_import.rows = ImportState.DONE, now, []
    data_import.save(update_fields=["state", "finished_at", "rows"])
    live.touch(f"import.{data_import.pk}", f"operator.{data_import.operator_id}")
    return True


def change_imported(*, actor: Actor, row: models.Model, values: dict[str, Any], before: dict[str, Any]) -> None:
    """Write changed columns of a row that a file names. `before` is for the history. Raises ValidationError."""
    if not actor.can(f"{row._meta.app_label}.change_{row._meta.model_name}"):
        raise PermissionDenied
    with transaction.atomic():
        row.clean()
        row.validate_constraints()
        row.save(update_fields=list(values))
        record_audit(
            actor=actor,
            action=f"{row._meta.model_name}.imported",
            target=row,
            before={name: str(value) for name, value in before.items()},
            after={name: str(value) for name, value in values.items()},
        )


def _done(actor: Actor, verdict: Verdict, kind: str) -> Verdict:
    """Carry one row out; what the service refuses becomes a refusal of the row."""
    if verdict.action not in ("create", "change"):
        return verdict
    try:
        KINDS[kind].write(actor, verdict)
    except ValidationError as error:
        verdict.action, verdict.reasons = "refuse", error.messages
    return verdict


def _count(data_import: DataImport, verdict: Verdict) -> None:
    column = {"create": "created", "change": "changed", "same": "unchanged", "refuse": "refused_count"}[verdict.action]
    setattr(data_import, column, getattr(data_import, column) + 1)
    if verdict.action == "refuse" and len(data_import.refused) < REFUSED_KEPT:
        data_import.refused.append([verdict.line, verdict.key, verdict.reasons])
    if verdict.action in ("create", "change") and len(data_import.sample) < SAMPLE_KEPT:
        told = {name: str(value) for name, value in verdict.values.items()} | verdict.told
        values = [[name, str(verdict.before.get(name, "") or ""), told[name]] for name in verdict.values]
        data_import.sample.append([verdict.line, verdict.action, verdict.key, values])


def _save_progress(data_import: DataImport) -> None:
    columns = ("position", "created", "changed", "unchanged", "refused_count", "refused", "sample")
    data_import.save(update_fields=list(columns))
    live.touch(f"import.{data_import.pk}")


def _importer(data_import: DataImport, permissions: list[str]) -> Actor:
    """Who uploaded it, with the rights held when it was confirmed."""
    label = data_import.user.email if data_import.user else "import"
    actor = Actor.system(data_import.operator_id, why=label)
    return replace(actor, kind=Kind.SESSION, user=data_import.user, permissions=frozenset(permissions))
