"""What pages and the API show of the gateway: the URL of a charger, refused connections in words."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from django.conf import settings
from django.db.models import Q

from apps.ocpp.handshake import REMEDIES, Reason
from apps.ocpp.models import HandshakeRefusal, OperatorKey

_DEFAULT_PORTS = {"ws": 80, "wss": 443}


@dataclass(frozen=True, slots=True)
class RefusalRow:
    """A refused connection as it is shown. `reason` and `remedy` are words in the reader's language."""

    public_id: uuid.UUID
    identity: str
    address: str
    code: str
    reason: str
    remedy: str
    count: int
    first_at: dt.datetime
    last_at: dt.datetime
    user_agent: str
    station_id: int | None
    adoptable: bool


def charger_url(*, operator_id: int, identity: str, now: dt.datetime) -> str:
    """The URL that a charger is given: `ws(s)://host[:port]/ocpp/<operator key>/<identity>`."""
    key = (
        OperatorKey.objects.unscoped("the URL of the operator's own charger")
        .filter(Q(valid_until=None) | Q(valid_until__gt=now), operator_id=operator_id)
        .latest("created_at")
    )
    scheme = "wss" if settings.PUBLIC_SCHEME == "https" else "ws"
    port = "" if _DEFAULT_PORTS[scheme] == settings.PUBLIC_PORT else f":{settings.PUBLIC_PORT}"
    return f"{scheme}://{settings.CHARGER_HOST}{port}/ocpp/{key.key}/{quote(identity, safe='')}"


def describe_refusals(refusals: Iterable[HandshakeRefusal]) -> list[RefusalRow]:
    """The rows with reasons and remedies in words. A charger that nobody knows may be adopted."""
    return [_describe(refusal) for refusal in refusals]


def _describe(refusal: HandshakeRefusal) -> RefusalRow:
    reason = Reason(refusal.reason)
    return RefusalRow(
        public_id=refusal.public_id,
        identity=refusal.identity,
        address=refusal.address,
        code=refusal.reason,
        reason=str(reason.label),
        remedy=str(REMEDIES[reason]),
        count=refusal.count,
        first_at=refusal.first_at,
        last_at=refusal.last_at,
        user_agent=refusal.user_agent,
        station_id=refusal.station_id,
        adoptable=reason is Reason.UNKNOWN_STATION and refusal.station_id is None,
    )
