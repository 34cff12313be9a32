"""What may be asked of a charger: who must say why, how long it may wait, when its effect is due. Data, in the terms of
OCPP 1.6; a package of another protocol version translates them.

What only a higher app can judge it judges in a function of its own, registered with `judges`."""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import jsonschema_rs
from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from apps.installations.models import ChargingStation
from apps.installations.secrets import is_secret_key, mask_value

# No live socket for this long means "not delivered" (gateway contract G18).
AT_ONCE = dt.timedelta(seconds=30)
# How long a charger has to answer a call.
ANSWER_WITHIN = dt.timedelta(seconds=30)
# An owner that has not written the outcome by now is gone.
OWNER_GONE = dt.timedelta(seconds=60)
# A read whose socket broke is asked again, but no charger that falls over it is asked for ever.
READ_AGAIN = dt.timedelta(minutes=10)

MAX_PAYLOAD = 20_000
MAX_DEPTH = 16
MAX_OPEN = 50
MAX_INTEGER = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Rule:
    """What people call an action, and how it is treated. `delivery` counts from creation; `effect` from the charger's
    yes (None: the yes is the effect); `scheduled` from the answer "Scheduled". A program that starts sessions for its
    drivers has no other reason than that; a person has."""

    title: Promise | str
    delivery: dt.timedelta
    effect: dt.timedelta | None = None
    scheduled: dt.timedelta | None = None
    waits: bool = False
    needs_reason: bool = False
    needs_reason_of_people: bool = False
    is_read: bool = False

    def asks_why(self, *, a_person: bool) -> bool:
        """Whether who asks must say why."""
        return self.needs_reason or (a_person and self.needs_reason_of_people)

    def effect_within(self, answer: str) -> dt.timedelta | None:
        return self.scheduled if answer == "Scheduled" and self.scheduled else self.effect


_WEEK = dt.timedelta(days=7)

RULES: Mapping[str, Rule] = {
    "RemoteStartTransaction": Rule(
        _("Start a session"), AT_ONCE, effect=dt.timedelta(minutes=2), needs_reason_of_people=True
    ),
    "RemoteStopTransaction": Rule(_("Stop a session"), AT_ONCE, effect=dt.timedelta(minutes=2), needs_reason=True),
    "Reset": Rule(_("Reset"), AT_ONCE, effect=dt.timedelta(minutes=5), needs_reason=True),
    "UnlockConnector": Rule(_("Unlock"), AT_ONCE, needs_reason=True),
    "TriggerMessage": Rule(_("Ask for a message"), AT_ONCE, effect=dt.timedelta(minutes=1), is_read=True),
    "DataTransfer": Rule(_("Vendor message"), AT_ONCE),
    "ChangeAvailability": Rule(
        _("Availability"), _WEEK, effect=dt.timedelta(minutes=2), scheduled=dt.timedelta(days=1), waits=True
    ),
    "ChangeConfiguration": Rule(_("Change configuration"), _WEEK, waits=True),
    "GetConfiguration": Rule(_("Read configuration"), dt.timedelta(days=1), waits=True, is_read=True),
    "ClearCache": Rule(_("Clear card cache"), _WEEK, waits=True),
}


def title_of(action: str) -> str:
    """What people call it; a name that is not known stays as it is."""
    rule = RULES.get(action)
    return str(rule.title) if rule else action


Judge = Callable[[ChargingStation, dict[str, Any]], None]

_judges: dict[str, list[Judge]] = defaultdict(list)


def judges(action: str) -> Callable[[Judge], Judge]:
    """Register `(station, payload) -> None`, which raises ValidationError (`payload`) where `action` names what is not
    that charger's. It is called before the command is written, with a payload that fits the schema."""

    def register(judge: Judge) -> Judge:
        if judge not in _judges[action]:
            _judges[action].append(judge)
        return judge

    return register


def check_target(station: ChargingStation, action: str, payload: dict[str, Any]) -> None:
    """Ask every registered judge of `action`. Raises what they raise."""
    for judge in _judges[action]:
        judge(station, payload)


def check_payload(action: str, payload: dict[str, Any]) -> None:
    """Refuse what the charger could only refuse too. Raises ValidationError for `action` or `payload`.

    Source: the JSON schemas of OCPP 1.6 and its sections 5.2 to 5.17.
    """
    if action not in RULES:
        raise ValidationError({"action": gettext("This command is not known.")})
    for value in _scalars(payload):
        if not _sendable(value):
            raise ValidationError({"payload": gettext("The command holds a character or number that cannot be sent.")})
    if len(json.dumps(payload)) > MAX_PAYLOAD:
        raise ValidationError({"payload": gettext("The command is too long.")})
    for error in _validator(action).iter_errors(payload):
        raise ValidationError(
            {"payload": gettext("The command's data do not fit: %(error)s") % {"error": error.message}}
        )
    _check_meaning(action, payload)


def _check_meaning(action: str, payload: dict[str, Any]) -> None:
    lowest = {"UnlockConnector": 1, "RemoteStartTransaction": 1}.get(action, 0)
    if payload.get("connectorId", lowest) < lowest:
        raise ValidationError({"payload": gettext("The connector number is too small for this command.")})
    if mask_value(payload) != payload or (action == "ChangeConfiguration" and is_secret_key(payload["key"])):
        raise ValidationError(
            {
                "payload": gettext(
                    "A secret is not sent as a command: it would be kept in clear. Renew the charger's key instead."
                )
            }
        )


@cache
def _validator(action: str) -> Any:
    schema = json.loads((resources.files("ocpp.v16") / "schemas" / f"{action}.json").read_text())
    return jsonschema_rs.validator_for(schema, validate_formats=False)


def _scalars(value: Any, depth: int = 1) -> Iterator[Any]:
    if depth > MAX_DEPTH:
        raise ValidationError({"payload": gettext("The command's data are nested too deeply.")})
    if isinstance(value, dict):
        for key, part in value.items():
            yield key
            yield from _scalars(part, depth + 1)
    elif isinstance(value, list):
        for part in value:
            yield from _scalars(part, depth + 1)
    else:
        yield value


def _sendable(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" not in value and not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, float):
        return abs(value) < float(2**53)
    return not isinstance(value, int) or abs(value) <= MAX_INTEGER
