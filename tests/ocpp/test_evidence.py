"""Whatever but a heartbeat is answered has its row by then, one for each time that it was received."""

from __future__ import annotations

import pytest

from apps.ocpp.models import Frame
from tests.ocpp import live

CALLS = {
    "an unknown action": '[2,"one","MakeCoffee",{}]',
    "an action of ours": '[2,"one","Reset",{"type":"Soft"}]',
    "a malformed call": '[2,"one","Authorize"]',
    "a malformed call of a rare action": '[2,"one","DataTransfer",[]]',
    "a null character": '[2,"one","Authorize",{"idTag":"a\0b"}]',
    "half of a surrogate pair": '[2,"one","Authorize",{"idTag":"\\ud800"}]',
    "a message type that does not exist": '[9,"one","Heartbeat",{}]',
    "a call without effect": '[2,"one","DataTransfer",{"vendorId":"x"}]',
}


@pytest.mark.parametrize("text", CALLS.values(), ids=CALLS)
def test_g19_an_answer_leaves_after_its_row_was_written(server, tenant, text):
    station = live.add_station(tenant)
    rows = Frame.objects.unscoped("a test").filter(station_id=station.pk, message_id="one")
    with live.connected(server, station.identity) as charger:
        for times in (1, 2, 3):
            charger.send_text(text)
            kind, _id, *rest = charger.receive()
            assert rows.count() == times
    assert rows.order_by("sequence")[0].error_code == (rest[0] if kind == 4 else "")
