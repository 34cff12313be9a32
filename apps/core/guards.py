"""What a service asks before it acts."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied, ValidationError
from django.utils.translation import gettext as _

from apps.core.actor import Actor


def require(actor: Actor, permission: str, host_id: int | None = None) -> int:
    """The actor's operator, if the actor may do this there."""
    if actor.operator_id is None or not actor.can(permission, organisation_id=host_id):
        raise PermissionDenied
    return actor.operator_id


def require_reason(why: str) -> str:
    """What somebody gave as a reason, trimmed. Raises ValidationError where it is empty."""
    if not why.strip():
        raise ValidationError({"why": _("Say why: this is kept with your name.")})
    return why.strip()
