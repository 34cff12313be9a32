"""The websocket of open pages: it carries hints (`core.live`), nothing else, and takes no messages."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qs, urlsplit

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.core import signing

from apps.core import live

NOT_SIGNED_IN = 4401
NOT_YOURS = 4403
MAX_TOPICS = 50


class LiveConsumer(AsyncJsonWebsocketConsumer):
    """`/live/?token=…`, the token signed by the page's view. Answers `{"topic": "station.42"}` for each hint."""

    groups: tuple[str, ...] = ()
    joined: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()

    async def connect(self) -> None:
        # Accepted first: a browser tells a page the code of a close, not of a refused handshake.
        await self.accept()
        user = self.scope.get("user")
        if user is None or not user.is_authenticated:
            await self.close(NOT_SIGNED_IN)
            return
        token = parse_qs(self.scope["query_string"].decode("latin-1")).get("token", [""])[0]
        try:
            self.topics = frozenset(live.unsign(token)[:MAX_TOPICS])
        except signing.BadSignature:
            await self.close(NOT_YOURS)
            return
        if not same_origin(self.scope):
            await self.close(NOT_YOURS)
            return
        live.bind(asyncio.get_running_loop())
        self.joined = frozenset(live.group(topic) for topic in self.topics)
        for group in self.joined:
            await self.channel_layer.group_add(group, self.channel_name)

    async def disconnect(self, code: int) -> None:
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
