"""Which path leads where before Django sees it. Websockets: one table. HTTP: chargers' paths speak websocket only."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from channels.sessions import CookieMiddleware

from apps.accounts.selectors import actor_of_socket
from apps.core.consumers import LiveConsumer
from apps.ocpp.consumers import ChargerConsumer

Application = Callable[[Any, Any, Any], Awaitable[None]]

CHARGERS = "/ocpp/"
CHARGER_PATH = re.compile(r"/ocpp/[^/]+/[^/]+\Z")
LIVE = "/live/"
HEALTH = ("/healthz", "/readyz")

# Prefix → application. Chargers come on any host and without Origin; everything else must check both.
WEBSOCKETS: dict[str, Application] = {
    CHARGERS: ChargerConsumer.as_asgi(),
    LIVE: CookieMiddleware(LiveConsumer.as_asgi(actor_of=actor_of_socket)),
}


def websockets(table: dict[str, Application]) -> Application:
    """The first prefix of `table` that fits; else 404."""

    async def route(scope: Any, receive: Any, send: Any) -> None:
        for prefix, application in table.items():
            if scope["path"].startswith(prefix):
                await application(scope, receive, send)
                return
        await receive()
        await send({"type": "websocket.http.response.start", "status": 404, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"Nothing here."})

    return route


def pages(django: Application) -> Application:
    """Django, but for the chargers' paths: key and identity. Pages of the back office that begin so end in a slash."""

    async def route(scope: Any, receive: Any, send: Any) -> None:
        if CHARGER_PATH.match(scope["path"]):
            await _upgrade_required(send)
        else:
            await django(scope, receive, send)

    return route


def health_only(django: Application) -> Application:
    """Django for `/healthz` and `/readyz`; nothing else."""

    async def route(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] in HEALTH:
            await django(scope, receive, send)
        elif CHARGER_PATH.match(scope["path"]):
            await _upgrade_required(send)
        else:
            await _answer(send, 404, b"Chargers only.")

    return route


async def _upgrade_required(send: Any) -> None:
    await _answer(send, 426, b"Chargers connect here, by websocket.", (b"upgrade", b"websocket"))


async def _answer(send: Any, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    plain = (b"content-type", b"text/plain; charset=utf-8")
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [plain, length, *headers]})
    await send({"type": "http.response.body", "body": body})
