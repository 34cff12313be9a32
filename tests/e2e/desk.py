"""An operator at work: its pages served by `manage.py serve`, and chargers that live beside the browser."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Page

from apps.accounts.models import User
from apps.ocpp.simulator import SimulatedCharger
from tests.factories.accounts import PASSWORD
from tests.factories.cast import Tenant
from tests.ocpp import live


class Street:
    """Where chargers live: a loop in a thread of its own, since the browser's holds this one's."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def do[T](self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=40)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        async def run() -> Any:
            return function(*arguments)

        return self.do(run())

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(timeout=10)


@dataclass
class Desk:
    """The back office of one operator, served by `manage.py serve` on a database of its own."""

    tenant: Tenant
    port: int
    street: Street

    def url(self, path: str = "/") -> str:
        return f"http://admin.localhost:{self.port}{path}"

    def portal(self, path: str = "/") -> str:
        """On the fleet's own brand."""
        return f"http://{self.tenant.fleet_brand.host}:{self.port}{path}"

    def charger(self, identity: str, key: str, **options: Any) -> SimulatedCharger:
        return SimulatedCharger(f"ws://127.0.0.1:{self.port}/ocpp/{live.URL_KEY}", identity, key, **options)

    def known_charger(self, identity: str) -> SimulatedCharger:
        live.add_station(self.tenant, identity=identity)
        return self.charger(identity, live.SECRET)


def sign_in(page: Page, url: str, user: User) -> None:
    page.goto(url)
    page.get_by_role("textbox", name="E-mail").fill(user.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def what_is_refused(page: Page) -> list[str]:
    """What its console will say that is no debugging text."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    return said
