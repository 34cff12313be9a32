"""Chargers of the demo that live on while Voltdesk runs."""

from __future__ import annotations

from django.conf import settings

from apps.ocpp.demo.cast import HARBOUR, SIMULATED, cards_of
from apps.ocpp.models import OperatorKey
from apps.ocpp.simulator import LiveClock, Profile, SimulatedCharger


def demo_lives(*, count: int | None, speed: float) -> list[tuple[SimulatedCharger, Profile, list[str]]]:
    """The first `count` chargers (default: two) of the demo's operator, each with how it lives and its cards.

    The first charges soon and for long; the other profiles are dealt out behind it. Raises IndexError without the demo.
    """
    url_key = OperatorKey.objects.unscoped("the demo's operator").filter(operator__slug=HARBOUR.slug)[:1][0]
    makes = {identity: make for place in HARBOUR.places for identity, make in place.stations()}
    profiles = [Profile.GOOD, Profile.OFFLINE_REPLAYING, Profile.GOOD, Profile.REBOOTING]
    lives = []
    for number, identity in enumerate(list(makes)[: count or len(SIMULATED)]):
        charger = SimulatedCharger(
            f"ws://127.0.0.1:{settings.PORT}/ocpp/{url_key.key}",
            identity,
            settings.EMBEDDED_SECRETS["DEMO_STATION_KEY"],
            hardware=makes[identity].hardware,
            clock=LiveClock(speed=speed),
        )
        cards = [uid for connector in charger.connectors for uid in cards_of(HARBOUR, identity, connector)]
        lives.append((charger, profiles[number % len(profiles)], cards))
    return lives
