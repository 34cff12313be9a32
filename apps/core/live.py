"""Hints to open pages: "this changed, fetch it again". Never data.

A topic is a short name (`operator.7`, `station.42`). A page subscribes with a signed list of topics that the server
rendered into it, so nobody listens to what they were not shown. Delivery is best effort: pages poll as well.
"""

from __future__ import annotations

import asyncio
import threading
import time

from channels.layers import get_channel_layer
from django.core import signing
from django.db import transaction

MIN_INTERVAL_S = 1.0
_SALT = "core.live"

_loop: asyncio.AbstractEventLoop | None = None
_lock = threading.Lock()
_due: dict[str, float] = {}


def bind(loop: asyncio.AbstractEventLoop) -> None:
    """Tell this process's server loop, so that `touch` from any thread reaches its channel layer."""
    global _loop
    _loop = loop


def group(topic: str) -> str:
    return f"live.{topic}"


def sign(topics: list[str]) -> str:
    """The token that lets a page listen to `topics` for a day."""
    return signing.dumps(topics, salt=_SALT)


def unsign(token: str) -> list[str]:
    """The topics of a token. Raises `signing.BadSignature` when forged or older than a day."""
    topics: list[str] = signing.loads(token, salt=_SALT, max_age=86_400)
    return topics


def touch(*topics: str) -> None:
    """After the commit, tell pages that `topics` changed; at most once a second a topic."""
    transaction.on_commit(lambda: _touch_now(topics))


def touch_committed(topics: set[str]) -> None:
    """The same for callers that manage their own transaction and have just committed."""
    _touch_now(tuple(topics))


def _touch_now(topics: tuple[str, ...]) -> None:
    loop = _loop
    if loop is None or loop.is_closed():
        return
    now = time.monotonic()
    with _lock:
        waits = {topic: max(_due.get(topic, 0.0) - now, 0.0) for topic in topics}
        fresh = {topic: wait for topic, wait in waits.items() if _due.get(topic, 0.0) <= now + MIN_INTERVAL_S}
        for topic, wait in fresh.items():
            _due[topic] = now + wait + MIN_INTERVAL_S
        if len(_due) > 50_000:
            for topic in [topic for topic, due in _due.items() if due < now]:
                del _due[topic]
    if fresh:
        loop.call_soon_threadsafe(_schedule, loop, fresh)


def _schedule(loop: asyncio.AbstractEventLoop, waits: dict[str, float]) -> None:
    for topic, wait in waits.items():
        loop.call_later(wait, _send, loop, topic)


def _send(loop: asyncio.AbstractEventLoop, topic: str) -> None:
    task = loop.create_task(get_channel_layer().group_send(group(topic), {"type": "live.hint", "topic": topic}))
    task.add_done_callback(_ignore_failure)


def _ignore_failure(task: asyncio.Task[None]) -> None:
    # A lost hint costs a page at most its next poll.
    if not task.cancelled():
        task.exception()
