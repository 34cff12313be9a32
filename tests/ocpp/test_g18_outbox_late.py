"""Contract G18 where the database takes its time, or takes nothing."""

from __future__ import annotations

import pytest

from apps.ocpp import outbox
from tests.factories.cast import make_tenant
from tests.ocpp.lanes import say
from tests.ocpp.outboxes import ask, connect, row

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant(transactional_db):
    return make_tenant("Amber")


def test_g18_a_claim_whose_commit_took_until_the_deadline_is_not_sent(tenant, clock, run, monkeypatch):
    claim = outbox._claim

    def slow(commands, now):
        claimed = claim(commands, now)
        clock.move(seconds=30)
        return claimed

    monkeypatch.setattr(outbox, "_claim", slow)
    command, socket = ask(tenant), connect(tenant)
    run.outbox.attach(socket)
    run.turn()
    run.turn()
    assert socket.sent == []
    assert (row(command).state, row(command).answered_by) == ("not_delivered", "system")


def test_g18_an_answer_waits_for_a_database_that_can_only_be_read(tenant, clock, run, monkeypatch):
    command, socket = ask(tenant, "ClearCache", {}), connect(tenant)
    run.outbox.attach(socket)
    run.turn()
    with monkeypatch.context() as patch:
        patch.setattr(
            outbox.services, "answer_command", lambda **_kwargs: say("25006", "attempt to write a readonly database")
        )
        with pytest.raises(outbox.Error):
            run.answer(socket, {"status": "Accepted"})
    run.turn()
    assert (row(command).state, row(command).detail) == ("done", "Accepted")
