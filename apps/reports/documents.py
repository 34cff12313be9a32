"""A report as a file: the lines of a CSV, the pages of a PDF."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.reports.selectors import ConsumptionRow

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
