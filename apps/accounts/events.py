"""What accounts tells other apps."""

from apps.core import events

OPERATOR_CREATED = events.declare("accounts.operator_created", "A tenant was made: operator_id.")
INVITATION_MADE = events.declare("accounts.invitation_made", "Somebody was offered a role: invitation_id.")
PASSWORD_RESET_ASKED = events.declare(
    "accounts.password_reset_asked",
    "Somebody wants a new password: user_id, brand_id (of the host; None: the admin's), request_id (once a request).",
)
