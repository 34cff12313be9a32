"""What the portal's pages show, as typed rows."""

from apps.portal.selectors.overview import Months, Overview, months, overview
from apps.portal.selectors.people import (
    InvitationRow,
    PersonRow,
    invitation_rows,
    open_invitations,
    person_rows,
    visible_people,
)
from apps.portal.selectors.places import (
    BROKEN,
    HEALTH,
    LocationRow,
    StationRow,
    location_rows,
    station_rows,
    visible_locations,
    visible_stations,
)
from apps.portal.selectors.sessions import SessionEvent, SessionLife, session_life

__all__ = [
    "BROKEN",
    "HEALTH",
    "InvitationRow",
    "LocationRow",
    "Months",
    "Overview",
    "PersonRow",
    "SessionEvent",
    "SessionLife",
    "StationRow",
    "invitation_rows",
    "location_rows",
    "months",
    "open_invitations",
    "overview",
    "person_rows",
    "session_life",
    "station_rows",
    "visible_locations",
    "visible_people",
    "visible_stations",
]
