"""Lists of the portal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import django_tables2 as tables
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from apps.core.actor import Actor
from apps.core.templatetags.parts import UNKNOWN, at_place, day, kw, kwh, lasted, money
from apps.portal import selectors
from apps.portal.lists import RowTable
from apps.portal.selectors import CardRow, InvitationRow, InvoiceRow, LocationRow, PersonRow, PricedRow, StationRow
from apps.reports.documents import consumption_lines
from apps.reports.rows import ConsumptionRow

_RIGHT = {"th": {"class": "right"}, "td": {"class": "right"}}
_PRICE = {"th": {"class": "right"}, "td": {"class": "price"}}
_HEAD = {"td": {"class": "head"}}
_KEEP = {"td": {"class": "keep"}}
_EXACT = {"td": {"class": "exact"}}


def _link(name: str, public_id: Any, text: str) -> str:
    return format_html('<a href="{}">{}</a>', reverse(name, args=[public_id]), text)


def _step(name: str, public_id: Any, text: str, whose: str) -> str:
    """A link to what can be done with a row; who cannot see the row hears whose it is."""
    url = reverse(name, args=[public_id])
    return format_html('<a href="{}">{}<span class="hidden-text"> {}</span></a>', url, text, whose)


def _with_note(text: str, note: str) -> str:
    """A cell with something smaller below it. One element, so that a phone's row keeps it together."""
    return format_html('<span><bdi>{}</bdi><br><span class="small soft">{}</span></span>', text, note) if note else text


class LocationTable(RowTable):
    name = tables.Column(gettext_lazy("Location"), order_by="name", attrs=_HEAD)
    address = tables.Column(gettext_lazy("Address"), order_by=("city", "name"), empty_values=())
    stations = tables.Column(gettext_lazy("Chargers"), orderable=False, attrs=_RIGHT)
    charging = tables.Column(gettext_lazy("Charging"), orderable=False, attrs=_RIGHT)
    broken = tables.Column(gettext_lazy("Need attention"), orderable=False, attrs=_RIGHT)

    caption = gettext_lazy("Locations")
    empty_title = gettext_lazy("No location here")

    class Meta:
        empty_text = gettext_lazy("Your locations appear here as soon as your operator has set them up for you.")

    def count_text(self, count: int) -> str:
        return ngettext("%(count)s location", "%(count)s locations", count) % {"count": count}

    def render_name(self, record: LocationRow) -> str:
        return _link("portal:location", record.public_id, record.name)

    def render_address(self, record: LocationRow) -> str:
        return self.plain_address(record)

    def plain_address(self, record: LocationRow) -> str:
        town = " ".join(filter(None, [record.postal_code, record.city]))
        return ", ".join(filter(None, [record.street, town]))


class StationTable(RowTable):
    name = tables.Column(gettext_lazy("Charger"), order_by=("name", "identity"), attrs=_HEAD)
    health = tables.Column(gettext_lazy("State"), order_by=("harm", "name"))
    connectors = tables.Column(gettext_lazy("Connectors"), orderable=False, empty_values=())
    place = tables.Column(gettext_lazy("Location"), order_by=("location__name", "name"))
    last_start = tables.Column(gettext_lazy("Last session"), order_by="last_start", attrs=_KEEP)

    caption = gettext_lazy("Chargers")
    empty_title = gettext_lazy("No charger here")

    class Meta:
        empty_text = gettext_lazy(
            "Chargers at your locations appear here, each with its state. No filter set too tight?"
        )

    def count_text(self, count: int) -> str:
        return ngettext("%(count)s charger", "%(count)s chargers", count) % {"count": count}

    def render_name(self, record: StationRow) -> str:
        return _link("portal:station", record.public_id, record.name)

    def render_health(self, record: StationRow) -> str:
        return render_to_string("portal/health.html", {"station": record})

    def render_connectors(self, record: StationRow) -> str:
        if record.health == "Offline" or not record.connectors:
            return UNKNOWN
        return render_to_string("portal/connectors.html", {"station": record})

    def render_place(self, record: StationRow) -> str:
        return _link("portal:location", record.place_public_id, record.place)

    def render_last_start(self, record: StationRow) -> str:
        return at_place(record.last_start, record.zone)

    def plain_health(self, record: StationRow) -> str:
        return record.health_word

    def plain_connectors(self, record: StationRow) -> str:
        return "; ".join(f"{one.number}: {one.word}" for one in record.connectors)

    def plain_last_start(self, record: StationRow) -> str:
        return record.last_start.isoformat() if record.last_start else ""


class CardTable(RowTable):
    name = tables.Column(gettext_lazy("Card"), order_by=("label", "visual_number", "pk"), attrs=_HEAD)
    holder = tables.Column(gettext_lazy("Driver"), order_by=("holder__name", "holder__email", "pk"))
    organisation = tables.Column(gettext_lazy("Organisation"), order_by=("organisation__name", "label", "pk"))
    state = tables.Column(gettext_lazy("State"), order_by=("state", "label", "pk"), attrs=_KEEP)
    contract = tables.Column(gettext_lazy("Contract"), orderable=False, empty_values=())
    last_used = tables.Column(gettext_lazy("Last session"), order_by=("last_used", "pk"), attrs=_KEEP)
    step = tables.Column(gettext_lazy("Steps"), orderable=False, empty_values=(), exclude_from_export=True, attrs=_KEEP)

    caption = gettext_lazy("Cards")
    empty_title = gettext_lazy("No card here")

    class Meta:
        empty_text = gettext_lazy(
            "Order cards for your drivers: your operator sends them and makes them work. No filter set too tight?"
        )

    def count_text(self, count: int) -> str:
        return ngettext("%(count)s card", "%(count)s cards", count) % {"count": count}

    def render_name(self, record: CardRow) -> str:
        return _with_note(record.name, record.number if record.number != record.name else "")

    def render_state(self, record: CardRow) -> str:
        return render_to_string("portal/card_state.html", {"card": record})

    def render_contract(self, record: CardRow) -> str:
        return record.contract or format_html('<span class="soft">{}</span>', _("none"))

    def render_last_used(self, record: CardRow) -> str:
        return at_place(record.last_used, record.zone)

    def render_step(self, record: CardRow) -> str:
        steps = []
        if record.may_block:
            steps.append(_step("portal:block_card", record.public_id, _("Block"), record.name))
        if record.may_report:
            steps.append(_step("portal:report_card_lost", record.public_id, _("Report lost"), record.name))
        told = format_html_join(" · ", "{}", ((one,) for one in steps))
        return format_html("<span>{}</span>", told) if steps else UNKNOWN

    def export_rows(self) -> Iterator[list[Any]]:
        heads = (_("Card"), _("Number"), _("Driver"), _("Organisation"), _("State"), _("Contract"))
        yield [*heads, _("Valid until"), _("Last session")]
        for row in self.data:
            times = [one and one.isoformat() for one in (row.expires_at, row.last_used)]
            yield [row.name, row.number, row.holder, row.organisation, row.state_word, row.contract, *times]


class InvoiceTable(RowTable):
    number = tables.Column(gettext_lazy("Number"), order_by=("number", "pk"), attrs={"td": {"class": "head exact"}})
    state = tables.Column(gettext_lazy("Kind"), orderable=False, empty_values=())
    issue_date = tables.Column(gettext_lazy("Date"), order_by=("issue_date", "pk"), attrs=_KEEP)
    period = tables.Column(gettext_lazy("Period"), order_by=("period_from", "pk"), empty_values=(), attrs=_KEEP)
    net = tables.Column(gettext_lazy("Net"), orderable=False, attrs=_RIGHT)
    vat = tables.Column(gettext_lazy("VAT"), orderable=False, attrs=_RIGHT)
    gross = tables.Column(gettext_lazy("Total"), orderable=False, attrs=_RIGHT)
    step = tables.Column(gettext_lazy("File"), orderable=False, empty_values=(), exclude_from_export=True, attrs=_KEEP)

    caption = gettext_lazy("Invoices")
    empty_title = gettext_lazy("No invoice here")

    class Meta:
        empty_text = gettext_lazy("Invoices appear here once a month's sessions are billed. No filter set too tight?")

    def count_text(self, count: int) -> str:
        return ngettext("%(count)s invoice", "%(count)s invoices", count) % {"count": count}

    def render_number(self, record: InvoiceRow) -> str:
        return _with_note(_link("portal:invoice", record.public_id, record.number), record.account)

    def render_state(self, record: InvoiceRow) -> str:
        return render_to_string("portal/invoice_state.html", {"invoice": record})

    def render_issue_date(self, record: InvoiceRow) -> str:
        return day(record.issue_date)

    def render_period(self, record: InvoiceRow) -> str:
        return record.period

    def render_net(self, record: InvoiceRow) -> str:
        return money(record.net, record.currency)

    def render_vat(self, record: InvoiceRow) -> str:
        return money(record.vat, record.currency)

    def render_gross(self, record: InvoiceRow) -> str:
        return money(record.gross, record.currency)

    def render_step(self, record: InvoiceRow) -> str:
        return _step("portal:invoice_file", record.public_id, "PDF", record.number) if record.has_file else UNKNOWN

    def export_rows(self) -> Iterator[list[Any]]:
        heads = (_("Number"), _("Kind"), _("Date"), _("From"), _("To"), _("Addressee"))
        yield [*heads, _("Net"), _("VAT"), _("Total"), _("Currency")]
        for row in self.data:
            days = [one and one.isoformat() for one in (row.issue_date, row.period_from, row.period_to)]
            yield [row.number, row.state_word, *days, row.account, row.net, row.vat, row.gross, row.currency]


class ConsumptionTable(RowTable):
    started_at = tables.Column(
        gettext_lazy("Start"), order_by="day", empty_values=(), attrs={"td": {"class": "head keep"}}
    )
    card = tables.Column(gettext_lazy("Card, driver"), order_by=("card", "day"))
    charger = tables.Column(gettext_lazy("Charger"), order_by="charger")
    energy = tables.Column(gettext_lazy("Energy"), order_by="energy_wh", empty_values=(), attrs=_RIGHT)
    net = tables.Column(gettext_lazy("Price, net"), orderable=False, empty_values=(), attrs=_RIGHT)
    invoice = tables.Column(gettext_lazy("Invoice"), orderable=False, empty_values=())

    caption = gettext_lazy("Sessions")
    empty_title = gettext_lazy("Nothing here")

    class Meta:
        empty_text = gettext_lazy("Sessions of your cards that ended in this month appear here.")

    def count_text(self, count: int) -> str:
        return ngettext("%(count)s row", "%(count)s rows", count) % {"count": count}

    def render_started_at(self, record: ConsumptionRow) -> str:
        if record.started_at is None or record.session is None:
            return day(record.day)
        return _link("portal:session", record.session, at_place(record.started_at, record.zone))

    def render_card(self, record: ConsumptionRow) -> str:
        return _with_note(record.card, record.driver if record.session else "")

    def render_charger(self, record: ConsumptionRow) -> str:
        return _with_note(record.charger, record.place if record.place != record.charger else "")

    def render_energy(self, record: ConsumptionRow) -> str:
        return kwh(record.energy_wh) if record.sessions else UNKNOWN

    def render_net(self, record: ConsumptionRow) -> str:
        return money(record.net, record.currency)

    def render_invoice(self, record: ConsumptionRow) -> str:
        if record.is_free:
            return format_html('<span class="small soft">{}</span>', record.why)
        if record.invoice is None:
            return format_html(
                '<span class="small">{}<br><span class="soft">{}</span></span>', _("not billed yet"), record.why
            )
        return _link("portal:invoice", record.invoice.public_id, record.invoice.number)

    def export_rows(self) -> Iterator[list[Any]]:
        return consumption_lines(self.data)


class PersonTable(RowTable):
    name = tables.Column(gettext_lazy("Name"), order_by=("shown_name", "user__email", "pk"), attrs=_HEAD)
    email = tables.Column(gettext_lazy("E-mail"), order_by=("user__email", "pk"), attrs=_EXACT)
    role = tables.Column(gettext_lazy("Role"), order_by=("role", "shown_name", "pk"))
    organisation = tables.Column(gettext_lazy("Organisation"), order_by=("organisation__name", "shown_name", "pk"))
    since = tables.Column(gettext_lazy("Since"), order_by=("created_at", "pk"), attrs=_KEEP)
    step = tables.Column(
        gettext_lazy("Access"), orderable=False, empty_values=(), exclude_from_export=True, attrs=_KEEP
    )

    caption = gettext_lazy("People")
    empty_title = gettext_lazy("Nobody here")

    class Meta:
        empty_text = gettext_lazy("Invite somebody by e-mail. No filter set too tight?")

    def count_text(self, count: int) -> str:
        return ngettext("%(count)s person with a role", "%(count)s people with a role", count) % {"count": count}

    def render_name(self, record: PersonRow) -> str:
        return format_html('{} <span class="soft">({})</span>', record.name, _("you")) if record.is_you else record.name

    def render_since(self, record: PersonRow) -> str:
        return at_place(record.since, record.zone)

    def render_step(self, record: PersonRow) -> str:
        if not record.may_end:
            return UNKNOWN
        return _step("portal:end_access", record.public_id, _("End access"), record.name)

    def plain_since(self, record: PersonRow) -> str:
        return record.since.isoformat()


class InvitationTable(RowTable):
    email = tables.Column(gettext_lazy("E-mail"), order_by=("email", "pk"), attrs={"td": {"class": "head exact"}})
    role = tables.Column(gettext_lazy("Role"), order_by=("role", "email", "pk"))
    organisation = tables.Column(gettext_lazy("Organisation"), order_by=("organisation__name", "email", "pk"))
    sent_at = tables.Column(gettext_lazy("Sent"), order_by=("created_at", "pk"), attrs=_KEEP)
    expires_at = tables.Column(gettext_lazy("Valid until"), order_by=("expires_at", "pk"), attrs=_KEEP)
    step = tables.Column(
        gettext_lazy("Invitation"), orderable=False, empty_values=(), exclude_from_export=True, attrs=_KEEP
    )

    caption = gettext_lazy("Open invitations")
    empty_title = gettext_lazy("No invitation waits for an answer")

    class Meta:
        empty_text = gettext_lazy("Whom you invite stands here until they accept, for a week at the longest.")

    def count_text(self, count: int) -> str:
        return ngettext("%(count)s open invitation", "%(count)s open invitations", count) % {"count": count}

    def render_sent_at(self, record: InvitationRow) -> str:
        return at_place(record.sent_at, record.zone)

    def render_expires_at(self, record: InvitationRow) -> str:
        return at_place(record.expires_at, record.zone)

    def render_step(self, record: InvitationRow) -> str:
        again = _step("portal:resend_invitation", record.public_id, _("Send again"), record.email)
        back = _step("portal:revoke_invitation", record.public_id, _("Take back"), record.email)
        return format_html("<span>{} · {}</span>", again, back)

    def plain_sent_at(self, record: InvitationRow) -> str:
        return record.sent_at.isoformat()

    def plain_expires_at(self, record: InvitationRow) -> str:
        return record.expires_at.isoformat()


class SessionTable(RowTable):
    """Of the columns `net` and `gross` a visitor has one at most: `without_prices`."""

    started_at = tables.Column(
        gettext_lazy("Start"), order_by=("started_at", "pk"), attrs={"td": {"class": "head keep"}}
    )
    state = tables.Column(gettext_lazy("State"), order_by=("state", "started_at"), attrs=_KEEP)
    place = tables.Column(gettext_lazy("Location"), order_by=("location__name", "started_at"))
    card = tables.Column(gettext_lazy("Card"), orderable=False, empty_values=())
    duration = tables.Column(gettext_lazy("Duration"), orderable=False, empty_values=(), attrs=_RIGHT)
    energy = tables.Column(gettext_lazy("Energy"), orderable=False, empty_values=(), attrs=_RIGHT)
    net = tables.Column(gettext_lazy("Price, net"), orderable=False, empty_values=(), attrs=_PRICE)
    gross = tables.Column(gettext_lazy("Price with VAT"), orderable=False, empty_values=(), attrs=_PRICE)

    caption = gettext_lazy("Sessions")
    empty_title = gettext_lazy("No session here")

    class Meta:
        empty_text = gettext_lazy("A session appears here as soon as a car begins to charge. No filter set too tight?")

    @staticmethod
    def without_prices(actor: Actor) -> tuple[str, ...]:
        """The columns that are not for this visitor: fleets pay net by invoice, drivers get a receipt."""
        if not selectors.sees_prices(actor):
            return ("net", "gross")
        return ("net",) if selectors.is_driver_only(actor) else ("gross",)

    def count_text(self, count: int) -> str:
        return ngettext("%(count)s session", "%(count)s sessions", count) % {"count": count}

    def render_started_at(self, record: PricedRow) -> str:
        return _link("portal:session", record.public_id, at_place(record.started_at, record.zone))

    def render_state(self, record: PricedRow) -> str:
        return render_to_string("portal/session_state.html", {"session": record})

    def render_place(self, record: PricedRow) -> str:
        at = format_html("<bdi>{}</bdi> #{}", record.station, record.connector_number) if record.station else ""
        return _with_note(record.place, at)

    def render_card(self, record: PricedRow) -> str:
        return self.plain_card(record)

    def render_duration(self, record: PricedRow) -> str:
        return lasted(record.duration_s)

    def render_energy(self, record: PricedRow) -> str:
        return _with_note(kwh(record.energy_wh), "" if record.power_w is None else kw(record.power_w))

    def render_net(self, record: PricedRow) -> str:
        return render_to_string("portal/session_price.html", {"session": record})

    def render_gross(self, record: PricedRow) -> str:
        return self.render_net(record)

    def plain_station(self, record: PricedRow) -> str:
        return f"{record.station} #{record.connector_number}" if record.station else ""

    def plain_card(self, record: PricedRow) -> str:
        return (record.card or UNKNOWN) if record.own_card else _("another card")

    def export_rows(self) -> Iterator[list[Any]]:
        told = self._exported()
        yield [head for head, _of in told]
        for row in self.data:
            yield [of(row) for _head, of in told]

    def _exported(self) -> list[tuple[str, Callable[[PricedRow], Any]]]:
        always: list[tuple[str, Callable[[PricedRow], Any]]] = [
            (_("Start"), lambda row: row.started_at.isoformat()),
            (_("State"), lambda row: row.state_word),
            (_("Location"), lambda row: row.place),
            (_("Charger"), self.plain_station),
            (_("Card"), self.plain_card),
            (_("Duration (s)"), lambda row: row.duration_s),
            (_("Energy (Wh)"), lambda row: row.energy_wh),
            (_("Power (W)"), lambda row: row.power_w),
        ]
        if {"net", "gross"} <= set(self.exclude):
            return always
        return [
            *always,
            (_("Price, net"), lambda row: row.price.net),
            (_("VAT"), lambda row: row.price.vat),
            (_("Price with VAT"), lambda row: row.price.gross),
            (_("Currency"), lambda row: row.price.currency),
            (_("Price"), lambda row: row.price.why or row.price.word),
        ]
