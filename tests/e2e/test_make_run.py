"""`make run`: the second start is fast and finds everything; Ctrl-C, SIGTERM and even SIGKILL leave nothing behind."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
FIRST_START_S, SECOND_START_S, END_S = 180, 5, 5


class Installation:
    """An embedded installation in a folder of its own, started as the Makefile does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Seconds to the first page."""
        self.begin()
        return self.reach(self.answers)

    def begin(self) -> None:
        self.folder.mkdir(exist_ok=True)
        foreign = {"DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE", "HOST"}
        env = {name: value for name, value in os.environ.items() if name not in foreign}
        self.began = time.monotonic()
        with (self.folder / "output.log").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "config.supervisor"],
                cwd=ROOT,
                env=env | {"VAR_DIR": str(self.folder / "var"), "PORT": str(self.port)},
                stdout=output,
                stderr=output,
            )

    def reach(self, reached: Callable[[], bool]) -> float:
        while not reached():
            assert self.process.poll() is None, self.output()
            assert time.monotonic() - self.began < FIRST_START_S, self.output()
            time.sleep(0.05)
        return time.monotonic() - self.began

    def end(self, number: signal.Signals, *, processes: int = 4) -> tuple[int, float]:
        """Exit code, and seconds until it and all that it started are gone."""
        family = [self.process.pid, *self.descendants()]
        assert len(family) >= processes
        began = time.monotonic()
        self.process.send_signal(number)
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
        return (self.folder / "output.log").read_text()

    def tables_made_at(self) -> list[tuple[str, str]]:
        with sqlite3.connect(self.folder / "var" / "voltdesk.sqlite3") as database:
            return database.execute("SELECT name, applied FROM django_migrations ORDER BY id").fetchall()

    def answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


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


def test_it_says_where_to_click(installation):
    installation.start()
    installation.reach(lambda: f"http://admin.localhost:{installation.port}/" in installation.output())
    assert str(installation.folder / "var" / "mails") in installation.output()  # not over where to click
    installation.end(signal.SIGINT)


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
