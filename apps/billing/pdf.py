"""An invoice's PDF, from nothing but its snapshot: the same snapshot makes the same bytes.

WeasyPrint needs libraries of the system. Where they are missing, everything but PDFs works, and `why_unavailable` says
what to install. It fetches nothing: pictures and fonts are given to it as `data:`.
"""

from __future__ import annotations

import atexit
import base64
import datetime as dt
import io
import re
import warnings
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from itertools import batched
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_skeleton
from babel.numbers import format_currency, format_decimal
from django.contrib.staticfiles import finders
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.translation import gettext as _
from PIL import Image, UnidentifiedImageError

from apps.billing.snapshots import fingerprint
from apps.core import money
from apps.tariffs.elements import Dimension

PACKAGES = "libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz0b libharfbuzz-subset0 libfontconfig1 libglib2.0-0"
FONTS = {400: "unfold/fonts/inter/Inter-Regular.woff2", 600: "unfold/fonts/inter/Inter-SemiBold.woff2"}
LINES_A_TABLE = 300  # a longer table costs more than its rows
DEFAULT_ACCENT = "#1d4ed8"
_LOCALES = {"en": "en_GB"}
_ACCENT = re.compile(r"#[0-9a-f]{6}")
# Marks that turn the direction of what follows, and characters that no font has.
_MARKS = re.compile("[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f\x7f]")


@cache
def why_unavailable() -> str:
    """Empty, or what is missing here to draw PDFs."""
    try:
        import weasyprint  # noqa: F401
    except (ImportError, OSError) as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return ""


def draw(snapshot: dict[str, Any], *, logo: bytes | None = None) -> bytes:
    """The PDF of an invoice or credit note. A logo that is no picture is left out."""
    return printed(page(snapshot, logo=logo), identifier=fingerprint(snapshot)[:16].encode())


def printed(html: str, *, identifier: bytes) -> bytes:
    """A page of ours as a PDF: the same text and identifier make the same bytes."""
    engine = _engine()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        content: bytes = engine.html(html).write_pdf(
            stylesheets=[engine.style], font_config=engine.fonts, pdf_identifier=identifier
        )
    return content


def page(snapshot: dict[str, Any], *, logo: bytes | None = None) -> str:
    """The HTML that is drawn, in the recipient's language."""
    language = snapshot["language"]
    with translation.override(language):
        words = _Words(language, snapshot["currency"])
        return render_to_string("billing/invoice.html", _context(without_marks(snapshot), words, logo))


def amount(value: Decimal, currency: str, language: str) -> str:
    """Money as the recipient writes it."""
    return _Words(language, currency).money(value)


# --- the engine -------------------------------------------------------------------------------------------------------
class _Engine:
    """WeasyPrint with our fonts, once a process: reading fonts costs more than a page."""

    def __init__(self) -> None:
        from weasyprint import CSS, HTML
        from weasyprint.text.fonts import FontConfiguration
        from weasyprint.urls import URLFetcher

        self._fetcher = URLFetcher(allowed_protocols=("data",), allow_redirects=False, fail_on_errors=False)
        self._html = HTML
        self.fonts = FontConfiguration()
        self.style = CSS(string=_faces(), font_config=self.fonts, url_fetcher=self._fetcher)

    def html(self, text: str) -> Any:
        return self._html(string=text, url_fetcher=self._fetcher)


@cache
def _engine() -> _Engine:
    atexit.register(_engine.cache_clear)  # its fonts are files, which it removes while Python still can
    return _Engine()


def _faces() -> str:
    return "".join(
        f"@font-face{{font-family:Inter;font-weight:{weight};src:url(data:font/woff2;base64,{_font(path)})}}"
        for weight, path in FONTS.items()
    )


def _font(path: str) -> str:
    found = finders.find(path)
    assert isinstance(found, str), f"{path} is not among the static files"
    with open(found, "rb") as file:
        return base64.b64encode(file.read()).decode()


def picture(content: bytes | None) -> str:
    """A PNG as `data:`, or nothing where it cannot be read."""
    if content is None:
        return ""
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            image.verify()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        return ""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


# --- the words of the page --------------------------------------------------------------------------------------------
class _Words:
    """Numbers, dates and countries as the recipient writes them."""

    def __init__(self, language: str, currency: str) -> None:
        self.locale = Locale.parse(_LOCALES.get(language, language))
        self.currency = currency

    def money(self, value: str | Decimal) -> str:
        return str(format_currency(Decimal(value), self.currency, locale=self.locale))

    def figure(self, value: str | Decimal) -> str:
        """An amount without its currency, which the head of the column names."""
        bare = format_currency(Decimal(value), self.currency, format="¤¤#,##0.00", locale=self.locale)
        return str(bare).replace(self.currency, "").strip("\u00a0 ")

    def price(self, value: str) -> str:
        """A unit price as it was used: no digit is dropped."""
        return str(format_decimal(Decimal(value), "#,##0.00####", self.locale, decimal_quantization=False))

    def quantity(self, value: str | Decimal, places: str = "00") -> str:
        return str(format_decimal(Decimal(value), f"#,##0.{places}", self.locale))

    def percent(self, value: str | None) -> str:
        return f"{format_decimal(Decimal(value), '0.##', self.locale)}\u00a0%" if value is not None else "–"

    def date(self, value: str) -> str:
        return str(format_date(dt.date.fromisoformat(value), "long", self.locale))

    def short_date(self, value: str) -> str:
        return str(format_date(dt.date.fromisoformat(value), "medium", self.locale))

    def month(self, value: str) -> str:
        return str(format_skeleton("yMMMM", dt.date.fromisoformat(value), locale=self.locale))

    def country(self, code: str) -> str:
        return str(self.locale.territories.get(code, code))


def without_marks(value: Any) -> Any:
    """Texts, also inside lists and mappings, without marks that would turn or break the text around a name."""
    if isinstance(value, str):
        return _MARKS.sub("", value)
    if isinstance(value, dict):
        return {name: without_marks(one) for name, one in value.items()}
    return [without_marks(one) for one in value] if isinstance(value, list) else value


def _context(snapshot: dict[str, Any], words: _Words, logo: bytes | None) -> dict[str, Any]:
    accent = snapshot["brand"]["accent"]
    cancels = snapshot["cancels"]
    return {
        **snapshot,
        "accent": accent if _ACCENT.fullmatch(accent) else DEFAULT_ACCENT,
        "logo": picture(logo),
        "is_credit_note": snapshot["kind"] == "credit_note",
        "issued_on": words.date(snapshot["issue_date"]),
        "period": _period(snapshot["period"], words),
        "cancelled": {**cancels, "issued_on": words.date(cancels["issue_date"])} if cancels else None,
        "seller": {**snapshot["seller"], "country_name": words.country(snapshot["seller"]["country"])},
        "buyer": _buyer(snapshot, words),
        "total": words.money(snapshot["gross"]),
        "net": words.money(snapshot["net"]),
        "sums": list(_sums(snapshot, words)),
        "rates": [
            {
                "percent": words.percent(row["percent"]),
                "net": words.money(row["net"]),
                "vat": words.money(row["vat"]),
            }
            for row in snapshot["rates"]
        ],
        "tables": [list(rows) for rows in batched((_row(line, words) for line in snapshot["lines"]), LINES_A_TABLE)],
        "supply_country": words.country(snapshot["country"]),
    }


def _period(days: list[str], words: _Words) -> str:
    first, last = (dt.date.fromisoformat(day) for day in days)
    whole_month = first.day == 1 and (last + dt.timedelta(days=1)).day == 1 and first.month == last.month
    if whole_month and first.year == last.year:
        return words.month(days[0])
    return f"{words.short_date(days[0])} – {words.short_date(days[1])}"


def _buyer(snapshot: dict[str, Any], words: _Words) -> dict[str, str]:
    buyer = snapshot["buyer"]
    abroad = buyer["country"] != snapshot["seller"]["country"]
    return {**buyer, "country_name": words.country(buyer["country"]) if abroad else ""}


def _sums(snapshot: dict[str, Any], words: _Words) -> Iterator[dict[str, str]]:
    """Sessions and base fees, each in one line above the VAT."""
    zero = Decimal(0)
    for kind, title in (("session", _("Charging sessions")), ("base_fee", _("Base fees"))):
        lines = [line for line in snapshot["lines"] if line["kind"] == kind]
        if not lines:
            continue
        energy = sum((Decimal(line["quantity"]) for line in lines if line["unit"] == "kwh"), zero)
        count = len({line.get("cdr") for line in lines})
        yield {
            "title": title,
            "detail": f"{count} · {words.quantity(str(energy))} kWh" if kind == "session" else "",
            "net": words.money(sum((Decimal(line["net"]) for line in lines), zero)),
        }


def _row(line: dict[str, Any], words: _Words) -> dict[str, Any]:
    row = {
        "position": line["position"],
        "net": words.figure(line["net"]),
        "percent": words.percent(line["percent"]),
        "quantity": words.quantity(line["quantity"]) if line["unit"] == "kwh" else "",
        "parts": [_part(part, words) for part in line.get("parts", [])],
        "date": words.short_date(line["supplied_on"]),
    }
    if line["kind"] == "base_fee":
        month = words.month(line["month"])
        return {**row, "title": _("Base fee %(month)s") % {"month": month}, "detail": line.get("contract", "")}
    names = (line.get("charger"), line.get("card"), line.get("driver"))
    return {
        **row,
        "title": ", ".join(filter(None, (line.get("place"), _city(line)))),
        "detail": " · ".join(filter(None, names)),
        "times": _times(line, words),
        "date": _start_date(line, words),
        "supplied": _other_supply_date(line, words),
        "note": _note(line),
    }


def _note(line: dict[str, Any]) -> str:
    """What is special about a session, if anything."""
    if line.get("credit"):
        return _("Taken back: the session was priced anew.")
    return _("The meter was silent when the price changed: divided evenly.") if line.get("interpolated") else ""


def _city(line: dict[str, Any]) -> str:
    """Where the place's name does not say it already."""
    city = line.get("city") or ""
    return "" if city.casefold() in (line.get("place") or "").casefold() else city


def _local(line: dict[str, Any], name: str) -> dt.datetime:
    return dt.datetime.fromisoformat(line[name]).astimezone(ZoneInfo(line["zone"]))


def _start_date(line: dict[str, Any], words: _Words) -> str:
    return words.short_date(_local(line, "since").date().isoformat())


def _other_supply_date(line: dict[str, Any], words: _Words) -> str:
    """The date of the supply, which decides month and VAT, where it is not the date on which the session began."""
    if line["supplied_on"] == _local(line, "since").date().isoformat():
        return ""
    return _("Supplied on %(day)s") % {"day": words.short_date(line["supplied_on"])}


def _times(line: dict[str, Any], words: _Words) -> str:
    """Start and end on the clock of the place, with its zone; how many days later it ended, if not on the same."""
    since, until = _local(line, "since"), _local(line, "until")
    days = (until.date() - since.date()).days
    later = f" (+{days})" if days else ""
    return f"{since:%H:%M} – {until:%H:%M}{later} {until.tzname()}"


def _part(part: dict[str, str], words: _Words) -> str:
    """A quantity and its unit price, as the amount was computed from them."""
    quantity, price = Decimal(part["quantity"]), words.price(part["price"]) if part["price"] else ""
    if part["dimension"] == Dimension.FLAT:
        shown = _("session fee") if abs(quantity) == 1 else f"{words.quantity(quantity, '####')} {_('session fees')}"
        return f"{shown} × {'-' if quantity == -1 else ''}{price}" if price else shown
    if part["dimension"] == Dimension.ENERGY:
        shown = f"{words.quantity(quantity, '00####')} kWh"
        return f"{shown} × {price}" if price else shown
    what = _("parked") if part["dimension"] == Dimension.PARKING_TIME else _("charging")
    shown = f"{_minutes(quantity)} min {what}"
    return f"{shown} × {price}/h" if price else shown


def _minutes(hours: Decimal) -> str:
    """Hours as minutes, with seconds where there are any: `25`, `25:30`."""
    minutes, seconds = divmod(int(money.half_up(abs(hours) * 3600, 0)), 60)
    sign = "-" if hours < 0 else ""
    return f"{sign}{minutes}:{seconds:02}" if seconds else f"{sign}{minutes}"
