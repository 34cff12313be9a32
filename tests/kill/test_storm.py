"""All chargers connect at once, one attempt each: none with the right key is refused or waits in vain."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter

import pytest
from websockets.exceptions import InvalidStatus

from apps.installations.models import ChargingStation, StationState
from apps.ocpp import keys
from apps.ocpp.models import StationKey
from apps.ocpp.servers import raise_file_limit
from apps.ocpp.simulator import SimulatedCharger
from tests.factories.cast import Tenant
from tests.ocpp import live

STORM = int(os.environ.get("STORM", "500"))
CLIENT_PATIENCE_S = 30.0
WRONG = 100  # one in so many has a wrong key


@pytest.mark.parametrize("kind", ["uvicorn", "daphne"])
def test_a_storm_of_chargers_is_let_in(tenant, database, say, kind):
    make_stations(tenant, STORM)
    raise_file_limit()
    with live.running(kind, database) as server:
        seconds, outcomes = asyncio.run(storm(server.port, STORM))
        # Not "online": those that the client has closed by now are offline again.
        connected = StationState.objects.unscoped("a test").filter(connected_at__isnull=False).count()
        assert server.stop() == 0
    wrong = len(range(0, STORM, WRONG))
    say(f"{kind}: {STORM} connections in {seconds:.1f} s: {dict(outcomes)}")
    assert outcomes == {"accepted": STORM - wrong, "401": wrong}
    assert connected == STORM - wrong


def make_stations(tenant: Tenant, count: int) -> None:
    operator_id = tenant.operator.pk
    stations = ChargingStation.objects.bulk_create(
        ChargingStation(operator_id=operator_id, location=tenant.location, identity=f"STORM-{number}")
        for number in range(count)
    )
    StationState.objects.bulk_create(StationState(operator_id=operator_id, station=one) for one in stations)
    sealed = keys.seal(live.SECRET)
    StationKey.objects.bulk_create(
        StationKey(
            operator_id=operator_id,
            station=one,
            salt=sealed.salt,
            digest=sealed.digest,
            pepper_version=sealed.pepper_version,
        )
        for one in stations
    )


async def storm(port: int, count: int) -> tuple[float, Counter[str]]:
    """Seconds until the last answer, and the answers."""
    url = f"ws://127.0.0.1:{port}/ocpp/{live.URL_KEY}"
    chargers = [
        SimulatedCharger(url, f"STORM-{number}", live.SECRET if number % WRONG else live.SECRET[::-1])
        for number in range(count)
    ]
    began = time.monotonic()
    outcomes = Counter(await asyncio.gather(*map(attempt, chargers)))
    seconds = time.monotonic() - began
    await asyncio.gather(*(one.break_off() for one in chargers))
    return seconds, outcomes


async def attempt(charger: SimulatedCharger) -> str:
    try:
        await charger.connect(timeout_s=CLIENT_PATIENCE_S)
    except InvalidStatus as refused:
        return str(refused.response.status_code)
    except (OSError, TimeoutError) as trouble:
        return type(trouble).__name__
    return "accepted"
