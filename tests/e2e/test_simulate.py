"""`manage.py simulate` as somebody calls it who has no demo: five chargers, a profile each, at the running server."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from django.core.management import CommandError, call_command

from apps.charging.models import ReviewItem, Session, SessionState
from apps.installations.models import Boot, ChargingStation, StationState
from apps.ocpp.models import RepairCount
from apps.ocpp.simulator import Profile
from tests.e2e.conftest import ROOT
from tests.e2e.desk import Desk
from tests.factories.cards import TokenFactory
from tests.ocpp import live

# An hour of their lives takes a second; energy takes its time, so that a session has some Wh.
SPEED, PATIENCE_S = 3600, 60
CARDS = 60  # so that no two cars come with one
MOST_WH = 200


class Life:
    """What stands in the database of one charger."""

    def __init__(self, station: ChargingStation) -> None:
        self.of = {"station": station}
        self.state = StationState.everything.filter(**self.of)

    def sessions(self, state: str = SessionState.ENDED) -> list[Session]:
        return list(Session.everything.filter(**self.of, state=state).order_by("pk"))

    def doubts(self) -> list[ReviewItem]:
        return list(ReviewItem.everything.filter(**self.of))

    def connections(self) -> int:
        return self.state.get().generation

    def boots(self) -> int:
        return Boot.everything.filter(**self.of).count()

    def repairs(self) -> int:
        return RepairCount.everything.filter(**self.of).count()


@pytest.fixture(scope="module")
def lives(served: Desk, django_db_blocker) -> Iterator[dict[Profile, Life]]:
    """Each profile has shown what it is, and the command has been ended."""
    with django_db_blocker.unblock():
        tenant = served.tenant
        found = {
            profile: Life(live.add_station(tenant, identity=f"SIM-{number}"))
            for number, profile in enumerate(Profile, 1)
        }
        cards = [TokenFactory(operator=tenant.operator).uid for _ in range(CARDS)]
        command = (
            *(sys.executable, "manage.py", "simulate"),
            *("--url", f"ws://127.0.0.1:{served.port}/ocpp/{live.URL_KEY}"),
            *("--station", f"SIM-{{n}}:{live.SECRET}", "--count", str(len(Profile))),
            *(text for profile in Profile for text in ("--profile", profile)),
            *(text for card in cards for text in ("--card", card)),
            *("--speed", str(SPEED), "--seed", "3"),
        )
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for shown in (
            lambda: all(one.sessions() for one in found.values()),
            lambda: found[Profile.OFFLINE_REPLAYING].connections() > 1,
            lambda: found[Profile.REBOOTING].boots() > 1,
            lambda: any(one.session.state == SessionState.ENDED for one in found[Profile.CLOCK_OFF].doubts()),
        ):
            live.wait_for(shown, PATIENCE_S)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
        assert (process.returncode, errors) == (0, "")
        yield found


@pytest.mark.parametrize("profile", Profile)
def test_what_its_meter_counted_is_what_is_stored(lives, profile):
    """Once, and in Wh, also of one that says kWh and everything twice."""
    ended = lives[profile].sessions()
    assert len({one.transaction_id for one in ended}) == len(ended)
    assert all(0 <= one.energy_wh == one.meter_stop_wh - one.meter_start_wh < MOST_WH for one in ended)
    assert all(one.started_at < one.ended_at for one in ended)
    registers = [wh for one in ended for wh in (one.meter_start_wh, one.meter_stop_wh)]
    assert registers == sorted(registers)


def test_a_good_one_raises_no_doubt(lives):
    good = lives[Profile.GOOD]
    assert (good.connections(), good.boots(), good.repairs(), good.doubts()) == (1, 1, 0, [])


def test_one_that_was_offline_delivers_what_happened_then(lives):
    offline = lives[Profile.OFFLINE_REPLAYING]
    assert offline.connections() > 1
    assert (offline.boots(), offline.repairs(), offline.doubts()) == (1, 0, [])
    assert offline.sessions(SessionState.AWAITING) == []


def test_one_that_lost_power_ends_its_session_or_has_forgotten_it(lives):
    rebooting = lives[Profile.REBOOTING]
    assert rebooting.boots() > 1
    assert rebooting.connections() >= rebooting.boots()
    cut = [one for one in rebooting.sessions() if one.stop_reason == "PowerLoss"]
    assert cut or rebooting.sessions(SessionState.AWAITING)
    assert rebooting.repairs() == 0
    doubts = rebooting.doubts()
    assert {(one.code, one.session.state) for one in doubts} <= {("replaced", SessionState.AWAITING)}


def test_one_whose_clock_is_wrong_has_its_sessions_held(lives):
    off = lives[Profile.CLOCK_OFF]
    known = {
        one.pk for one in off.sessions() if any(abs(of or 0) > 300 for of in (one.start_offset_s, one.stop_offset_s))
    }
    doubts = [one for one in off.doubts() if one.session.state == SessionState.ENDED]
    assert known
    assert {one.session_id for one in doubts} == known
    assert {(one.code, one.blocking, one.state) for one in off.doubts()} == {("clock_offset", True, "open")}
    assert (off.connections(), off.boots()) == (1, 1)


def test_one_that_babbles_is_understood(lives):
    babbling = lives[Profile.BABBLING]
    assert babbling.repairs()
    assert babbling.doubts() == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [((), "Name a station"), (("--url", "ws://127.0.0.1/ocpp/x", "--station", "NOKEY"), "is not IDENTITY:KEY")],
)
def test_what_is_missing_is_said_in_words(arguments, told):
    with pytest.raises(CommandError, match=told):
        call_command("simulate", *arguments)
