"""What stops a draft. Each check says in the customer's and the operator's words what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Q
from django.utils import timezone

from apps.accounts.models import SellerRegistration
from apps.billing.models import Invoice, InvoiceLine, InvoiceState, Problem
from apps.billing.querysets import InvoiceQuerySet
from apps.billing.totals import totals
from apps.charging.models import ReviewCode, ReviewItem
from apps.core.actor import Actor

SHOWN_OF_A_KIND = 5

_COLUMNS = ("pk", "supplied_on", "net", "vat_percent", "country", "text", "contract_id", "cdr_id")


def check_draft(actor: Actor, draft: Invoice) -> bool:
    """Sum a draft up, look for problems, and store both. Whether it may become final."""
    rows = InvoiceLine.objects.visible_to(actor).filter(invoice=draft).order_by("position")
    lines = list(rows.select_related("contract").only(*_COLUMNS, "contract__currency", "contract__number"))
    sums = totals(((line.vat_percent, line.net) for line in lines), draft.currency)
    problems = list(_problems(actor, draft, lines))
    if sums.gross < 0:
        problems.append({"code": Problem.NEGATIVE.value})
    draft.net, draft.vat, draft.gross = sums.net, sums.vat, sums.gross
    draft.period_from = min([draft.period_from, *(line.supplied_on for line in lines)])
    draft.problems = problems
    draft.problem = problems[0]["code"] if problems else ""
    draft.state = InvoiceState.STOPPED if problems else InvoiceState.DRAFT
    columns = ["net", "vat", "gross", "period_from", "problems", "problem", "state"]
    Invoice.objects.visible_to(actor).open().filter(pk=draft.pk).update(
        **{name: getattr(draft, name) for name in columns}
    )
    return not problems


def stop_failed(drafts: InvoiceQuerySet) -> None:
    """Stop drafts on which an error came up that nobody foresaw."""
    problem = Problem.FAILED.value
    drafts.open().update(state=InvoiceState.STOPPED, problem=problem, problems=[{"code": problem}])


def _problems(actor: Actor, draft: Invoice, lines: list[InvoiceLine]) -> Iterator[dict[str, Any]]:
    yield from _of_seller(actor, draft, lines)
    for country, day in _first(sorted({(one.country, one.supplied_on) for one in lines if one.vat_percent is None})):
        yield {"code": Problem.NO_VAT_RATE.value, "country": country, "day": day.isoformat()}
    contracts = {one.contract for one in lines if one.contract and one.contract.currency != draft.currency}
    for contract in _first(sorted(contracts, key=lambda one: one.number)):
        yield {
            "code": Problem.CURRENCY.value,
            "contract": contract.number,
            "expected": contract.currency,
            "found": draft.currency,
        }
    yield from _of_review(actor, draft)


def _of_seller(actor: Actor, draft: Invoice, lines: list[InvoiceLine]) -> Iterator[dict[str, Any]]:
    seller = draft.seller
    registration = SellerRegistration.objects.visible_to(actor).filter(pk=draft.registration_id).first()
    days = [
        line.supplied_on
        for line in lines
        if registration is None or not registration.covers(line.country, line.supplied_on)
    ]
    if registration is None or days:
        day = min(days, default=draft.period_from)
        words = {"seller": seller.legal_name, "country": draft.country, "day": day.isoformat()}
        yield {"code": Problem.NO_REGISTRATION.value, **words}
    if registration is not None and not registration.vat_id and not seller.tax_number:
        yield {"code": Problem.NO_TAX_ID.value, "seller": seller.legal_name}
    if not seller.street or not seller.city:
        yield {"code": Problem.NO_SELLER_ADDRESS.value, "seller": seller.legal_name}


def _of_review(actor: Actor, draft: Invoice) -> Iterator[dict[str, Any]]:
    doubts = (
        ReviewItem.objects.visible_to(actor)
        .open()
        .filter(Q(blocking=True) | Q(code=ReviewCode.CDR_OUTDATED), session__cdrs__lines__invoice=draft)
        .select_related("session__location")
        .order_by("session__started_at")
        .distinct()
    )
    for doubt in doubts[:SHOWN_OF_A_KIND]:
        session = doubt.session
        day = timezone.localdate(session.started_at, ZoneInfo(session.location.time_zone))
        yield {
            "code": Problem.REVIEW.value,
            "day": day.isoformat(),
            "place": session.location.name,
            "session": session.pk,
        }


def _first(found: Iterable[Any]) -> list[Any]:
    """A few of a kind: a draft of 3,000 lines says its problem, not each of its lines."""
    return list(found)[:SHOWN_OF_A_KIND]
