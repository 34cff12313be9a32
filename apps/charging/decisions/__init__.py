"""What a message means for authorisations, sessions, readings and review: pure functions of facts.

No database, no clock, no I/O: the gateway's batches call them for messages, `services` for repairs. A message is
never refused here; what is doubtful becomes a review item (gateway contract, Keys, G6, G7).
"""

from __future__ import annotations

import datetime as dt

from apps.charging.decisions.cards import authorise, decide_authorise, find_token
from apps.charging.decisions.common import OFFSET_LIMIT_S
from apps.charging.decisions.ends import decide_ended
from apps.charging.decisions.readings import decide_measured
from apps.charging.decisions.starts import decide_booted, decide_started, decide_unreadable
from apps.charging.facts import Authorise, Decision, Ended, Facts, Measured, Message, Started, Unreadable
from apps.installations.status import Booted

__all__ = ["OFFSET_LIMIT_S", "authorise", "decide", "find_token"]


def decide(message: Message, facts: Facts, now: dt.datetime) -> Decision:
    """What follows from one message. Nothing is changed: `Facts.apply` does that, `store` writes it."""
    body = message.body
    if isinstance(body, Measured):
        return decide_measured(message, body, facts)
    if isinstance(body, Authorise):
        return decide_authorise(message, body, facts, now)
    if isinstance(body, Started):
        return decide_started(message, body, facts)
    if isinstance(body, Ended):
        return decide_ended(message, body, facts)
    if isinstance(body, Booted):
        return decide_booted(message, facts)
    if isinstance(body, Unreadable):
        return decide_unreadable(message, body, facts)
    return Decision()
