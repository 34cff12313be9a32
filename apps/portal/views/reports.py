"""The consumption report of a month, or of one invoice."""

from __future__ import annotations

import datetime as dt
from uuid import UUID
from zoneinfo import ZoneInfo

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from apps.billing.models import Invoice
from apps.billing.pdf import why_unavailable
from apps.core.csv import csv_response
from apps.portal.forms import ReportForm
from apps.portal.tables import ConsumptionTable
from apps.portal.views.pages import order_and_cut, page_for, show_page
from apps.reports import selectors
from apps.reports.documents import chart_of, consumption_pdf
from apps.reports.selectors import SEES_INVOICES


@page_for(SEES_INVOICES)
def report(request: HttpRequest) -> HttpResponseBase:
    """What was charged in a month, or stands on an invoice; of one card, driver or charger where `of` names it."""
    today = timezone.now().astimezone(ZoneInfo(request.brand.operator.time_zone)).date()
    form = ReportForm(request.GET, today=today)
    invoice = _invoice(request)
    if invoice is None:
        found = selectors.month_consumption(request.actor, form.month_shown, by=form.grouping)
    else:
        found = selectors.invoice_consumption(request.actor, invoice, by=form.grouping)
    of = request.GET.get("of", "")
    group = next((one for one in found.groups if one.key == of), None)
    rows = selectors.group_of(found, of) if group else found.rows
    table = ConsumptionTable(rows)
    order_and_cut(request, table)
    name, title = _name(form.month_shown, invoice), _title(form.month_shown, invoice)
    totals = group.totals if group else found.totals
    if request.GET.get("export") == "csv":
        return csv_response(name, table.export_rows())
    if request.GET.get("export") == "pdf" and not why_unavailable():
        of = group.name if group else ""
        content = consumption_pdf(found, rows, totals, title=title, of=of, brand=request.brand)
        return _file(name, content)
    context = {
        "title": title,
        "no_pdf": request.GET.get("export") == "pdf",
        "report": found,
        "form": form,
        "invoice": invoice,
        "month": form.month_shown,
        "earlier": (form.month_shown - dt.timedelta(days=1)).replace(day=1),
        "later": selectors.next_month(form.month_shown),
        "is_latest": form.month_shown >= today.replace(day=1),
        "group": group,
        "totals": totals,
        "table": table,
        "chart": chart_of(found),
    }
    return show_page(request, "portal/report.html", "report", context)


def _invoice(request: HttpRequest) -> Invoice | None:
    asked = request.GET.get("invoice", "")
    if not asked:
        return None
    try:
        public_id = UUID(asked)
    except ValueError as error:
        raise Http404("invoice") from error
    return get_object_or_404(selectors.visible_invoices(request.actor), public_id=public_id)


def _name(month: dt.date, invoice: Invoice | None) -> str:
    return f"consumption-{invoice.number if invoice else f'{month:%Y-%m}'}"


def _title(month: dt.date, invoice: Invoice | None) -> str:
    if invoice is not None:
        return _("Consumption on %(number)s") % {"number": invoice.number}
    # Translators: Django's date format characters.
    return _("Consumption in %(month)s") % {"month": date_format(month, _("F Y"))}


def _file(name: str, content: bytes) -> HttpResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}.pdf"', "X-Content-Type-Options": "nosniff"}
    return HttpResponse(content, content_type="application/pdf", headers=headers)
