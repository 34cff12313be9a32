"""All that an invoice shows, frozen when it becomes final: plain JSON, from which alone its PDF is drawn.

Amounts and quantities are text, instants UTC in ISO form; places and countries keep their codes, which the page turns
into the recipient's words. A logo is kept as a document of its own, named by its fingerprint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import orjson
from django.core.files.base import ContentFile

from apps.accounts.models import Brand, Document, Seller, SellerRegistration
from apps.billing.models import Invoice, InvoiceLine
from apps.billing.totals import Totals
from apps.contracts.models import BillingAccount
from apps.core.actor import Actor

FORM = 1  # of the snapshot; a page that draws old ones asks for it
_LOGO = "logo.png"


def snapshot_of(
    invoice: Invoice,
    registration: SellerRegistration,
    lines: Iterable[InvoiceLine],
    sums: Totals,
    brand: dict[str, Any],
) -> dict[str, Any]:
    """Everything but number and issue date, which come last: `numbered`."""
    return {
        "form": FORM,
        "public_id": str(invoice.public_id),
        "kind": invoice.kind,
        "language": invoice.account.language,
        "currency": invoice.currency,
        "country": invoice.country,
        "period": [invoice.period_from.isoformat(), invoice.period_to.isoformat()],
        "seller": _seller(invoice.seller, registration),
        "buyer": _buyer(invoice.account),
        "brand": brand,
        "lines": [_line(line) for line in lines],
        "rates": [
            {"percent": f"{row.percent.normalize():f}", "net": str(row.net), "vat": str(row.vat)} for row in sums.rates
        ],
        "net": str(sums.net),
        "vat": str(sums.vat),
        "gross": str(sums.gross),
    }


def numbered(snapshot: dict[str, Any], invoice: Invoice) -> dict[str, Any]:
    """The snapshot with the number and the date that the invoice was given."""
    assert invoice.issue_date is not None
    cancels = invoice.cancels
    return {
        **snapshot,
        "number": invoice.number,
        "issue_date": invoice.issue_date.isoformat(),
        "cancels": {"number": cancels.number, "issue_date": str(cancels.issue_date)} if cancels else None,
    }


def fingerprint(snapshot: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON."""
    return hashlib.sha256(orjson.dumps(snapshot, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _seller(seller: Seller, registration: SellerRegistration) -> dict[str, str]:
    return {
        "name": seller.legal_name,
        "street": seller.street,
        "postal_code": seller.postal_code,
        "city": seller.city,
        "country": seller.country,
        "email": seller.email,
        "vat_id": registration.vat_id,
        "tax_number": "" if registration.vat_id else seller.tax_number,
    }


def _buyer(account: BillingAccount) -> dict[str, str]:
    names = ("number", "name", "addition", "street", "postal_code", "city", "country", "vat_id", "reference")
    return {name: getattr(account, name) for name in names}


def _line(line: InvoiceLine) -> dict[str, Any]:
    return {
        **line.text,
        "position": line.position,
        "kind": line.kind,
        "since": line.since.isoformat() if line.since else None,
        "until": line.until.isoformat() if line.until else None,
        "supplied_on": line.supplied_on.isoformat(),
        "quantity": f"{line.quantity.normalize():f}",
        "unit": line.unit,
        "net": str(line.net),
        "percent": f"{line.vat_percent.normalize():f}" if line.vat_percent is not None else None,
        "country": line.country,
    }


# --- the brand's look -------------------------------------------------------------------------------------------------
def look_of(actor: Actor, brand: Brand | None) -> dict[str, Any]:
    """Name, accent and logo of a brand as they are now."""
    if brand is None:
        return {"name": "", "accent": "", "logo": None}
    return {"name": brand.name, "accent": brand.accent_light, "logo": _kept_logo(actor, brand)}


def _kept_logo(actor: Actor, brand: Brand) -> dict[str, str] | None:
    """The logo as a document that stays, also when the brand gets another one; None without a readable file."""
    if not brand.logo_light:
        return None
    try:
        with brand.logo_light.open("rb") as file:
            content = file.read()
    except OSError:
        return None
    sha256 = hashlib.sha256(content).hexdigest()
    kept = Document.objects.visible_to(actor).filter(sha256=sha256, name=_LOGO).order_by("pk").first()
    if kept is None:
        kept = store_document(
            operator_id=brand.operator_id, name=_LOGO, content_type="image/png", content=content, sha256=sha256
        )
    return {"document": str(kept.public_id), "sha256": sha256}


def store_document(*, operator_id: int, name: str, content_type: str, content: bytes, sha256: str = "") -> Document:
    """Keep a file outside the web root, under a random name."""
    document = Document(
        operator_id=operator_id,
        name=name,
        content_type=content_type,
        size=len(content),
        sha256=sha256 or hashlib.sha256(content).hexdigest(),
    )
    document.file.save(name, ContentFile(content), save=False)
    document.save()
    return document
