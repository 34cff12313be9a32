"""A charger and the back office's memory, without database or sockets: frames are read, decided and applied, and rows
are kept by the keys that the database would keep them by."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

from apps.charging import decisions
from apps.charging.facts import Body, Decision, Doubt, Facts, Message, ReadingRow, SessionFacts, TokenFacts, Unreadable
from apps.installations.status import ConnectorFacts, StationFacts
from apps.ocpp.v16 import hot

START = dt.datetime(2026, 11, 21, 12, 0, tzinfo=dt.UTC)
CARD = "04A2B3C4"
OPERATOR = 7


def iso(at: dt.datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


class Charger:
    """A charger's habits. `now` is when its messages arrive."""

    now = START

    def send(self, action: str, *, station: int = 1, **payload: Any) -> dict[str, Any]:
        """What the charger is answered."""
        raise NotImplementedError

    def start(
        self, *, connector: int = 1, card: str = CARD, at: Any = None, meter: Any = 1000, station: int = 1
    ) -> int:
        """A start now, unless a time is given; the transaction id it is answered."""
        sent = at if isinstance(at, str) else iso(at or self.now)
        answer = self.send(
            "StartTransaction", station=station, connectorId=connector, idTag=card, timestamp=sent, meterStart=meter
        )
        transaction: int = answer["transactionId"]
        return transaction

    def stop(
        self, transaction: int, *, at: Any = None, meter: Any = 5000, station: int = 1, **more: Any
    ) -> dict[str, Any]:
        sent = at if isinstance(at, str) else iso(at or self.now)
        return self.send(
            "StopTransaction", station=station, transactionId=transaction, timestamp=sent, meterStop=meter, **more
        )

    def measure(
        self,
        register: Any = None,
        *,
        transaction: int | None = None,
        connector: int = 1,
        at: Any = None,
        station: int = 1,
    ) -> None:
        sent = at if isinstance(at, str) else iso(at or self.now)
        samples = [{"value": str(register), "unit": "Wh"}]
        payload: dict[str, Any] = {
            "connectorId": connector,
            "meterValue": [{"timestamp": sent, "sampledValue": samples}],
        }
        if transaction is not None:
            payload["transactionId"] = transaction
        self.send("MeterValues", station=station, **payload)

    def boot(self, *, station: int = 1) -> None:
        self.send("BootNotification", station=station, chargePointVendor="V", chargePointModel="M")

    def wait(self, **time: float) -> dt.datetime:
        self.now += dt.timedelta(**time)
        return self.now


class World(Charger):
    """Stations 1 and 2 of one operator, two connectors of 22 kW each, one card."""

    def __init__(self, **station: Any) -> None:
        session_ids, transaction_ids = itertools.count(1000), itertools.count(1)
        self.facts = Facts(new_session_id=lambda: next(session_ids), new_transaction_id=lambda: next(transaction_ids))
        for pk in (1, 2):
            connectors = {
                number: ConnectorFacts(number, 22_000 if number else 0, number or None) for number in range(3)
            }
            values = {"unknown_cards": "refuse", "clock_offset_s": None, "booted_at": None} | station
            self.facts.stations[pk] = StationFacts(
                id=pk,
                operator_id=OPERATOR,
                location_id=1,
                host_id=None,
                seller_id=1,
                time_zone="Europe/Berlin",
                connectors=connectors,
                **values,
            )
        self.add_card(CARD)
        self.readings: dict[tuple[Any, ...], ReadingRow] = {}
        self.doubts: dict[tuple[int, str], Doubt] = {}
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._sequence = itertools.count(1)

    def add_card(self, uid: str, **values: Any) -> TokenFacts:
        card: dict[str, Any] = {"state": "active", "expires_at": None, "organisation_id": None, "holder_id": None}
        card |= {"byte_order": "as_printed", "contracts": [(dt.date.min, None)]} | values
        token = TokenFacts(id=len(self.facts.tokens) + 1, uid=uid, **card)
        self.facts.tokens[OPERATOR, uid] = token
        return token

    def send(self, action: str, *, station: int = 1, **payload: Any) -> dict[str, Any]:
        """What the charger is answered."""
        body, repairs = hot.read(action, payload, self.now)
        return hot.write(action, self.decide(body, station=station, repairs=repairs).reply, self.now)

    def decide(self, body: Body, *, station: int = 1, repairs: tuple[str, ...] = ()) -> Decision:
        message = Message(station, OPERATOR, 1, next(self._sequence), self.now, body, repairs)
        decision = decisions.decide(message, self.facts, self.now)
        self.facts.apply(decision, station)
        for row in decision.readings:
            self.readings.setdefault((row.at, row.station_id, row.connector_number, row.digest), row)
        for doubt in decision.doubts:
            known = {(one.session_id, one.code) for one in self.doubts.values() if one.session_id is not None}
            if (doubt.session_id, doubt.code) not in known:
                self.doubts.setdefault((station, doubt.key), doubt)
        self.events.extend(decision.events)
        return decision

    def lose(
        self, action: str, *, key: str = "k" * 32, connector: int = 1, quarantined: bool = False
    ) -> dict[str, Any]:
        body = Unreadable(action, connector, "boom", key, CARD, quarantined)
        return hot.write(action, self.decide(body).reply, self.now)

    # --- what is known afterwards ---

    @property
    def sessions(self) -> list[SessionFacts]:
        return [session for sessions in self.facts.sessions_by_key.values() for session in sessions]

    def session(self, transaction: int) -> SessionFacts:
        return self.facts.sessions_by_transaction[transaction]

    def codes(self, *, blocking: bool | None = None) -> list[str]:
        """The codes of the review items, sorted."""
        return sorted(doubt.code for doubt in self.doubts.values() if blocking in (None, doubt.blocking))

    def read_by(self, transaction: int) -> list[int | None]:
        """The registers of the session's readings, by time."""
        session = self.session(transaction)
        rows = sorted(row for row in self.readings.values() if row.session_id == session.id)
        return [row.register_wh for row in rows]


def energy_wh(session: SessionFacts) -> int | None:
    if session.meter_stop_wh is None or session.meter_start_wh is None:
        return None
    return session.meter_stop_wh - session.meter_start_wh
