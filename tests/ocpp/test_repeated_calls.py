"""A repeated id gets the stored answer, unless that said that nothing was stored."""

from __future__ import annotations

from apps.ocpp import batches
from apps.ocpp.models import Frame
from tests.factories.cards import TokenFactory
from tests.ocpp import live
from tests.ocpp.lanes import start_payload
from tests.ocpp.sockets import in_process


def test_a_call_that_could_not_be_stored_is_decided_anew_when_it_is_repeated(tenant, monkeypatch):
    station = live.add_station(tenant)
    payload = start_payload(TokenFactory(operator=tenant.operator).uid)

    def fail(*_args, **_kwargs):
        raise RuntimeError("unforeseen")

    with in_process() as process:
        charger = process.connect(station.identity)
        with monkeypatch.context() as patch:
            patch.setattr(batches.Batch, "attempt", fail)
            assert charger.call("s", "StartTransaction", payload)[2] == "InternalError"
        answer = charger.call("s", "StartTransaction", payload)
        assert answer[2]["idTagInfo"]["status"] == "Accepted"
        assert charger.call("s", "StartTransaction", payload) == answer
    assert Frame.objects.unscoped("a test").filter(station_id=station.pk).count() == 2
