"""The websocket of open pages: it carries hints (`core.live`), nothing else, and takes no messages."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.core import signing
from django.db import Error

from apps.core import live
from apps.core.actor import Actor, Kind

NOT_SIGNED_IN = 4401
NOT_YOURS = 4403
MAX_TOPICS = 50
LOOK_AGAIN_S = 60.0  # after which an open socket learns that somebody signed out or lost a role


class LiveConsumer(AsyncJsonWebsocketConsumer):
    """`/live/?token=…`, the token signed by the page's view. Answers `{"topic": "station.42"}` for each hint.

    `actor_of` says who holds a scope's cookies at the moment; it is asked again as long as the socket is open.
    """

    groups: tuple[str, ...] = ()
    joined: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    watch: asyncio.Task[None] | None = None

    def __init__(self, actor_of: Callable[[dict[str, Any]], Actor]) -> None:
        super().__init__()
        self.actor_of = database_sync_to_async(actor_of)

    async def connect(self) -> None:
        # Accepted first: a browser tells a page the code of a close, not of a refused handshake.
        await self.accept()
        if not same_origin(self.scope):
            await self.close(NOT_YOURS)
            return
        if not await self._may_listen():
            return
        live.bind(asyncio.get_running_loop())
        self.joined = frozenset(live.group(topic) for topic in self.topics)
        for group in self.joined:
            await self.channel_layer.group_add(group, self.channel_name)
        self.watch = asyncio.create_task(self._look_again())

    async def _may_listen(self) -> bool:
        """Whether the token is good for who holds the cookies now; its topics. If not, the socket is closed."""
        actor = await self.actor_of(self.scope)
        token = parse_qs(self.scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if actor.kind is Kind.ANONYMOUS:
            await self.close(NOT_SIGNED_IN)
            return False
        try:
            self.topics = frozenset(live.unsign(token, actor)[:MAX_TOPICS])
        except signing.BadSignature:
            await self.close(NOT_YOURS)
            return False
        return True

    async def _look_again(self) -> None:
        while True:
            await asyncio.sleep(LOOK_AGAIN_S)
            with contextlib.suppress(Error):  # no database for a while: nothing is known, and nothing happens there
                if not await self._may_listen():
                    self.topics = frozenset()
                    return

    async def disconnect(self, code: int) -> None:
        if self.watch is not None:
            self.watch.cancel()
        for group in self.joined:
            await self.channel_layer.group_discard(group, self.channel_name)

    async def receive(self, *args: Any, **kwargs: Any) -> None:
        """Pages have nothing to say here."""

    async def live_hint(self, event: dict[str, Any]) -> None:
        """A hint from the channel layer; of its topics, those that this page listens to."""
        for topic in self.topics.intersection(event["topics"]):
            await self.send_json({"topic": topic})


def same_origin(scope: dict[str, Any]) -> bool:
    """Whether the page that opened the socket came from the host it speaks to."""
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    host = headers.get(b"host", "")
    return bool(host) and urlsplit(headers.get(b"origin", "")).netloc.lower() == host.lower()
