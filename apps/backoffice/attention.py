"""What needs somebody now: rows that the apps' selectors found, as lines with a next step, by site, the worst first."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.urls import reverse
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apps.billing import selectors as billing
from apps.billing.models import Delivery, Invoice
from apps.charging import selectors as charging
from apps.core.actor import Actor
from apps.installations import selectors as installations
from apps.installations.commands import title_of
from apps.notifications import selectors as notifications
from apps.ocpp import selectors as ocpp

RECENT = dt.timedelta(hours=24)
MAILS_SHOWN = dt.timedelta(days=7)  # as long as an invitation is open; a weekend is shorter
FOUND_PER_KIND = 200
SITES_SHOWN = 40
LINES_PER_SITE = 6

# The order of harm: drivers cannot charge; nobody knows whether they can; money waits; a charger stands outside.
FAULTED, OFFLINE, HELD, REFUSED, COMMAND, FOUND, MAIL = range(7)


@dataclass(frozen=True, slots=True)
class Line:
    """One thing to do. `status` is what the chip shows, `code` the small print, `step` the words on the link."""

    harm: int
    status: str
    word: str
    what: str
    detail: str
    code: str
    since: dt.datetime | None
    step: str
    link: str


@dataclass(frozen=True, slots=True)
class Site:
    """The lines of one place, the worst first; `hidden` more are not shown. Without a place: the operator's own."""

    name: str
    link: str
    lines: tuple[Line, ...]
    hidden: int

    @property
    def harm(self) -> tuple[int, int]:
        return (self.lines[0].harm, -len(self.lines) - self.hidden)


@dataclass(frozen=True, slots=True)
class Attention:
    """All of it: how many lines there are, and the sites that are shown."""

    count: int
    sites: tuple[Site, ...]


_Found = tuple[int | None, str, Line]


def attention(actor: Actor, *, now: dt.datetime) -> Attention:
    """What needs somebody, of all that `actor` may see. A bounded number of queries, whatever the size."""
    by_place: dict[tuple[int | None, str], list[Line]] = defaultdict(list)
    count = 0
    for location_id, name, line in _found(actor, now):
        by_place[location_id, name].append(line)
        count += 1
    sites = [_site(location_id, name, lines) for (location_id, name), lines in by_place.items()]
    return Attention(count=count, sites=tuple(sorted(sites, key=lambda site: site.harm)[:SITES_SHOWN]))


def _site(location_id: int | None, name: str, lines: list[Line]) -> Site:
    worst = sorted(lines, key=lambda line: (line.harm, line.since is None, line.since))
    link = reverse("admin:installations_location_change", args=[location_id]) if location_id else ""
    return Site(
        name=name or _("No place yet"),
        link=link,
        lines=tuple(worst[:LINES_PER_SITE]),
        hidden=max(len(worst) - LINES_PER_SITE, 0),
    )


def _found(actor: Actor, now: dt.datetime) -> Iterator[_Found]:
    if actor.can("installations.view_chargingstation"):
        yield from _faults(installations.faults(actor, limit=FOUND_PER_KIND))
        yield from _absences(installations.absences(actor, limit=FOUND_PER_KIND))
        yield from _found_connectors(installations.found_connectors(actor, limit=FOUND_PER_KIND))
        yield from _commands(installations.failed_commands(actor, since=now - RECENT, limit=FOUND_PER_KIND))
    if actor.can("charging.view_reviewitem"):
        yield from _held(charging.held_by_location(actor, limit=FOUND_PER_KIND))
    if actor.can("charging.view_settlement"):
        yield from _unpriced(charging.held_for_price(actor, limit=FOUND_PER_KIND))
    sees_invoices = actor.can("billing.view_invoice")
    if sees_invoices:
        yield from _drafts(billing.stopped_drafts(actor)[:FOUND_PER_KIND])
        yield from _undelivered(billing.failed_deliveries(actor)[:FOUND_PER_KIND])
    if actor.can("ocpp.view_handshakerefusal"):
        yield from _refusals(actor, now)
    if actor.can("notifications.view_mail"):
        named = {billing.MAIL_KIND} if sees_invoices else set()  # one by one, with their invoices
        yield from _mails(notifications.failed_mails(actor, since=now - MAILS_SHOWN, other_than=named))


def _faults(rows: Iterable[installations.Fault]) -> Iterator[_Found]:
    for row in rows:
        where = _naming(_("%(charger)s, connector %(number)s"), charger=row.station, number=row.connector)
        yield (
            row.location_id,
            row.location,
            Line(
                FAULTED,
                "Faulted",
                _("faulted"),
                where if row.connector else row.station,
                row.error or _("The charger says that it cannot charge here."),
                row.codes,
                row.since,
                _("Look, then reset it"),
                _station(row.station_id),
            ),
        )


def _absences(rows: Iterable[installations.Absence]) -> Iterator[_Found]:
    for row in rows:
        line = Line(
            OFFLINE,
            "Offline",
            _("offline"),
            row.station,
            _("Last connection: %(reason)s.") % {"reason": row.reason} if row.reason else _("It is not connected."),
            "",
            row.since,
            _("See its connections"),
            reverse("backoffice:station_history", args=[row.station_id]),
        )
        yield row.location_id, row.location, line


def _held(rows: Iterable[charging.HeldAtLocation]) -> Iterator[_Found]:
    for row in rows:
        what = ngettext("%(count)s session waits for a decision", "%(count)s sessions wait for a decision", row.count)
        at = f"&station__location__id__exact={row.location_id}" if row.location_id else ""
        line = Line(
            HELD,
            "Preparing",
            _("to decide"),
            what % {"count": row.count},
            row.doubt,
            "",
            row.oldest,
            _("Decide"),
            f"{reverse('admin:charging_reviewitem_changelist')}?code__exact={row.code}{at}",
        )
        yield row.location_id, row.location, line


def _unpriced(rows: Iterable[charging.HeldAtLocation]) -> Iterator[_Found]:
    for row in rows:
        what = ngettext("%(count)s session has no price", "%(count)s sessions have no price", row.count)
        query = f"?state__exact=held&reason__exact={row.code}&session__location__id__exact={row.location_id}"
        line = Line(
            HELD,
            "Preparing",
            _("held"),
            what % {"count": row.count},
            row.doubt,
            "",
            row.oldest,
            _("See them"),
            reverse("admin:charging_settlement_changelist") + query,
        )
        yield row.location_id, row.location, line


def _drafts(rows: Iterable[Invoice]) -> Iterator[_Found]:
    for row in rows:
        line = Line(
            HELD,
            "Preparing",
            _("stopped"),
            str(row.account),
            " ".join(row.problem_texts),
            str(row.run or ""),
            row.created_at,
            _("See the draft"),
            reverse("admin:billing_invoice_change", args=[row.pk]),
        )
        yield None, _("Billing"), line


def _undelivered(rows: Iterable[Delivery]) -> Iterator[_Found]:
    for row in rows:
        line = Line(
            MAIL,
            "Unknown",
            _("not sent"),
            row.invoice.number,
            _("The e-mail to %(address)s could not be sent.") % {"address": row.mail.recipient},
            str(row.invoice.account),
            row.at,
            _("Send it again"),
            reverse("admin:billing_invoice_change", args=[row.invoice_id]),
        )
        yield None, _("Billing"), line


def _refusals(actor: Actor, now: dt.datetime) -> Iterator[_Found]:
    rows = ocpp.refusals(actor, since=now - RECENT, limit=FOUND_PER_KIND)
    for row, told in zip(rows, ocpp.describe_refusals(rows), strict=True):
        tries = ngettext("%(count)s try", "%(count)s tries", row.count) % {"count": row.count}
        line = Line(
            REFUSED,
            "Unknown",
            _("refused"),
            row.identity,
            f"{told.reason} {told.remedy}",
            f"{row.address} · {tries}",
            row.last_at,
            _("Adopt it") if told.adoptable else _("See why"),
            _adoption(row.public_id)
            if told.adoptable and actor.can("ocpp.adopt_handshakerefusal")
            else reverse("admin:ocpp_handshakerefusal_change", args=[row.pk]),
        )
        place = row.station.location if row.station else None
        yield (place.pk if place else None), (place.name if place else _("Unknown chargers")), line


def _commands(rows: Iterable[installations.FailedCommand]) -> Iterator[_Found]:
    for row in rows:
        line = Line(
            COMMAND,
            "SuspendedEVSE",
            row.state_label,
            _naming(_("%(action)s at %(charger)s"), action=title_of(row.action), charger=row.station),
            _(row.detail) if row.detail else "",
            row.action,
            row.at,
            _("Look and ask again"),
            _station(row.station_id) + "#commands",
        )
        yield row.location_id, row.location, line


def _found_connectors(rows: Iterable[installations.FoundConnector]) -> Iterator[_Found]:
    for row in rows:
        line = Line(
            FOUND,
            "Unknown",
            _("to check"),
            _naming(_("%(charger)s, connector %(number)s"), charger=row.station, number=row.number),
            _("The charger reported this connector; the inventory lacked it. Its power and standard are guesses."),
            "",
            row.found_at,
            _("Check its data"),
            reverse("admin:installations_connector_change", args=[row.connector_id]),
        )
        yield row.location_id, row.location, line


def _mails(count: int) -> Iterator[_Found]:
    if count:
        what = ngettext("%(count)s e-mail could not be sent", "%(count)s e-mails could not be sent", count)
        line = Line(
            MAIL,
            "Unknown",
            _("not sent"),
            what % {"count": count},
            _("The people they were for do not know yet."),
            "",
            None,
            _("See them"),
            reverse("admin:notifications_mail_changelist") + "?state__exact=failed",
        )
        yield None, _("Messages"), line


def _naming(words: str, **parts: object) -> SafeString:
    """A sentence with its parts in it, each read in its own direction: chargers are named by strangers."""
    isolated = {name: format_html("<bdi>{}</bdi>", part) for name, part in parts.items()}
    return mark_safe(escape(words) % isolated)  # noqa: S308 - all of it is escaped


def _station(station_id: int) -> str:
    return reverse("backoffice:station", args=[station_id])


def _adoption(refusal: object) -> str:
    return f"{reverse('backoffice:add_station')}?refusal={refusal}"
