"""How a low app tells high ones that something happened, without knowing them.

`publish` enqueues one task a subscriber through the ORM broker, in the caller's transaction: a rollback takes
the event back, a commit makes it durable. Delivery is at least once and in no order; payloads are ids.
"""

from __future__ import annotations

import importlib
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.core.cache import cache
from django_q.tasks import async_task

Payload = Mapping[str, Any]
Subscriber = Callable[[list[Payload]], None]

MAX_ATTEMPTS = 5
_names: dict[str, str] = {}
_subscribers: dict[str, list[str]] = defaultdict(list)


class UnknownEvent(LookupError):
    """A name that no app's `events.py` declares."""


class PoisonTask(RuntimeError):
    """A task that ended its worker too often; it is given up and logged instead of coming back for ever."""


def declare(name: str, meaning: str) -> str:
    """Declare an event `app.noun_verbed`; its meaning and payload keys are for the reader."""
    _names[name] = meaning
    return name


def on(name: str) -> Callable[[Subscriber], Subscriber]:
    """Subscribe a module-level function `(payloads) -> None`; it must be idempotent."""
    _require(name)

    def register(function: Subscriber) -> Subscriber:
        path = f"{function.__module__}.{function.__qualname__}"
        if path not in _subscribers[name]:
            _subscribers[name].append(path)
        return function

    return register


def publish(name: str, **payload: Any) -> None:
    """Tell all subscribers of `name`, if and when the current transaction commits."""
    publish_many(name, [payload])


def publish_many(name: str, payloads: Iterable[Payload]) -> None:
    """The same for a batch: one task a subscriber, whatever the size of the batch."""
    _require(name)
    batch = [dict(payload) for payload in payloads]
    if not batch:
        return
    for path in _subscribers[name]:
        async_task(deliver, path, batch, uuid.uuid4().hex, task_name=name[:100])


def deliver(path: str, payloads: list[Payload], delivery_id: str) -> None:
    """Run one subscriber. Called by the task cluster, at least once."""
    _count_attempt(delivery_id)
    module, _, function = path.rpartition(".")
    getattr(importlib.import_module(module), function)(payloads)
    cache.delete(_attempt_key(delivery_id))


def _count_attempt(delivery_id: str) -> None:
    # The cluster's own limit counts failures, not workers that died under a task.
    attempts = cache.get(_attempt_key(delivery_id), 0) + 1
    cache.set(_attempt_key(delivery_id), attempts, timeout=86_400)
    if attempts > MAX_ATTEMPTS:
        raise PoisonTask(f"delivery {delivery_id} began {attempts} times and never ended")


def _attempt_key(delivery_id: str) -> str:
    return f"event-attempts:{delivery_id}"


def _require(name: str) -> None:
    if name not in _names:
        raise UnknownEvent(name)
