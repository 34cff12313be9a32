"""The turnstile (contract G2), without sockets."""

from __future__ import annotations

from dataclasses import dataclass, field

from apps.ocpp.admission import MAX_WAITING, MAX_WAITING_BYTES, MAX_WAITING_STATION, Admission, Waiting


@dataclass
class Ticket:
    name: int
    admission: Admission
    begun: list[int]
    station_id: int = 1
    size: int = 10
    waiting: Waiting = field(default_factory=Waiting)
    at_once: bool = False

    def begin(self) -> None:
        self.begun.append(self.name)
        if self.at_once:
            self.admission.release(self.station_id)


def test_one_call_a_station_in_order_of_arrival():
    admission, begun, waiting = Admission(), [], Waiting()
    for name in range(4):
        assert admission.offer(Ticket(name, admission, begun, waiting=waiting))
    assert admission.offer(Ticket(100, admission, begun, station_id=2))
    assert begun == [0, 100]
    for _ in range(4):
        admission.release(1)
    assert begun == [0, 100, 1, 2, 3]
    assert (waiting.frames, waiting.size, admission.running) == (0, 0, 1)


def test_calls_that_are_answered_at_once_do_not_pile_up_on_the_stack():
    admission, begun = Admission(), []
    admission.offer(Ticket(0, admission, begun))
    for name in range(1, 60):
        admission.offer(Ticket(name, admission, begun, at_once=name != 30))
    admission.release(1)
    assert begun == list(range(31))
    admission.release(1)
    assert begun == list(range(60))
    assert admission.running == 0


def test_a_socket_may_have_64_frames_waiting():
    admission, begun, waiting = Admission(), [], Waiting()
    taken = [admission.offer(Ticket(name, admission, begun, waiting=waiting)) for name in range(MAX_WAITING + 2)]
    assert taken == [True] * (MAX_WAITING + 1) + [False]


def test_a_socket_may_have_two_mebibytes_waiting():
    admission, begun, waiting = Admission(), [], Waiting()
    half = MAX_WAITING_BYTES // 2
    taken = [admission.offer(Ticket(name, admission, begun, size=half, waiting=waiting)) for name in range(4)]
    assert taken == [True, True, True, False]


def test_sockets_that_come_and_go_do_not_fill_the_memory():
    admission, begun = Admission(), []
    taken = [admission.offer(Ticket(name, admission, begun)) for name in range(MAX_WAITING_STATION + 2)]
    assert taken[-2:] == [True, False]


def test_when_closed_nothing_new_is_admitted():
    admission, begun = Admission(), []
    admission.offer(Ticket(0, admission, begun))
    admission.offer(Ticket(1, admission, begun))
    admission.closed = True
    assert admission.offer(Ticket(2, admission, begun, station_id=2))
    admission.release(1)
    assert (begun, admission.running) == ([0], 0)
