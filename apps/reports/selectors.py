"""What was charged in a month, or is billed by one invoice, row by row: each with its invoice, or why it has none.

A month's rows are what was supplied in it, by the local date of each session's end: the CDRs, the credits that took
some of them back, and the sessions that have no price yet. An invoice's rows are its lines, whatever their month.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.db.models.fields.json import KT

from apps.billing.models import BilledItem, Invoice, InvoiceKind, InvoiceLine, InvoiceState, LineKind
from apps.billing.selectors import final_invoices
from apps.charging.models import Cdr, Session, SessionState, SettlementState
from apps.core import money
from apps.core.actor import Actor
from apps.reports.charts import Bar
from apps.reports.rows import (
    CDR_FIELDS,
    CDR_NAMES,
    SESSION_FIELDS,
    ConsumptionRow,
    InvoiceRef,
    cdr_row,
    fee_row,
    session_row,
)

SEES_PRICES = "charging.view_cdr"
SEES_INVOICES = "billing.view_invoice"
# A session's local date is at most so far from its date in UTC.
_EDGE = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount, net."""

    currency: str
    net: Decimal


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums of rows: one amount a currency, first the one with the most rows. `open_` are rows still to be billed."""

    sessions: int
    energy_wh: int
    amounts: tuple[Amount, ...]
    open_rows: int
    open_amounts: tuple[Amount, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """All rows of one card, driver or charger."""

    key: str
    name: str
    totals: Totals


@dataclass(frozen=True, slots=True)
class InvoiceShare:
    """What of an invoice stands in a month's rows. `here`, `elsewhere` (sessions of other months) and `fees` are its
    `net`."""

    invoice: InvoiceRef
    currency: str
    here: Decimal
    elsewhere: Decimal
    fees: Decimal
    net: Decimal


@dataclass(frozen=True, slots=True)
class Consumption:
    """A report. `by` is card, driver or charger; rows are in the order of their groups. `invoice` is the one it is
    about, None for a month."""

    by: str
    rows: list[ConsumptionRow]
    groups: list[Group]
    totals: Totals
    shares: list[InvoiceShare]
    bars: list[Bar]
    invoice: InvoiceRef | None = None

    @property
    def has_free(self) -> bool:
        """Whether there is energy that nobody will bill."""
        return any(row.is_free and row.energy_wh for row in self.rows)


GROUPINGS = ("card", "driver", "charger")


def own_cards(actor: Actor, permission: str) -> Q:
    """Of sessions and CDRs those on the cards of organisations in which the actor holds `permission`; of a driver the
    own ones. Sessions of other cards at an own place are not among them."""
    if actor.operator_wide:
        return Q() if actor.can(permission) else Q(pk__in=())
    held = [pk for pk, rights in actor.organisations.items() if permission in rights]
    whole = [pk for pk in held if pk not in actor.driver_of]
    return Q(organisation__in=whole) | Q(
        holder=actor.user_id, organisation__in=[pk for pk in held if pk in actor.driver_of]
    )


def visible_invoices(actor: Actor) -> QuerySet[Invoice]:
    """Final invoices and credit notes of the organisations whose invoices the actor may see, the newest first, each
    with its `addressee` as it was frozen."""
    rows: QuerySet[Invoice] = final_invoices(actor).annotate(addressee=KT("snapshot__buyer__name"))
    if actor.operator_wide:
        return rows
    held = [pk for pk, rights in actor.organisations.items() if SEES_INVOICES in rights]
    return rows.filter(account__party__organisation__in=held)


def month_consumption(actor: Actor, month: dt.date, *, by: str = "card") -> Consumption:
    """What was supplied in the month whose first day is given: seven queries, whatever its size."""
    after = next_month(month)
    cdrs = (
        Cdr.objects.visible_to(actor)
        .filter(own_cards(actor, SEES_PRICES), supplied_on__gte=month, supplied_on__lt=after)
        .order_by("ended_at", "pk")
    )
    found = list(cdrs.values(*CDR_FIELDS, **CDR_NAMES))
    billed = _billed(actor, cdrs)
    is_open = len(billed) < len(found)
    released, stopped = (_released(actor, cdrs), _stopped(cdrs)) if is_open else ({}, frozenset())
    rows = [
        cdr_row(actor, one, billed.get(one["pk"]), released.get(one["pk"]), is_stopped=one["pk"] in stopped)
        for one in _without_pairs(found, billed)
    ]
    rows += _unpriced(actor, month, after)
    shares = _shares(actor, month, rows)
    return _report(rows, by, shares, _bars(rows, month, after))


def invoice_consumption(actor: Actor, invoice: Invoice, *, by: str = "card") -> Consumption:
    """The rows of one of `visible_invoices`: they sum to its net.

    Also of sessions that only the invoice tells the actor of (a card without an organisation): those have no link.
    """
    sign = -1 if invoice.kind == InvoiceKind.CREDIT_NOTE else 1
    lines = InvoiceLine.objects.visible_to(actor).filter(invoice=invoice).order_by("position")
    ref = _ref(invoice)
    nets: dict[int, list[Decimal]] = {}
    fees = []
    for cdr, net, day, contract in lines.values_list("cdr", "net", "supplied_on", "contract__number"):
        if cdr is None:
            fees.append(fee_row(day, contract, net, invoice.currency, ref))
        else:
            nets.setdefault(cdr, []).append(net)
    billed = lines.exclude(cdr=None).values("cdr")
    known = set(Cdr.objects.visible_to(actor).filter(pk__in=billed).values_list("pk", flat=True))
    cdrs = Cdr.objects.unscoped("on an invoice that the actor sees").filter(pk__in=billed).order_by("ended_at", "pk")
    rows = []
    for one in cdrs.values(*CDR_FIELDS, **CDR_NAMES):
        session = one["session__public_id"] if one["pk"] in known else None
        told = {**one, "session__public_id": session, "total": money.total(nets[one["pk"]], invoice.currency)}
        rows.append(cdr_row(actor, told, ref, None, sign=sign))
    return _report([*rows, *fees], by, [], [], ref)


def group_of(report: Consumption, key: str) -> list[ConsumptionRow]:
    """The rows of one group, or all rows where no group is named."""
    return [row for row in report.rows if not key or row.key(report.by) == key]


# --- rows -------------------------------------------------------------------------------------------------------------


def _without_pairs(found: list[dict[str, Any]], billed: Mapping[int, InvoiceRef]) -> Iterable[dict[str, Any]]:
    """Without the CDRs that were taken back before either they or their credit were billed: both are left out."""
    dropped = set()
    for one in found:
        if one["credits_id"] is not None and one["pk"] not in billed and one["credits_id"] not in billed:
            dropped |= {one["pk"], one["credits_id"]}
    return (one for one in found if one["pk"] not in dropped)


def _unpriced(actor: Actor, month: dt.date, after: dt.date) -> list[ConsumptionRow]:
    """Sessions that ended in the month and have no CDR that stands, as their settlement tells."""
    since, until = (dt.datetime.combine(day, dt.time(), dt.UTC) for day in (month, after))
    sessions = (
        Session.objects.visible_to(actor)
        .filter(own_cards(actor, SEES_PRICES), state=SessionState.ENDED)
        .filter(ended_at__gte=since - _EDGE, ended_at__lt=until + _EDGE)
        .exclude(settlement__state=SettlementState.PRICED)
        .order_by("ended_at", "pk")
    )
    rows = (session_row(actor, one) for one in sessions.values(*SESSION_FIELDS))
    return [row for row in rows if month <= row.day < after]


# --- invoices ---------------------------------------------------------------------------------------------------------


def _ref(invoice: Invoice) -> InvoiceRef:
    cancelled_by = getattr(invoice, "credit_note", None)
    return InvoiceRef(invoice.number, invoice.public_id, cancelled_by.number if cancelled_by else "")


_REF_FIELDS = (
    "item__cdr_id",
    "line__invoice__number",
    "line__invoice__public_id",
    "line__invoice__credit_note__number",
)


def _billed(actor: Actor, cdrs: QuerySet[Cdr]) -> dict[int, InvoiceRef]:
    """CDR → the final invoice on which it stands now."""
    return _links(BilledItem.objects.visible_to(actor).live().filter(item__cdr__in=cdrs.order_by().values("pk")))


def _stopped(cdrs: QuerySet[Cdr]) -> frozenset[int]:
    """The CDRs on drafts that are stopped, which are nobody's to see but the operator's."""
    links = (
        BilledItem.objects.unscoped("of CDRs that are scoped").live().filter(item__cdr__in=cdrs.order_by().values("pk"))
    )
    return frozenset(links.filter(line__invoice__state=InvoiceState.STOPPED).values_list("item__cdr_id", flat=True))


def _released(actor: Actor, cdrs: QuerySet[Cdr]) -> dict[int, InvoiceRef]:
    """CDR → the last invoice on which it stood, of those that were cancelled."""
    links = BilledItem.objects.visible_to(actor).filter(item__cdr__in=cdrs.order_by().values("pk"))
    return _links(links.filter(released_at__isnull=False))


def _links(links: QuerySet[BilledItem]) -> dict[int, InvoiceRef]:
    final = links.exclude(line__invoice__finalised_at=None).order_by("pk").values_list(*_REF_FIELDS)
    return {cdr: InvoiceRef(number, public_id, credit or "") for cdr, number, public_id, credit in final}


def _shares(actor: Actor, month: dt.date, rows: Iterable[ConsumptionRow]) -> list[InvoiceShare]:
    """The invoices of these rows and of this month, and how much of each stands here."""
    here: dict[UUID, list[Decimal]] = {}
    for row in rows:
        if row.invoice is not None and row.net is not None:
            here.setdefault(row.invoice.public_id, []).append(row.net)
    of_month = Q(period_from__gte=month, period_from__lt=next_month(month))
    invoices = (
        visible_invoices(actor)
        .filter(kind=InvoiceKind.INVOICE, credit_note=None)
        .filter(of_month | Q(public_id__in=here))
        .order_by("issue_date", "number")
    )
    found = list(invoices)
    fees = _fees(actor, found)
    return [_share(one, here.get(one.public_id, []), fees.get(one.pk, [])) for one in found]


def _fees(actor: Actor, invoices: Iterable[Invoice]) -> dict[int, list[Decimal]]:
    lines = InvoiceLine.objects.visible_to(actor).filter(
        invoice__in=[one.pk for one in invoices], kind=LineKind.BASE_FEE
    )
    fees: dict[int, list[Decimal]] = {}
    for invoice, net in lines.values_list("invoice_id", "net"):
        fees.setdefault(invoice, []).append(net)
    return fees


def _share(invoice: Invoice, nets: Iterable[Decimal], fees: Iterable[Decimal]) -> InvoiceShare:
    here, fee = money.total(nets, invoice.currency), money.total(fees, invoice.currency)
    elsewhere = invoice.net - here - fee
    return InvoiceShare(_ref(invoice), invoice.currency, here, elsewhere, fee, invoice.net)


# --- sums -------------------------------------------------------------------------------------------------------------


def _report(
    rows: list[ConsumptionRow],
    by: str,
    shares: list[InvoiceShare],
    bars: list[Bar],
    invoice: InvoiceRef | None = None,
) -> Consumption:
    grouped: dict[str, list[ConsumptionRow]] = {}
    for row in rows:
        grouped.setdefault(row.key(by), []).append(row)
    groups = [Group(key, some[-1].name(by), totals_of(some)) for key, some in grouped.items()]
    groups.sort(key=lambda group: (-group.totals.energy_wh, group.name.casefold()))
    ordered = list(chain.from_iterable(grouped[group.key] for group in groups))
    return Consumption(by, ordered, groups, totals_of(rows), shares, bars, invoice)


def totals_of(rows: Iterable[ConsumptionRow]) -> Totals:
    """What rows come to."""
    some = list(rows)
    open_ = [row for row in some if row.is_open]
    return Totals(
        sessions=sum(row.sessions for row in some),
        energy_wh=sum(row.energy_wh for row in some),
        amounts=_amounts(some),
        open_rows=len(open_),
        open_amounts=_amounts(open_),
    )


def _amounts(rows: Iterable[ConsumptionRow]) -> tuple[Amount, ...]:
    nets: dict[str, list[Decimal]] = {}
    for row in rows:
        if row.net is not None:
            nets.setdefault(row.currency, []).append(row.net)
    by_count = sorted(nets.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    return tuple(Amount(currency, money.total(some, currency)) for currency, some in by_count)


def _bars(rows: Iterable[ConsumptionRow], month: dt.date, after: dt.date) -> list[Bar]:
    """Every day of the month: what is billed or free, and on it what is still to be billed."""
    energy = {True: dict[dt.date, int](), False: dict[dt.date, int]()}
    for row in rows:
        of_kind = energy[row.is_open]
        of_kind[row.day] = of_kind.get(row.day, 0) + row.energy_wh
    days = [month + dt.timedelta(days=number) for number in range((after - month).days)]
    return [Bar(day, energy[False].get(day, 0), energy[True].get(day, 0)) for day in days]


def next_month(month: dt.date) -> dt.date:
    """The first day of the month after."""
    return (month.replace(day=28) + dt.timedelta(days=4)).replace(day=1)
