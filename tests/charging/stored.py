"""The same charger, with its messages in batches of the gateway and its rows in the database."""

from __future__ import annotations

import itertools
import json
import time
from concurrent.futures import Future
from typing import Any

from apps.charging.models import Reading, ReviewItem, Session
from apps.core.actor import Actor
from apps.ocpp import batches
from apps.ocpp.admission import Waiting
from apps.ocpp.clock import ClockWatch
from tests.charging.world import Charger
from tests.factories.cast import Tenant
from tests.ocpp.lanes import Settled

_numbers = itertools.count(1)


class Stored(Charger):
    """The tenant's charger 1; `stations` may name more. Each message is a batch of its own."""

    def __init__(self, tenant: Tenant) -> None:
        self.stations = {1: tenant.station}
        self.actor = Actor.system(tenant.operator)
        self.clock = ClockWatch()
        self.generation = 1
        self._ids = batches.Ids()

    def send(self, action: str, *, station: int = 1, **payload: Any) -> dict[str, Any]:
        kind, _message_id, confirmation, *_rest = self.ask(action, station=station, **payload)
        assert kind == 3, confirmation
        return dict(confirmation)

    def ask(self, action: str, *, station: int = 1, **payload: Any) -> list[Any]:
        """The frame of the answer."""
        number = next(_numbers)
        call = batches.Call(
            socket=Settled(Future()),
            station_id=self.stations[station].pk,
            operator_id=self.stations[station].operator_id,
            generation=self.generation,
            sequence=number,
            received_at=self.now,
            arrived=time.monotonic(),
            message_id=f"m{number}",
            action=action,
            payload=payload,
            raw=json.dumps([2, f"m{number}", action, payload]),
            clock=self.clock,
            waiting=Waiting(),
        )
        batches.read(call)
        ((_call, answer),) = batches.Batch([call], [], "test").attempt(self._ids, first=True)
        frame: list[Any] = json.loads(answer.text)
        return frame

    # --- what is known afterwards ---

    def session(self, transaction: int) -> Session:
        found: Session = Session.objects.visible_to(self.actor).get(transaction_id=transaction)
        return found

    def item(self, code: str) -> ReviewItem:
        found: ReviewItem = ReviewItem.objects.visible_to(self.actor).get(code=code)
        return found

    def open_items(self, code: str) -> list[ReviewItem]:
        return list(ReviewItem.objects.visible_to(self.actor).open().filter(code=code))

    def codes(self) -> list[str]:
        """The codes of the open review items, sorted."""
        return sorted(ReviewItem.objects.visible_to(self.actor).open().values_list("code", flat=True))

    def read_by(self, transaction: int) -> list[int | None]:
        """The registers of the session's readings, by time."""
        rows = Reading.objects.visible_to(self.actor).filter(session_id=self.session(transaction).pk)
        return list(rows.order_by("at").values_list("register_wh", flat=True))
