"""Browser tests: the whole application in a thread of the test process, Debian's Chromium, axe.

A directory and a process of its own: Playwright's loop runs in the main thread, and Django's check against that is
switched off here only. Tests take `site` (or a fixture built on it) before `page`.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.db import connection
from django.test.utils import override_settings, setup_databases
from playwright.sync_api import Page, ViewportSize

from tests.e2e.desk import Desk, Street, sign_in, what_is_refused
from tests.factories.cast import make_tenant
from tests.ocpp import live

os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"

START_S = 20
ROOT = Path(__file__).resolve().parent.parent.parent
PICTURES = ROOT / "var" / "test-results" / "pages"
WIDTHS: dict[str, ViewportSize] = {
    "phone": {"width": 390, "height": 844},
    "desktop": {"width": 1440, "height": 900},
}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


class Site:
    """Where the application answers. `*.localhost` resolves in Chromium, not in Python."""

    def __init__(self, port: int) -> None:
        self.port = port

    def url(self, host: str, path: str = "/") -> str:
        return f"http://{host}:{self.port}{path}"

    def admin(self, path: str = "/") -> str:
        return self.url("admin.localhost", path)


@pytest.fixture(scope="session")
def server(django_db_setup: None) -> Iterator[Site]:
    from config.asgi import application

    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        ASGIStaticFilesHandler(application), lifespan="off", ws="websockets-sansio", log_level="warning"
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + START_S
    while not running.started:
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.02)
    yield Site(listener.getsockname()[1])
    running.should_exit = True
    thread.join(timeout=10)
    assert not thread.is_alive(), "the server did not end"


@pytest.fixture
def site(server: Site, transactional_db: None, settings) -> Site:
    """The running application over an empty database whose rows are committed."""
    settings.PUBLIC_PORT = server.port
    return server


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, object]) -> dict[str, object]:
    return {
        **browser_type_launch_args,
        "executable_path": os.environ.get("CHROMIUM", "/usr/bin/chromium"),
        "args": ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
    }


@pytest.fixture
def axe_clean() -> Callable[[Page], None]:
    """Fails with axe's report unless the page, as it stands, keeps every rule of WCAG 2.2 A and AA that axe knows."""
    axe = Axe()

    def check(page: Page) -> None:
        results = axe.run(page, options={"runOnly": WCAG, "resultTypes": ["violations"]})
        assert results.violations_count == 0, results.generate_report()

    return check


@pytest.fixture
def shot(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Keeps a picture of the page among the results, named after the test and what it shows."""

    def take(page: Page, *of: str) -> None:
        name = re.sub(r"\W+", "-", "-".join((request.node.name, *of))).strip("-")
        page.screenshot(path=PICTURES / f"{name}.png", full_page=True)

    return take


@pytest.fixture
def looks(page: Page) -> Callable[[], Iterator[str]]:
    """The page that stands in the browser at phone and desktop width, in light and dark."""

    def each() -> Iterator[str]:
        for width, size in WIDTHS.items():
            page.set_viewport_size(size)
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                yield f"{width}-{scheme}"

    return each


@pytest.fixture
def refused(page: Page) -> list[str]:
    """What the browser's console says that is no debugging text: a broken policy, a failing script."""
    return what_is_refused(page)


@pytest.fixture
def desk(served: Desk, page: Page, refused: list[str]) -> Iterator[Desk]:
    """Signed in at the back office; fails where the browser's console says anything but debugging text."""
    page.set_viewport_size(WIDTHS["desktop"])
    sign_in(page, served.url("/"), served.tenant.owner)
    yield served
    assert refused == []


@pytest.fixture(scope="module")
def served(
    request: pytest.FixtureRequest,
    django_db_setup: None,
    django_db_blocker: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Desk]:
    with django_db_blocker.unblock():
        if connection.settings_dict["NAME"] != connection.settings_dict["TEST"]["NAME"]:
            # No test of this file asks for pytest-django's database, so it made none.
            setup_databases(verbosity=0, interactive=False, keepdb=not request.config.getvalue("create_db"))
    with django_db_blocker.unblock(), live.database_copy() as name, live.working_on(name):
        tenant = make_tenant("Amber")
        live.add_url_key(tenant)
        with shared_files(tmp_path_factory.mktemp("media")), serving(name) as port:
            street = Street()
            yield Desk(tenant, port, street)
            street.end()


@contextlib.contextmanager
def serving(database: str) -> Iterator[int]:
    """`manage.py serve` on a database, which tells chargers where it can be reached from here; gives its port."""
    with live.running("daphne", database, CHARGER_HOST="127.0.0.1") as server:
        yield server.port


@contextlib.contextmanager
def shared_files(folder: Path) -> Iterator[None]:
    """What this process stores, a server that it starts finds too."""
    on_disk = {**settings.STORAGES, "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"}}
    os.environ["TEST_MEDIA"] = str(folder)
    with override_settings(STORAGES=on_disk, MEDIA_ROOT=folder):
        yield
    del os.environ["TEST_MEDIA"]
