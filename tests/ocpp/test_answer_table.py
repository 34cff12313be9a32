"""Every row of the answer table in docs/ocpp.md, on both servers."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from apps.ocpp.models import Frame
from tests.ocpp import live
from tests.ocpp.live import intervals_of, state_of
from tests.ocpp.sockets import status

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "ocpp.md").read_text()
HEARTBEAT = '[2,"a1","Heartbeat",{}]'
MIB = 1024 * 1024


def table(title: str) -> list[list[str]]:
    """The cells of the first table after a heading."""
    lines = DOCUMENT.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return rows[2:]


ROWS = table("What a charger is answered")
PLAIN = [row for row in ROWS if re.fullmatch(r"`.*`", row[1]) and not row[2].startswith("close")]
CLOSING = {row[0]: int(row[2].removeprefix("close ")) for row in ROWS if row[2].startswith("close")}


@pytest.fixture
def charger(server, tenant):
    station = live.add_station(tenant)
    with live.connected(server, station.identity) as one:
        yield one


def test_the_table_is_read_whole():
    assert len(PLAIN) + len(CLOSING) == len(ROWS) > 40


@pytest.mark.parametrize(("frame", "answer"), [row[1:] for row in PLAIN], ids=[row[0] for row in PLAIN])
def test_a_frame_is_answered_as_the_table_says(charger, frame, answer):
    charger.send_text(frame.strip("`"))
    charger.send_text('[2,"after","Heartbeat",{}]')
    received = charger.receive()
    if answer == "no answer":
        assert received[1] == "after"
        return
    assert received[1] == "a1"
    assert (received[0], received[2]) == (4, answer) if answer != "CALLRESULT" else received[0] == 3
    assert charger.receive()[1] == "after", "one frame has one answer, and the socket stays open"


def closed_with(charger: live.Charger) -> int:
    with pytest.raises(ConnectionClosed) as closed:
        list(iter(lambda: charger.websocket.recv(timeout=live.PATIENCE_S), None))
    assert closed.value.rcvd is not None, "the connection was dropped without a close frame"
    return closed.value.rcvd.code


def test_five_frames_without_a_usable_id_end_the_connection(charger):
    for _ in range(4):
        charger.send_text("[]")
    assert charger.call("Heartbeat")[0] == 3
    charger.send_text("[]")
    assert closed_with(charger) == CLOSING["five frames without a usable id"]


def test_frames_that_are_dropped_are_counted_where_operations_looks(server, charger):
    def dropped() -> tuple[int, int]:
        told = json.loads(server.get("/readyz")[1])["dropped"]
        return told.get("unusable", 0), told.get("unexpected answers", 0)

    unusable, unexpected = dropped()
    charger.send_text("[]")
    charger.send_text('[3,"nobody waits",{}]')
    charger.send_text('[4,"nobody waits","InternalError","",{}]')
    assert charger.call("Heartbeat")[0] == 3
    assert dropped() == (unusable + 1, unexpected + 2)


def test_a_binary_frame_ends_the_connection(charger):
    charger.websocket.send(HEARTBEAT.encode())
    assert closed_with(charger) == CLOSING["a binary frame"]


def test_g02_more_than_64_waiting_calls_end_the_connection_and_nothing_that_was_taken_is_lost(server, tenant):
    station = live.add_station(tenant)
    with live.connected(server, station.identity) as charger, live.held_up(station):
        with contextlib.suppress(ConnectionClosed):  # it may be closed before all of them are sent
            for number in range(100):
                charger.send(*status(number))
        assert closed_with(charger) == CLOSING["more than 64 waiting calls"]
    frames = Frame.objects.unscoped("test").filter(station_id=station.pk)
    live.wait_for(lambda: frames.count() >= 65)
    live.wait_for(lambda: not state_of(station).online)
    assert set(frames.values_list("message_id", flat=True)) == {f"s{number}" for number in range(65)}
    assert frames.count() == 65
    assert [one.reason for one in intervals_of(station)] == ["protocol"]


def test_a_frame_of_more_than_one_mebibyte_ends_the_connection(charger):
    charger.send_text(HEARTBEAT + " " * (MIB - len(HEARTBEAT)))
    assert charger.receive()[0] == 3
    with contextlib.suppress(ConnectionClosed):  # it may be closed before all of it is sent
        charger.send_text(HEARTBEAT + " " * MIB)
    assert closed_with(charger) == CLOSING["more than 1 MiB"]


def test_a_message_of_many_fragments_counts_as_one(charger):
    charger.websocket.send(iter([HEARTBEAT[:10], HEARTBEAT[10:]]))
    assert charger.receive()[0] == 3
    with contextlib.suppress(ConnectionClosed):  # it may be closed before the last fragment is sent
        charger.websocket.send([" " * (MIB // 2)] * 3)
    assert closed_with(charger) == 1009


def test_text_that_is_not_utf8_ends_the_connection(charger):
    charger.websocket.send(b'[2,"a1","\xff",{}]', text=True)
    assert closed_with(charger) == 1007


def test_deep_nesting_is_refused_and_harms_nobody(charger):
    charger.send_text('[2,"a1","DataTransfer",{"vendorId":' + "[" * 100 + "]" * 100 + "}]")
    assert charger.receive()[:3] == [4, "a1", "FormationViolation"]
    charger.send_text("[" * 100_000)
    charger.send_text('[2,"a1","DataTransfer",' + '{"a":' * 100_000 + "1" + "}" * 100_000 + "]")
    assert charger.call("Heartbeat")[0] == 3


def test_errors_carry_no_details(charger):
    charger.send_text('[2,"a1","DataTransfer",{"vendorId":7,"data":"hush"}]')
    answer = charger.receive()
    assert answer[4] == {}
    assert "hush" not in json.dumps(answer)
