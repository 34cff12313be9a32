"""Lists of the portal."""

from __future__ import annotations

from typing import Any

import django_tables2 as tables
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from apps.charging.selectors import SessionRow
from apps.core.tables import RowTable
from apps.core.templatetags.parts import UNKNOWN, at_place, kw, kwh, lasted
from apps.portal.selectors import InvitationRow, LocationRow, PersonRow, StationRow

_RIGHT = {"th": {"class": "right"}, "td": {"class": "right"}}
_HEAD = {"td": {"class": "head"}}
_KEEP = {"td": {"class": "keep"}}
_EXACT = {"td": {"class": "exact"}}


def _link(name: str, public_id: Any, text: str) -> str:
    return format_html('<a href="{}">{}</a>', reverse(name, args=[public_id]), text)


def _step(name: str, public_id: Any, text: str, whose: str) -> str:
    """A link to what can be done with a row; who cannot see the row hears whose it is."""
    url = reverse(name, args=[public_id])
    return format_html('<a href="{}">{}<span class="hidden-text"> {}</span></a>', url, text, whose)


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
    started_at = tables.Column(
        gettext_lazy("Start"), order_by=("started_at", "pk"), attrs={"td": {"class": "head keep"}}
    )
    state = tables.Column(gettext_lazy("State"), order_by=("state", "started_at"), attrs=_KEEP)
    place = tables.Column(gettext_lazy("Location"), order_by=("location__name", "started_at"))
    station = tables.Column(gettext_lazy("Charger"), orderable=False, empty_values=())
    card = tables.Column(gettext_lazy("Card"), orderable=False, empty_values=())
    duration = tables.Column(gettext_lazy("Duration"), orderable=False, empty_values=(), attrs=_RIGHT)
    energy = tables.Column(gettext_lazy("Energy"), orderable=False, empty_values=(), attrs=_RIGHT)
    power = tables.Column(gettext_lazy("Power"), orderable=False, empty_values=(), attrs=_RIGHT)

    caption = gettext_lazy("Sessions")
    empty_title = gettext_lazy("No session here")

    class Meta:
        empty_text = gettext_lazy("A session appears here as soon as a car begins to charge. No filter set too tight?")

    def count_text(self, count: int) -> str:
        return ngettext("%(count)s session", "%(count)s sessions", count) % {"count": count}

    def render_started_at(self, record: SessionRow) -> str:
        return _link("portal:session", record.public_id, at_place(record.started_at, record.zone))

    def render_state(self, record: SessionRow) -> str:
        return render_to_string("portal/session_state.html", {"session": record})

    def render_station(self, record: SessionRow) -> str:
        return self.plain_station(record) or UNKNOWN

    def render_card(self, record: SessionRow) -> str:
        return self.plain_card(record)

    def render_duration(self, record: SessionRow) -> str:
        return lasted(record.duration_s)

    def render_energy(self, record: SessionRow) -> str:
        return kwh(record.energy_wh)

    def render_power(self, record: SessionRow) -> str:
        return kw(record.power_w)

    def plain_started_at(self, record: SessionRow) -> str:
        return record.started_at.isoformat()

    def plain_state(self, record: SessionRow) -> str:
        return record.state_word

    def plain_station(self, record: SessionRow) -> str:
        return f"{record.station} #{record.connector_number}" if record.station else ""

    def plain_card(self, record: SessionRow) -> str:
        return (record.card or UNKNOWN) if record.own_card else _("another card")

    def plain_duration(self, record: SessionRow) -> int | None:
        return record.duration_s

    def plain_energy(self, record: SessionRow) -> int | None:
        return record.energy_wh

    def plain_power(self, record: SessionRow) -> int | None:
        return record.power_w

    def export_rows(self) -> Any:
        for number, row in enumerate(super().export_rows()):
            yield [*row[:5], _("Duration (s)"), _("Energy (Wh)"), _("Power (W)")] if number == 0 else row
