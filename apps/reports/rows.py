"""A row of a report: what it is made of, and the words for why it has no price or no invoice."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models.fields.json import KT
from django.utils.translation import gettext as _

from apps.charging.models import CdrKind, HoldReason, SettlementState
from apps.core.actor import Actor

NOBODY = "none"  # the key of rows without a card or a driver


@dataclass(frozen=True, slots=True)
class InvoiceRef:
    """An invoice by its number, and that of the credit note that cancelled it."""

    number: str
    public_id: UUID
    credit_note: str = ""


class ConsumptionRow(NamedTuple):
    """One CDR, one credit (all negative), one session without a price, or a base fee (without energy).

    Keys are what rows are grouped by. `charger` is the place's name where the charger is not the visitor's to know.
    `sessions` is 1, 0 or -1. `net` is None where there is no price. `why` tells what an absent invoice waits for;
    `is_free` is what waits for none.
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
    is_free: bool = False

    def key(self, by: str) -> str:
        return str(getattr(self, f"{by}_key"))

    def name(self, by: str) -> str:
        return str(getattr(self, by))

    @property
    def is_open(self) -> bool:
        """Whether it still waits for an invoice."""
        return self.invoice is None and not self.is_free


# --- what the rows are made of ----------------------------------------------------------------------------------------

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
CDR_FIELDS = (
    *_SHARED_FIELDS,
    "kind",
    "credits_id",
    "session__public_id",
    "supplied_on",
    "energy_wh",
    "currency",
    "total",
)
# What a CDR called them: the texts alone, since a month of an operator is many thousands of rows.
CDR_NAMES = {
    "place_name": KT("place__name"),
    "place_station": KT("place__station"),
    "card_label": KT("card__label"),
    "card_visual_number": KT("card__visual_number"),
    "card_uid": KT("card__uid"),
    "card_driver": KT("card__driver"),
}
SESSION_FIELDS = (
    *_SHARED_FIELDS,
    "public_id",
    "meter_start_wh",
    "meter_stop_wh",
    "settlement__state",
    "settlement__reason",
)


def cdr_row(
    actor: Actor,
    told: dict[str, Any],
    invoice: InvoiceRef | None,
    released: InvoiceRef | None,
    *,
    is_stopped: bool = False,
    sign: int = 1,
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
        why="" if invoice else _why_not_billed(told["total"], released, is_stopped=is_stopped),
        is_free=invoice is None and released is None and not told["total"],
        **_who_and_where(actor, told, _as_it_was(told)),
    )


def _why_not_billed(net: Decimal, released: InvoiceRef | None, *, is_stopped: bool) -> str:
    if is_stopped:
        return _("The invoice is being checked.")
    if released is not None:
        return _("Invoice %(number)s was cancelled by %(credit_note)s; it comes on a later one.") % {
            "number": released.number,
            "credit_note": released.credit_note or "–",
        }
    return _("It comes on the next invoice.") if net else _("It costs nothing.")


def session_row(actor: Actor, told: dict[str, Any]) -> ConsumptionRow:
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
        is_free=told["settlement__state"] == SettlementState.FREE,
        **_who_and_where(actor, told, _as_it_is(told)),
    )


def _why_not_priced(state: str | None, reason: str | None) -> str:
    if state == SettlementState.HELD and reason:
        return str(HoldReason(reason).label)
    if state == SettlementState.FREE:
        return _("It is free of charge.")
    return _("It is not priced yet.")


class _Names(NamedTuple):
    """What a row calls its place, charger, card and driver."""

    place: str
    station: str
    card: str
    driver: str


def _as_it_was(told: dict[str, Any]) -> _Names:
    """By the CDR: what was renamed since keeps its name here, as on the invoice."""
    named = told["card_label"] or told["card_visual_number"] or told["card_uid"]
    return _Names(told["place_name"] or "", told["place_station"] or "", named or "", told["card_driver"] or "")


def _as_it_is(told: dict[str, Any]) -> _Names:
    return _Names(
        told["location__name"],
        told["station__name"] or told["station__identity"],
        told["token__label"] or told["token__visual_number"] or told["token__uid"],
        told["holder__name"] or told["holder__email"],
    )


def _who_and_where(actor: Actor, told: dict[str, Any], names: _Names) -> dict[str, Any]:
    own_place = actor.operator_wide or told["host_id"] in frozenset(actor.organisations) - actor.driver_of
    return {
        "started_at": told["started_at"],
        "zone": told["location__time_zone"],
        "place": names.place,
        "card": names.card or _("no card"),
        "card_key": str(told["token__public_id"] or NOBODY),
        "driver": names.driver or _("no driver"),
        "driver_key": str(told["holder__public_id"] or NOBODY),
        "charger": names.station if own_place else names.place,
        "charger_key": str(told["station__public_id"] if own_place else told["location__public_id"]),
    }


def fee_row(day: dt.date, contract: str, net: Decimal, currency: str, invoice: InvoiceRef) -> ConsumptionRow:
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
