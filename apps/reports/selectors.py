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
from zoneinfo import ZoneInfo

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _

from apps.billing.models import BilledItem, Invoice, InvoiceKind, InvoiceLine, LineKind
from apps.billing.selectors import final_invoices
from apps.charging.models import Cdr, CdrKind, HoldReason, Session, SessionState, SettlementState
from apps.core import money
from apps.core.actor import Actor
from apps.reports.charts import Bar

SEES_PRICES = "charging.view_cdr"
SEES_INVOICES = "billing.view_invoice"
# A session's local date is at most so far from its date in UTC.
_EDGE = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class InvoiceRef:
    """An invoice by its number, and that of the credit note that cancelled it."""

    number: str
    public_id: UUID
    credit_note: str = ""


@dataclass(frozen=True, slots=True)
class ConsumptionRow:
    """One CDR, one credit (all negative), one session without a price, or a base fee (without energy).

    Keys are what rows are grouped by. `charger` is the place's name where the charger is not the visitor's to know.
    `sessions` is 1, 0 or -1. `net` is None where there is no price. `why` tells what an absent invoice waits for.
    """

    kind: str
    day: dt.date
    started_at: dt.datetime | None
    zone: str
    session: UUID | None
    place: str
    card: str
    driver: str
    charger: str
    card_key: str
    driver_key: str
    charger_key: str
    sessions: int
    energy_wh: int
    net: Decimal | None
    currency: str
    invoice: InvoiceRef | None
    why: str

    def key(self, by: str) -> str:
        return str(getattr(self, f"{by}_key"))

    def name(self, by: str) -> str:
        return str(getattr(self, by))

    @property
    def is_billed(self) -> bool:
        return self.invoice is not None


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount, net."""

    currency: str
    net: Decimal


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums of rows: one amount a currency, first the one with the most rows. `open_` are rows that are not billed."""

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
    """A report. `by` is card, driver or charger; rows are in the order of their groups."""

    by: str
    rows: list[ConsumptionRow]
    groups: list[Group]
    totals: Totals
    shares: list[InvoiceShare]
    bars: list[Bar]


NOBODY = "none"  # the key of rows without a card or a driver
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
    """Final invoices and credit notes of the organisations whose invoices the actor may see, the newest first."""
    rows: QuerySet[Invoice] = final_invoices(actor)
    if actor.operator_wide:
        return rows
    held = [pk for pk, rights in actor.organisations.items() if SEES_INVOICES in rights]
    return rows.filter(account__party__organisation__in=held)


def month_consumption(actor: Actor, month: dt.date, *, by: str = "card") -> Consumption:
    """What was supplied in the month whose first day is given: six queries, whatever its size."""
    after = next_month(month)
    cdrs = (
        Cdr.objects.visible_to(actor)
        .filter(own_cards(actor, SEES_PRICES), supplied_on__gte=month, supplied_on__lt=after)
        .order_by("ended_at", "pk")
    )
    found = list(cdrs.values(*_CDR_FIELDS))
    billed = _billed(actor, cdrs)
    released = _released(actor, cdrs) if len(billed) < len(found) else {}
    rows = [
        _cdr_row(actor, one, billed.get(one["pk"]), released.get(one["pk"])) for one in _without_pairs(found, billed)
    ]
    rows += _unpriced(actor, month, after)
    shares = _shares(actor, month, rows)
    return _report(rows, by, shares, _bars(rows, month, after))


def invoice_consumption(actor: Actor, invoice: Invoice, *, by: str = "card") -> Consumption:
    """The rows of one of `visible_invoices`: they sum to its net."""
    sign = -1 if invoice.kind == InvoiceKind.CREDIT_NOTE else 1
    lines = InvoiceLine.objects.visible_to(actor).filter(invoice=invoice).order_by("position")
    ref = _ref(invoice)
    nets: dict[int, list[Decimal]] = {}
    fees = []
    for cdr, net, day, contract in lines.values_list("cdr", "net", "supplied_on", "contract__number"):
        if cdr is None:
            fees.append(_fee_row(day, contract, net, invoice.currency, ref))
        else:
            nets.setdefault(cdr, []).append(net)
    cdrs = Cdr.objects.visible_to(actor).filter(pk__in=lines.exclude(cdr=None).values("cdr")).order_by("ended_at", "pk")
    rows = [
        _cdr_row(actor, {**one, "total": money.total(nets[one["pk"]], invoice.currency)}, ref, None, sign=sign)
        for one in cdrs.values(*_CDR_FIELDS)
    ]
    return _report([*rows, *fees], by, [], [])


def group_of(report: Consumption, key: str) -> list[ConsumptionRow]:
    """The rows of one group, or all rows where no group is named."""
    return [row for row in report.rows if not key or row.key(report.by) == key]


# --- rows -------------------------------------------------------------------------------------------------------------

_SHARED_FIELDS = (
    "pk",
    "started_at",
    "ended_at",
    "host_id",
    "location__public_id",
    "location__name",
    "location__time_zone",
    "station__public_id",
    "station__name",
    "station__identity",
    "token__public_id",
    "token__label",
    "token__visual_number",
    "token__uid",
    "holder__public_id",
    "holder__name",
    "holder__email",
)
_CDR_FIELDS = (
    *_SHARED_FIELDS,
    "kind",
    "credits_id",
    "session__public_id",
    "supplied_on",
    "energy_wh",
    "currency",
    "total",
)
_SESSION_FIELDS = (
    *_SHARED_FIELDS,
    "public_id",
    "meter_start_wh",
    "meter_stop_wh",
    "settlement__state",
    "settlement__reason",
)


def _without_pairs(found: list[dict[str, Any]], billed: Mapping[int, InvoiceRef]) -> Iterable[dict[str, Any]]:
    """Without the CDRs that were taken back before either they or their credit were billed: both are left out."""
    dropped = set()
    for one in found:
        if one["credits_id"] is not None and one["pk"] not in billed and one["credits_id"] not in billed:
            dropped |= {one["pk"], one["credits_id"]}
    return (one for one in found if one["pk"] not in dropped)


def _cdr_row(
    actor: Actor, told: dict[str, Any], invoice: InvoiceRef | None, released: InvoiceRef | None, *, sign: int = 1
) -> ConsumptionRow:
    """`sign` is -1 on a credit note. A credit's amounts are negative already, its energy is not."""
    taken_back = told["kind"] == CdrKind.CREDIT
    direction = -sign if taken_back else sign
    return ConsumptionRow(
        kind="credit" if direction < 0 else "session",
        day=told["supplied_on"],
        session=told["session__public_id"],
        sessions=direction,
        energy_wh=direction * told["energy_wh"],
        net=told["total"],
        currency=told["currency"],
        invoice=invoice,
        why="" if invoice else _why_not_billed(told["total"], released),
        **_who_and_where(actor, told),
    )


def _why_not_billed(net: Decimal, released: InvoiceRef | None) -> str:
    if released is not None:
        return _("Invoice %(number)s was cancelled by %(credit_note)s; it comes on a later one.") % {
            "number": released.number,
            "credit_note": released.credit_note or "–",
        }
    return _("It comes on the next invoice.") if net else _("It costs nothing.")


def _unpriced(actor: Actor, month: dt.date, after: dt.date) -> list[ConsumptionRow]:
    """Sessions that ended in the month and have no CDR that stands."""
    since, until = (dt.datetime.combine(day, dt.time(), dt.UTC) for day in (month, after))
    standing = Cdr.objects.unscoped("joined to sessions that are scoped").standing().filter(session=OuterRef("pk"))
    sessions = (
        Session.objects.visible_to(actor)
        .filter(own_cards(actor, SEES_PRICES), state=SessionState.ENDED)
        .filter(ended_at__gte=since - _EDGE, ended_at__lt=until + _EDGE)
        .exclude(Exists(standing))
        .order_by("ended_at", "pk")
    )
    rows = (_session_row(actor, one) for one in sessions.values(*_SESSION_FIELDS))
    return [row for row in rows if month <= row.day < after]


def _session_row(actor: Actor, told: dict[str, Any]) -> ConsumptionRow:
    start, stop = told["meter_start_wh"], told["meter_stop_wh"]
    return ConsumptionRow(
        kind="session",
        day=told["ended_at"].astimezone(ZoneInfo(told["location__time_zone"])).date(),
        session=told["public_id"],
        sessions=1,
        energy_wh=0 if start is None or stop is None else stop - start,
        net=None,
        currency="",
        invoice=None,
        why=_why_not_priced(told["settlement__state"], told["settlement__reason"]),
        **_who_and_where(actor, told),
    )


def _why_not_priced(state: str | None, reason: str | None) -> str:
    if state == SettlementState.HELD and reason:
        return str(HoldReason(reason).label)
    if state == SettlementState.FREE:
        return _("It is free of charge.")
    return _("It is not priced yet.")


def _who_and_where(actor: Actor, told: dict[str, Any]) -> dict[str, Any]:
    own_place = actor.operator_wide or told["host_id"] in frozenset(actor.organisations) - actor.driver_of
    station = told["station__name"] or told["station__identity"]
    return {
        "started_at": told["started_at"],
        "zone": told["location__time_zone"],
        "place": told["location__name"],
        "card": told["token__label"] or told["token__visual_number"] or told["token__uid"] or _("no card"),
        "card_key": str(told["token__public_id"] or NOBODY),
        "driver": told["holder__name"] or told["holder__email"] or _("no driver"),
        "driver_key": str(told["holder__public_id"] or NOBODY),
        "charger": station if own_place else told["location__name"],
        "charger_key": str(told["station__public_id"] if own_place else told["location__public_id"]),
    }


def _fee_row(day: dt.date, contract: str, net: Decimal, currency: str, invoice: InvoiceRef) -> ConsumptionRow:
    name = _("Base fee, contract %(contract)s") % {"contract": contract}
    return ConsumptionRow(
        kind="fee",
        day=day,
        started_at=None,
        zone="UTC",
        session=None,
        place="",
        card=name,
        driver=name,
        charger=name,
        card_key="fee",
        driver_key="fee",
        charger_key="fee",
        sessions=0,
        energy_wh=0,
        net=net,
        currency=currency,
        invoice=invoice,
        why="",
    )


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


def _report(rows: list[ConsumptionRow], by: str, shares: list[InvoiceShare], bars: list[Bar]) -> Consumption:
    grouped: dict[str, list[ConsumptionRow]] = {}
    for row in rows:
        grouped.setdefault(row.key(by), []).append(row)
    groups = [Group(key, some[0].name(by), totals_of(some)) for key, some in grouped.items()]
    groups.sort(key=lambda group: (-group.totals.energy_wh, group.name.casefold()))
    ordered = list(chain.from_iterable(grouped[group.key] for group in groups))
    return Consumption(by, ordered, groups, totals_of(rows), shares, bars)


def totals_of(rows: Iterable[ConsumptionRow]) -> Totals:
    """What rows come to."""
    some = list(rows)
    open_ = [row for row in some if not row.is_billed]
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
    """Every day of the month: what is billed, and on it what is not."""
    energy = {True: dict[dt.date, int](), False: dict[dt.date, int]()}
    for row in rows:
        of_kind = energy[row.is_billed]
        of_kind[row.day] = of_kind.get(row.day, 0) + row.energy_wh
    days = [month + dt.timedelta(days=number) for number in range((after - month).days)]
    return [Bar(day, energy[True].get(day, 0), energy[False].get(day, 0)) for day in days]


def next_month(month: dt.date) -> dt.date:
    """The first day of the month after."""
    return (month.replace(day=28) + dt.timedelta(days=4)).replace(day=1)
