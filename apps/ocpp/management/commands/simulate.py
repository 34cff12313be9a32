"""`manage.py simulate`: chargers that live over real websockets."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.ocpp.demo import demo_lives
from apps.ocpp.simulator import Hardware, LiveClock, Profile, SimulatedCharger, live

PLACE = "{n}"
Life = tuple[SimulatedCharger, Profile, list[str]]


class Command(BaseCommand):
    help = "Run simulated chargers until SIGTERM or Ctrl-C."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--url", help="up to and with the operator's key")
        parser.add_argument("--demo", action="store_true", help="chargers of the demo, on this machine's PORT")
        parser.add_argument(
            "--station",
            action="append",
            default=[],
            metavar="IDENTITY:KEY",
            help="a charger; {n} in it is replaced by the numbers 1 to COUNT",
        )
        parser.add_argument("--count", type=int, help="how many of each station that has {n}, or of the demo (2)")
        parser.add_argument(
            "--profile",
            action="append",
            choices=[str(one) for one in Profile],
            help="how they live; several are dealt out in turn (default: good)",
        )
        parser.add_argument("--card", action="append", help="UID of a card; without one only commands start sessions")
        parser.add_argument("--connectors", type=int, default=1)
        parser.add_argument("--speed", type=float, default=1.0, help="how much shorter their waits are")
        parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same lives")

    def handle(self, *args: Any, **options: Any) -> None:
        lives = demo_lives(count=options["count"], speed=options["speed"]) if options["demo"] else self._lives(options)
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(_run(lives))

    def _lives(self, options: dict[str, Any]) -> list[Life]:
        stations = _stations(options["station"], options["count"] or 1)
        if not stations or not options["url"]:
            raise CommandError("Name a station (--station IDENTITY:KEY) and where it connects (--url), or --demo.")
        profiles = [Profile(name) for name in options["profile"] or ["good"]]
        return [
            (self._charger(identity, key, options), profiles[number % len(profiles)], options["card"] or [])
            for number, (identity, key) in enumerate(stations)
        ]

    def _charger(self, identity: str, key: str, options: dict[str, Any]) -> SimulatedCharger:
        return SimulatedCharger(
            options["url"],
            identity,
            key,
            hardware=Hardware(connectors=options["connectors"]),
            clock=LiveClock(speed=options["speed"]),
            seed=options["seed"],
        )


def _stations(named: list[str], count: int) -> list[tuple[str, str]]:
    stations = []
    for text in named:
        for number in range(1, (count if PLACE in text else 1) + 1):
            identity, colon, key = text.replace(PLACE, str(number)).rpartition(":")
            if not colon:
                raise CommandError(f"{text!r} is not IDENTITY:KEY")
            stations.append((identity, key))
    return stations


async def _run(lives: list[Life]) -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    async with asyncio.TaskGroup() as tasks:
        for charger, profile, cards in lives:
            tasks.create_task(live(charger, profile, cards=cards))
