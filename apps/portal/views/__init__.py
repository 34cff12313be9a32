"""Pages of the portal: read with the request's actor, show."""

from apps.portal.views.errors import not_found, server_error
from apps.portal.views.people import end_access, invitations, invite, people, resend_invitation, revoke_invitation
from apps.portal.views.places import home, location, locations, station, stations
from apps.portal.views.sessions import session, sessions

__all__ = [
    "end_access",
    "home",
    "invitations",
    "invite",
    "location",
    "locations",
    "not_found",
    "people",
    "resend_invitation",
    "revoke_invitation",
    "server_error",
    "session",
    "sessions",
    "station",
    "stations",
]
