"""Hints to open pages: "this changed, fetch it again". Never data.

A topic is a short name (`operator.7`, `station.42`). A page subscribes with a signed list of topics that the server
rendered into it, so nobody listens to what they were not shown. Delivery is best effort: pages poll as well.

Topics share a few groups of the channel layer, so that a gateway sends at most so many messages a second however many
of its chargers speak. A gateway's own topic is its doorbell and has a group of its own.
"""

from __future__ import annotations

import asyncio
import threading
import time
import zlib
from collections.abc import Iterable

from channels.layers import get_channel_layer
from django.core import signing
from django.db import transaction

from apps.core.actor import Actor

MIN_INTERVAL_S = 1.0
SHARED_GROUPS = 16
_SALT = "core.live"

_loop: asyncio.AbstractEventLoop | None = None
_lock = threading.Lock()
_waiting: dict[str, set[str]] = {}  # group → topics that its next message names
_next: dict[str, float] = {}  # group → when it may be sent to again


def bind(loop: asyncio.AbstractEventLoop) -> None:
    """Tell this process's server loop, so that `touch` from any thread reaches its channel layer."""
    global _loop
    if loop is not _loop:
        with _lock:
            _waiting.clear()
        _loop = loop


def group(topic: str) -> str:
    """The channel layer's group that carries a topic's hints."""
    if topic.startswith("gateway."):
        return f"live.{topic}"
    return f"live.{zlib.crc32(topic.encode()) % SHARED_GROUPS}"


def sign(topics: list[str], actor: Actor) -> str:
    """The token that lets a page of `actor` listen to `topics` for a day."""
    return signing.dumps([*_whose(actor), topics], salt=_SALT)


def unsign(token: str, actor: Actor) -> list[str]:
    """The topics of a token. Raises `signing.BadSignature` when forged, older than a day or not given to `actor`."""
    *whose, topics = signing.loads(token, salt=_SALT, max_age=86_400)
    if whose != _whose(actor):
        raise signing.BadSignature
    return list(topics)


def _whose(actor: Actor) -> list[int | None]:
    return [actor.user_id, actor.operator_id]


def touch(*topics: str) -> None:
    """After the commit, tell pages that `topics` changed; at most once a second a topic."""
    transaction.on_commit(lambda: touch_committed(topics))


def touch_committed(topics: Iterable[str]) -> None:
    """The same for callers that manage their own transaction and have just committed."""
    loop = _loop
    if loop is None or loop.is_closed():
        return
    begun = []
    with _lock:
        for topic in topics:
            name = group(topic)
            if name not in _waiting:
                _waiting[name] = set()
                begun.append(name)
            _waiting[name].add(topic)
    if begun:
        loop.call_soon_threadsafe(_schedule, loop, begun)


def _schedule(loop: asyncio.AbstractEventLoop, groups: list[str]) -> None:
    now = time.monotonic()
    for name in groups:
        due = max(_next.get(name, 0.0), now)
        _next[name] = due + MIN_INTERVAL_S
        loop.call_at(loop.time() + due - now, _send, loop, name)


def _send(loop: asyncio.AbstractEventLoop, name: str) -> None:
    with _lock:
        topics = _waiting.pop(name, set())
    hint = {"type": "live.hint", "topics": sorted(topics)}
    task = loop.create_task(get_channel_layer().group_send(name, hint))
    task.add_done_callback(_ignore_failure)


def _ignore_failure(task: asyncio.Task[None]) -> None:
    # A lost hint costs a page at most its next poll.
    if not task.cancelled():
        task.exception()
