"""The doorbell is heard for as long as the process lives, whatever becomes of the channel layer meanwhile (Redis where
there is one).
"""

from __future__ import annotations

import time

import pytest
from channels.layers import get_channel_layer

from apps.core import live as core_live
from apps.ocpp import gateway
from tests.ocpp import live
from tests.ocpp.sockets import InProcess, in_process


class Layer:
    """The channel layer, which cannot be reached at first."""

    def __init__(self) -> None:
        self.failures = 2

    def __getattr__(self, name):
        return getattr(get_channel_layer(), name)

    async def new_channel(self) -> str:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("no Redis")
        name: str = await get_channel_layer().new_channel()
        return name


def rings(process: InProcess, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the gateway hears its doorbell."""
    heard: list[float] = []
    monkeypatch.setattr(process.gateway.outbox, "ring", lambda: heard.append(time.monotonic()))

    def ring() -> bool:
        core_live.touch_committed({f"gateway.{process.gateway.name}"})
        time.sleep(0.3)
        return bool(heard)

    live.wait_for(ring)
    return True


def test_g18_the_doorbell_is_heard_after_its_membership_was_renewed(tenant, monkeypatch):
    monkeypatch.setattr(gateway, "MEMBERSHIP_S", 0.2)
    with in_process() as process:
        time.sleep(2)
        monkeypatch.setattr(gateway, "MEMBERSHIP_S", 3600.0)
        assert rings(process, monkeypatch)


def test_g18_the_doorbell_is_heard_though_there_was_no_redis_at_first(tenant, monkeypatch):
    layer = Layer()
    monkeypatch.setattr(gateway, "get_channel_layer", lambda: layer)
    with in_process() as process:
        assert rings(process, monkeypatch)
    assert layer.failures == 0
