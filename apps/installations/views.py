"""CSV in and out: a file is looked at first, then carried out in the background while a page shows how far it came."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _

from apps.core import live
from apps.core.admin import render_page
from apps.core.csv import csv_response
from apps.installations import selectors, services
from apps.installations.forms import ImportForm
from apps.installations.imports import KINDS, MAX_ROWS, Kind, UnusableFile
from apps.installations.models import DataImport


def import_page(request: HttpRequest, kind: str) -> HttpResponse:
    """Which columns there are, the export beside it, and the form for a file."""
    chosen = _kind(request, kind)
    form = ImportForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        upload = form.cleaned_data["file"]
        try:
            found = services.preview_import(
                actor=request.actor, kind=kind, file_name=upload.name, content=upload.read()
            )
        except UnusableFile as error:
            form.add_error("file", str(error))
        else:
            return redirect("installations:import_result", found.pk)
    return render_page(
        request,
        "backoffice/import.html",
        title=_("Import"),
        subtitle=chosen.title,
        kind=chosen,
        kinds=[one for one in KINDS.values() if _may(request, one)],
        form=form,
        max_rows=MAX_ROWS,
        earlier=selectors.imports_of(request.actor, kind=kind),
    )


def import_result(request: HttpRequest, import_id: int) -> HttpResponse:
    """What a file would do; once it was confirmed, how far it came and what was refused."""
    try:
        found = selectors.import_for_page(request.actor, import_id)
    except DataImport.DoesNotExist:
        raise Http404(import_id) from None
    chosen = _kind(request, found.kind)
    if request.method == "POST":
        try:
            services.start_import(actor=request.actor, data_import=found)
        except ValidationError as error:
            messages.warning(request, " ".join(error.messages))
        return redirect("installations:import_result", found.pk)
    topic = f"import.{found.pk}"
    return render_page(
        request,
        "backoffice/import_result.html",
        title=_("Import"),
        subtitle=found.file_name,
        found=found,
        kind=chosen,
        to_do=found.created + found.changed,
        percent=100 * found.position // max(found.total, 1),
        topics=topic,
        token=live.sign([topic], request.actor),
    )


def export(request: HttpRequest, kind: str) -> StreamingHttpResponse:
    """All rows of a kind that the actor sees, in the columns in which they come back."""
    chosen = KINDS.get(kind)
    if chosen is None:
        raise Http404(kind)
    if not request.actor.can(chosen.permissions[1].replace(".change_", ".view_")):
        raise PermissionDenied

    def rows() -> Any:
        yield [column.name for column in chosen.columns]
        yield from chosen.export(request.actor)

    return csv_response(chosen.name, rows())


def _kind(request: HttpRequest, name: str) -> Kind:
    kind = KINDS.get(name)
    if kind is None:
        raise Http404(name)
    if not _may(request, kind):
        raise PermissionDenied
    return kind


def _may(request: HttpRequest, kind: Kind) -> bool:
    return any(request.actor.can(right) for right in kind.permissions)
