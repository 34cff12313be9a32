"""Sessions with their evidence (`sessions`), and what became of them (`cdrs`)."""

from apps.charging.models.cdrs import Cdr, CdrKind, HoldReason, RatedItem, Settlement, SettlementState
from apps.charging.models.sessions import (
    Authorisation,
    AuthorisationReason,
    AuthorisationStatus,
    Counter,
    Reading,
    ReviewCode,
    ReviewItem,
    ReviewState,
    Session,
    SessionLive,
    SessionState,
    new_session_id,
)

__all__ = [
    "Authorisation",
    "AuthorisationReason",
    "AuthorisationStatus",
    "Cdr",
    "CdrKind",
    "Counter",
    "HoldReason",
    "RatedItem",
    "Reading",
    "ReviewCode",
    "ReviewItem",
    "ReviewState",
    "Session",
    "SessionLive",
    "SessionState",
    "Settlement",
    "SettlementState",
    "new_session_id",
]
