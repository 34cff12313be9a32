"""Cards as CSV."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.accounts.models import Membership, Organisation, User
from apps.cards import services
from apps.cards.models import ByteOrder, Token, TokenState, TokenType
from apps.cards.uid import normalise
from apps.core.actor import Actor
from apps.core.models import in_calendar
from apps.installations.imports import (
    Column,
    Kind,
    Row,
    Verdict,
    by_name,
    choice,
    given,
    judge_fields,
    offer,
    refuse,
    related,
)
from apps.installations.services import change_imported


@dataclass(frozen=True, slots=True)
class _Cards:
    tokens: dict[str, Token]
    organisations: dict[str, Organisation]
    people: dict[str, User]


def _load(actor: Actor, rows: list[Row]) -> _Cards:
    uids = {normalise(row.get("uid", "")) for row in rows}
    emails = {row["holder"].lower() for row in rows if row.get("holder")}
    members = Membership.objects.visible_to(actor).current().filter(user__email__in=emails).values("user")
    found = Token.objects.visible_to(actor).filter(uid__in=uids).select_related("organisation", "holder")
    return _Cards(
        tokens={one.uid: one for one in found},
        organisations=by_name(Organisation.objects.visible_to(actor).filter(archived_at=None), "name"),
        people=by_name(User.objects.filter(pk__in=members), "email") if emails else {},
    )


def _judge(known: _Cards, row: Row) -> Verdict:
    uid, reasons = normalise(row.get("uid", "")), list[str]()
    if not uid:
        return refuse("", _("The UID is missing."))
    values: dict[str, Any] = given(row, "label", "visual_number")
    for name, choices in (("byte_order", ByteOrder), ("type", TokenType)):
        if row.get(name):
            values[name] = choice(row[name], choices, reasons, name)
    for name, rows in (("organisation", known.organisations), ("holder", known.people)):
        if row.get(name):
            values[name] = related(row[name], rows, reasons, name)
    if row.get("valid_until"):
        values["expires_at"] = _moment(row["valid_until"], reasons)
    token = known.tokens.get(uid)
    if row.get("state") and token is None:
        values["state"] = choice(row["state"], TokenState, reasons, "state")
    if reasons:
        return refuse(uid, *reasons)
    if token is None:
        return judge_fields(uid, Token(), {"uid": uid, **values}, new=True)
    return judge_fields(uid, token, values, new=False)


def _write(actor: Actor, verdict: Verdict) -> None:
    if verdict.action == "create":
        services.create_token(actor=actor, **verdict.values)
    else:
        change_imported(actor=actor, row=verdict.target, values=verdict.values, before=verdict.before)


def _export(actor: Actor) -> Iterator[list[Any]]:
    rows = Token.objects.visible_to(actor).exclude(uid=None).select_related("organisation", "holder").order_by("uid")
    for one in rows.iterator(chunk_size=500):
        yield [
            *(one.uid, one.label, one.visual_number, one.organisation.name if one.organisation else ""),
            *(one.holder.email if one.holder else "", one.state, one.type, one.byte_order),
            one.expires_at.isoformat() if one.expires_at else "",
        ]


def _moment(value: str, reasons: list[str]) -> dt.datetime | None:
    """A time, or a date, at whose end the card expires; without a zone it is UTC."""
    try:
        found: dt.date | None = parse_datetime(value) if len(value) > 10 else parse_date(value)
    except ValueError:
        found = None
    if found is None:
        reasons.append(_("valid_until: write a date such as 2027-12-31."))
        return None
    try:
        in_calendar(found)
    except ValidationError as error:
        reasons.append(f"valid_until: {error.messages[0]}")
        return None
    if not isinstance(found, dt.datetime):
        found = dt.datetime.combine(found + dt.timedelta(days=1), dt.time())
    return found if found.tzinfo is not None else found.replace(tzinfo=dt.UTC)


CARDS = offer(
    Kind(
        name="cards",
        title=gettext_lazy("Cards"),
        columns=(
            Column("uid", True, gettext_lazy("The key, as printed; separators and case do not matter.")),
            Column("label"),
            Column("visual_number", False, gettext_lazy("The number printed on it")),
            Column("organisation", False, gettext_lazy("Name of an organisation")),
            Column("holder", False, gettext_lazy("E-mail address of a person who has a role here")),
            Column("state", False, gettext_lazy("Of a new card; a card that is there keeps its own")),
            Column("type", False, ", ".join(TokenType.values)),
            Column("byte_order", False, ", ".join(ByteOrder.values)),
            Column("valid_until", False, gettext_lazy("A date such as 2027-12-31")),
        ),
        permissions=("cards.add_token", "cards.change_token"),
        load=_load,
        judge=_judge,
        write=_write,
        export=_export,
    )
)
