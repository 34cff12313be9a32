"""A report as a file: the lines of a CSV, the pages of a PDF."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import batched
from typing import Any

from django.template.loader import render_to_string
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _

from apps.accounts.models import Brand
from apps.billing.pdf import picture, printed, without_marks
from apps.reports.charts import consumption_bars
from apps.reports.rows import ConsumptionRow
from apps.reports.selectors import Consumption, Totals

# A PDF is drawn while somebody waits: so many rows, and a sentence that the CSV has all of them.
ROWS_PRINTED = 400
ROWS_A_TABLE = 300  # a longer table costs more than its rows
KINDS = {"session": gettext_lazy("session"), "credit": gettext_lazy("credit"), "fee": gettext_lazy("base fee")}


def consumption_lines(rows: Iterable[ConsumptionRow]) -> Iterator[list[Any]]:
    """Head and rows for a CSV: dates and numbers as machines read them."""
    yield [
        _("Date"),
        _("Start"),
        _("Kind"),
        _("Card"),
        _("Driver"),
        _("Location"),
        _("Charger"),
        _("Energy (Wh)"),
        _("Price, net"),
        _("Currency"),
        _("Invoice"),
        _("Not billed because"),
    ]
    for row in rows:
        yield [
            row.day.isoformat(),
            row.started_at.isoformat() if row.started_at else "",
            str(KINDS[row.kind]),
            row.card,
            row.driver,
            row.place,
            row.charger,
            row.energy_wh,
            row.net,
            row.currency,
            row.invoice.number if row.invoice else "",
            row.why,
        ]


def chart_of(report: Consumption) -> str:
    """The month's bars, for the page and the document alike."""
    settled = _("on an invoice or free") if report.has_free else _("on an invoice")
    return consumption_bars(report.bars, title=_("Energy by day"), names=(settled, _("not billed yet")))


def consumption_pdf(
    report: Consumption, rows: list[ConsumptionRow], totals: Totals, *, title: str, of: str, brand: Brand
) -> bytes:
    """The report as a document in the brand's look and the reader's language. `of` names the one group that is shown,
    or nothing."""
    html = consumption_page(report, rows, totals, title=title, of=of, brand=brand)
    return printed(html, identifier=hashlib.sha256(html.encode()).hexdigest()[:16].encode())


def consumption_page(
    report: Consumption, rows: list[ConsumptionRow], totals: Totals, *, title: str, of: str, brand: Brand
) -> str:
    """The HTML that is drawn, without marks that would turn the text around a name."""
    html: str = without_marks(
        render_to_string(
            "reports/consumption.html",
            {
                "language": get_language(),
                "title": title,
                "of": of,
                "brand": brand,
                "logo": _logo(brand),
                "report": report,
                "totals": totals,
                "chart": "" if of else chart_of(report),
                "grouped_by": _GROUPED_BY[report.by],
                "tables": list(batched(rows[:ROWS_PRINTED], ROWS_A_TABLE)),
                "left_out": max(len(rows) - ROWS_PRINTED, 0),
            },
        )
    )
    return html


_GROUPED_BY = {"card": gettext_lazy("Card"), "driver": gettext_lazy("Driver"), "charger": gettext_lazy("Charger")}


def _logo(brand: Brand) -> str:
    """The logo as `data:`, as a document fetches nothing; empty where there is none to be read, or no picture."""
    if not brand.logo_light:
        return ""
    try:
        with brand.logo_light.open("rb") as file:
            return picture(file.read())
    except OSError:
        return ""
