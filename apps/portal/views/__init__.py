"""Pages of the portal: read with the request's actor, show."""

from apps.portal.views.cards import block_card, cards, order_cards, report_card_lost
from apps.portal.views.errors import not_found, server_error
from apps.portal.views.invoices import invoice, invoice_file, invoices
from apps.portal.views.people import end_access, invitations, invite, people, resend_invitation, revoke_invitation
from apps.portal.views.places import home, location, locations, station, stations
from apps.portal.views.reports import report
from apps.portal.views.sessions import session, sessions

__all__ = [
    "block_card",
    "cards",
    "end_access",
    "home",
    "invitations",
    "invite",
    "invoice",
    "invoice_file",
    "invoices",
    "location",
    "locations",
    "not_found",
    "order_cards",
    "people",
    "report",
    "report_card_lost",
    "resend_invitation",
    "revoke_invitation",
    "server_error",
    "session",
    "sessions",
    "station",
    "stations",
]
