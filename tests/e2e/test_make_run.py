"""`make run`: the second start is fast and finds everything; what it prints works; Ctrl-C, SIGTERM and even SIGKILL
leave nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPCookieProcessor, Request, build_opener

import pytest

from apps.ocpp.simulator import SimulatedCharger
from config.embedded import load_secrets
from tests.services import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
FIRST_START_S, SECOND_START_S, END_S = 180, 5, 5


class Installation:
    """An embedded installation in a folder of its own, started as the Makefile does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "output.log"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Seconds to the first page."""
        self.begin()
        return self.reach(self.answers)

    def begin(self, *command: str, **wanted: str) -> None:
        self.folder.mkdir(exist_ok=True)
        foreign = {"DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE", "HOST"}
        env = {name: value for name, value in os.environ.items() if name not in foreign}
        self.began = time.monotonic()
        self.said_before = len(self.log.read_text()) if self.log.exists() else 0
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                command or (sys.executable, "-m", "config.supervisor"),
                cwd=ROOT,
                env=env | {"VAR_DIR": str(self.folder / "var"), "PORT": str(self.port)} | wanted,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def reach(self, reached: Callable[[], bool]) -> float:
        while not reached():
            assert self.process.poll() is None, self.output()
            assert time.monotonic() - self.began < FIRST_START_S, self.output()
            time.sleep(0.05)
        return time.monotonic() - self.began

    def end(self, number: signal.Signals, *, processes: int = 4, foreground: bool = False) -> tuple[int, float]:
        """Exit code, and seconds until it and all that it started are gone. `foreground`: as a terminal's Ctrl-C, which
        reaches make as well as what it runs."""
        family = [self.process.pid, *self.descendants()]
        assert len(family) >= processes
        began = time.monotonic()
        (os.killpg if foreground else os.kill)(self.process.pid, number)
        code = self.process.wait(timeout=30)
        while any(Path(f"/proc/{pid}").exists() for pid in family):
            assert time.monotonic() - began < 30, self.output()
            time.sleep(0.02)
        return code, time.monotonic() - began

    def descendants(self) -> list[int]:
        found = [self.process.pid]
        for pid in found:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                found += [int(child) for child in children.read_text().split()]
        return found[1:]

    def output(self) -> str:
        """Of its last start."""
        return self.log.read_text()[self.said_before :]

    def printed(self) -> dict[str, list[str]]:
        """What the last start said: label → its lines. A line without a label belongs to the one above."""
        found: dict[str, list[str]] = {}
        label = ""
        for line in self.output().rpartition("Voltdesk is ready")[2].splitlines()[1:]:
            if line.startswith("  "):
                label = line[2:17].strip() or label
                found.setdefault(label, []).append(line[18:])
        return found

    def tables_made_at(self) -> list[tuple[str, str]]:
        with sqlite3.connect(self.folder / "var" / "voltdesk.sqlite3") as database:
            return database.execute("SELECT name, applied FROM django_migrations ORDER BY id").fetchall()

    def answers(self) -> bool:
        try:
            return Visitor(self, "127.0.0.1").get("/healthz") is not None
        except OSError:
            return False


class Visitor:
    """A browser without a screen at one host of an installation."""

    def __init__(self, installation: Installation, host: str, **headers: str) -> None:
        self.url = f"http://127.0.0.1:{installation.port}"  # `*.localhost` resolves in browsers alone
        self.headers = {"Host": f"{host}:{installation.port}", **headers}
        self.cookies = CookieJar()
        self.opener = build_opener(HTTPCookieProcessor(self.cookies))

    def get(self, path: str, data: bytes | None = None) -> str:
        with self.opener.open(Request(self.url + path, data, self.headers), timeout=10) as answer:
            return answer.read().decode()

    def sign_in(self, email: str, password: str) -> str:
        """The page that comes then."""
        token = re.search('name="csrfmiddlewaretoken" value="([^"]+)"', self.get("/accounts/login/"))[1]
        fields = {"login": email, "password": password, "csrfmiddlewaretoken": token}
        return self.get("/accounts/login/", urlencode(fields).encode())


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The first load has begun: it takes long, and the first test needs two loads more."""
    one = Installation(tmp_path_factory.mktemp("run"))
    one.begin()
    yield one
    if one.process.poll() is None:
        one.process.terminate()
        one.process.wait(timeout=30)


def test_a_signal_during_the_first_load_ends_it_and_the_next_start_loads_anew(installation, tmp_path):
    asked = {number: Installation(tmp_path / number.name) for number in (signal.SIGINT, signal.SIGTERM)}
    for one in asked.values():
        one.begin()
    for number, one in asked.items():
        one.reach(lambda one=one: "A month of messages" in one.output())
        code, seconds = one.end(number, processes=3)
        assert code == 0
        assert seconds < END_S
        assert "Traceback" not in one.output()
    for one in asked.values():
        one.begin()
    for one in asked.values():
        one.reach(lambda one=one: "The demo was not loaded to its end; it is made anew" in one.output())
        assert one.end(signal.SIGINT, processes=2)[0] == 0


def test_a_second_start_is_fast_and_keeps_the_data(installation):
    installation.reach(installation.answers)
    assert installation.end(signal.SIGINT)[0] == 0
    before = installation.tables_made_at()
    assert installation.start() < SECOND_START_S
    assert installation.end(signal.SIGINT)[0] == 0
    assert before
    assert installation.tables_made_at() == before


def test_what_make_run_prints_works(installation, tmp_path):
    """Opened to the network, which is where a real charger comes from."""
    # The suite's own environment is the one that it would install.
    installation.begin("make", "--assume-old=.venv/.runtime", "run", HOST="0.0.0.0")
    installation.reach(lambda: "its key" in installation.printed())
    printed = installation.printed()
    assert printed["Back office"] == [f"http://admin.localhost:{installation.port}/"]
    assert printed["E-mails"] == [str(installation.folder / "var" / "mails")]  # not over where to click

    [password] = printed["Password"]
    assert password != load_secrets(tmp_path / "secrets.json")["DEMO_PASSWORD"]
    owner, manager, rival = (line.split()[0] for line in printed["Sign in as"])
    for email, host, sees in (
        (owner, "admin.localhost", "Chargers by state"),
        (manager, "bluefleet.localhost", "Charging now"),
        (rival, "admin.localhost", "Chargers by state"),
    ):
        assert sees in Visitor(installation, host).sign_in(email, password), email

    [key] = printed["API key"]
    stations = Visitor(installation, "admin.localhost", Authorization=f"Bearer {key}").get("/api/v1/stations/")
    assert json.loads(stations)["results"]

    [url], [secret] = printed["Your charger"], printed["its key"]
    assert urlsplit(url).netloc == urlsplit(printed["Chargers"][0]).netloc
    base, _, identity = url.rpartition("/")

    async def connect() -> str:
        async with SimulatedCharger(base, identity, secret) as charger:
            return str((await charger.boot())["status"])

    assert asyncio.run(connect()) == "Accepted"
    assert installation.end(signal.SIGINT, processes=5, foreground=True)[1] < END_S


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything_it_started(installation, number):
    installation.start()
    code, seconds = installation.end(number)
    assert code == 0
    assert seconds < END_S


def test_processes_do_not_outlive_a_killed_supervisor(installation):
    installation.start()
    assert installation.end(signal.SIGKILL)[1] < END_S


def test_a_taken_port_is_said_in_words(installation):
    with socket.create_server(("127.0.0.1", installation.port)):
        done = subprocess.run(
            [sys.executable, "-m", "config.supervisor"],
            cwd=ROOT,
            env=os.environ | {"VAR_DIR": str(installation.folder / "var"), "PORT": str(installation.port)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 1
    assert f"Port {installation.port} is taken" in done.stderr
