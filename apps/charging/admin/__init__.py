"""Sessions with the review queue (`sessions`), and what became of them (`cdrs`)."""

from apps.charging.admin.cdrs import CdrAdmin, SettlementAdmin, settlement_chip
from apps.charging.admin.sessions import (
    CONSEQUENCES,
    AuthorisationAdmin,
    ReviewItemAdmin,
    SessionAdmin,
    evidence_lines,
    repairs_of,
    resolution_title,
)

__all__ = [
    "CONSEQUENCES",
    "AuthorisationAdmin",
    "CdrAdmin",
    "ReviewItemAdmin",
    "SessionAdmin",
    "SettlementAdmin",
    "evidence_lines",
    "repairs_of",
    "resolution_title",
    "settlement_chip",
]
