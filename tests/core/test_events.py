"""Events reach their subscribers if and when the transaction commits, at least once, and poison is given up."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from django.db import transaction
from django_q.models import OrmQ

from apps.core import events
from tests.factories.tasks import run_tasks

HEARD: list[events.Payload] = []
TRIED = events.declare("core.tried", "a test's own event; `n`")


@events.on(TRIED)
def hear(payloads: list[events.Payload]) -> None:
    HEARD.extend(payloads)


@pytest.fixture(autouse=True)
def silence():
    HEARD.clear()


def test_an_unknown_name_is_refused():
    with pytest.raises(events.UnknownEvent):
        events.publish("core.never_declared")
    with pytest.raises(events.UnknownEvent):
        events.on("core.never_declared")


@pytest.mark.django_db(transaction=True)
def test_a_rollback_takes_the_event_back():
    with transaction.atomic():
        events.publish(TRIED, n=1)
        transaction.set_rollback(True)
    assert not OrmQ.objects.exists()
    events.publish(TRIED, n=2)
    assert OrmQ.objects.count() == 1


@pytest.mark.django_db
def test_a_batch_is_one_task_a_subscriber_and_an_empty_one_none():
    events.publish_many(TRIED, [{"n": n} for n in range(500)])
    events.publish_many(TRIED, [])
    assert run_tasks() == 1
    assert [payload["n"] for payload in HEARD] == list(range(500))


def test_a_delivery_that_never_ends_is_given_up():
    path = f"{hear.__module__}.{hear.__qualname__}"
    cache.set("event-attempts:d1", events.MAX_ATTEMPTS)
    with pytest.raises(events.PoisonTask):
        events.deliver(path, [{"n": 1}], "d1")
    assert HEARD == []
    events.deliver(path, [{"n": 1}], "d2")
    assert HEARD == [{"n": 1}]
    assert cache.get("event-attempts:d2") is None
