"""Chargers of the demo that live on while Voltdesk runs."""

from __future__ import annotations

import datetime as dt

from django.conf import settings

from apps.accounts.models import Operator
from apps.accounts.permissions import Role
from apps.ocpp.demo.cast import HARBOUR, OWN_CHARGER, RIDGE, SIMULATED, cards_of
from apps.ocpp.models import OperatorKey
from apps.ocpp.selectors import charger_url
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


def demo_guide() -> list[tuple[str, str]]:
    """What somebody who starts the demo wants to know: label and text. Empty where there is no demo."""
    if not OperatorKey.objects.unscoped("the demo's operator").filter(operator__slug=HARBOUR.slug).exists():
        return []
    secrets = settings.EMBEDDED_SECRETS
    operator = Operator.objects.get(slug=HARBOUR.slug)
    url = charger_url(operator_id=operator.pk, identity=OWN_CHARGER, now=dt.datetime.now(dt.UTC))
    return [
        ("Sign in as", f"{HARBOUR.email(Role.OWNER)}  (back office; operations@, support@, viewer@ … too)"),
        ("", f"{HARBOUR.email(Role.MANAGER)}  ({HARBOUR.fleet_slug}.localhost; driver@ too)"),
        ("", f"{RIDGE.email(Role.OWNER)}  (the rival)"),
        ("Invoices", f"http://{HARBOUR.fleet_slug}.localhost:{settings.PORT}/invoices/  (as the fleet's manager)"),
        ("Password", secrets["DEMO_PASSWORD"]),
        ("API key", f"vd_{secrets['DEMO_API_KEY'][:10]}_{secrets['DEMO_API_KEY']}"),
        ("Your charger", url),
        ("its key", secrets["DEMO_STATION_KEY"]),
    ]
