"""Invoices and their files."""

from __future__ import annotations

from uuid import UUID

from django.http import FileResponse, Http404, HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404

from apps.portal import selectors
from apps.portal.filters import InvoiceFilter
from apps.portal.lists import RowData
from apps.portal.tables import InvoiceTable
from apps.portal.views.pages import list_page, page_for, show_page
from apps.reports.selectors import SEES_INVOICES, visible_invoices


@page_for(SEES_INVOICES)
def invoices(request: HttpRequest) -> HttpResponseBase:
    """All invoices and credit notes of the visitor's organisation."""
    chosen = InvoiceFilter(request.GET, visible_invoices(request.actor), request=request)
    table = InvoiceTable(RowData(chosen.qs, selectors.invoice_rows))
    return list_page(request, "invoices", table, chosen, template="portal/invoices.html")


@page_for(SEES_INVOICES)
def invoice(request: HttpRequest, public_id: UUID) -> HttpResponseBase:
    """One invoice in sums, with its file."""
    found = get_object_or_404(visible_invoices(request.actor), public_id=public_id)
    page = selectors.invoice_page(found)
    context = {"invoice": page.row, "page": page}
    return show_page(request, "portal/invoice.html", "invoices", context)


@page_for(SEES_INVOICES)
def invoice_file(request: HttpRequest, public_id: UUID) -> HttpResponseBase:
    """Its PDF, as a file to keep."""
    found = get_object_or_404(visible_invoices(request.actor), public_id=public_id)
    file = getattr(found, "file", None)
    if file is None:
        raise Http404("not drawn yet")
    return FileResponse(
        file.document.file.open("rb"),
        as_attachment=True,
        filename=f"{found.number}.pdf",
        content_type="application/pdf",
        headers={"X-Content-Type-Options": "nosniff"},
    )
