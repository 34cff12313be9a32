"""`manage.py` as a process that ends as by kill -9 at a chosen point, which from outside only luck hits:

    python -m tests.kill.doomed "before COMMIT" 20 serve --port 8000

ends at the twentieth batch of several messages. The points are those of `BATCH` and `COMMAND`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from django.core.management import execute_from_command_line

FLUSHED_S = 0.002  # answers that were written to their sockets have left by then


class Fate:
    """Counts what passes a point with at least so many messages, and ends the process at the last."""

    def __init__(self, number: int, at_least: int) -> None:
        self._left = number
        self._at_least = at_least

    def is_met(self, messages: Sequence[Any]) -> bool:
        if len(messages) < self._at_least:
            return False
        self._left -= 1
        return self._left <= 0

    def meet(self, messages: Sequence[Any]) -> None:
        if self.is_met(messages):
            end()


def end() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before_the_batch(fate: Fate) -> None:
    from apps.ocpp.batches import Batch

    _around(Batch, "attempt", before=lambda batch: fate.meet(batch.calls))


def between_facts_and_frames(fate: Fate) -> None:
    from apps.ocpp.batches import Batch

    _around(Batch, "_decide", after=lambda batch: fate.meet(batch.calls))


def before_commit(fate: Fate) -> None:
    from apps.ocpp.batches import Batch

    _around(Batch, "_write", after=lambda batch: fate.meet(batch.calls))


def between_commit_and_answers(fate: Fate) -> None:
    from apps.ocpp.batches import Batch

    _around(Batch, "attempt", after=lambda batch: fate.meet(batch.calls))


def between_two_answers(fate: Fate) -> None:
    from apps.ocpp.inbox import Inbox

    settle = Inbox._settle_portion

    def settle_half(inbox: Inbox, answers: list[Any], start: int) -> None:
        if start == 0 and fate.is_met(answers):
            for call, answer in answers[: len(answers) // 2]:
                call.settle(answer)
            inbox.loop.call_later(FLUSHED_S, end)
        else:
            settle(inbox, answers, start)

    Inbox._settle_portion = settle_half  # type: ignore[method-assign]


def between_row_and_frame(fate: Fate) -> None:
    from apps.ocpp import outbox

    claim = outbox._claim

    def claim_and_end(commands: list[Any], now: Any) -> list[Any]:
        claimed = claim(commands, now)
        fate.meet(claimed)
        return claimed

    outbox._claim = claim_and_end


def _around(owner: type, name: str, *, before: Callable[[Any], None] | None = None, after: Any = None) -> None:
    real = getattr(owner, name)

    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        if before is not None:
            before(self)
        result = real(self, *args, **kwargs)
        if after is not None:
            after(self)
        return result

    setattr(owner, name, wrapped)


BATCH = {
    "before the batch": before_the_batch,
    "between facts and frames": between_facts_and_frames,
    "before COMMIT": before_commit,
    "between COMMIT and answers": between_commit_and_answers,
    "between two answers": between_two_answers,
}
COMMAND = {"between row and frame": between_row_and_frame}


def main(point: str, number: str, *arguments: str) -> None:
    import django

    django.setup()
    if point in BATCH:
        BATCH[point](Fate(int(number), at_least=2))
    else:
        COMMAND[point](Fate(int(number), at_least=1))
    execute_from_command_line(["manage.py", *arguments])


if __name__ == "__main__":
    main(*sys.argv[1:])
