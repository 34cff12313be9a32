"""The databases of a test run: migrated once a server, and copied for each worker of each step."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "var" / "test"  # where tests.settings keeps SQLite's
WORKERS = 3  # on two cores: while one waits for a charger, another works
NAMES = ("", *(f"_gw{number}" for number in range(WORKERS)))


class Databases:
    """Copies under the names that pytest-django looks for; all are dropped at the end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._template = f"{name}_template"
        self._migrations: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Databases:
        return self

    def __exit__(self, *exc: object) -> None:
        """Drop them all, and the copies that a killed test left."""
        for migration in self._migrations.values():
            migration.kill()
            migration.wait()
        for file in FOLDER.glob(f"{self.name}[._]*"):
            file.unlink()
        for server in filter(None, self._migrations):
            with psycopg.connect(server, autocommit=True) as connection:
                known = connection.execute("SELECT datname FROM pg_database").fetchall()
                for name in (name for (name,) in known if name == self.name or name.startswith(f"{self.name}_")):
                    connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def begin(self, env: Mapping[str, str]) -> None:
        """Begin to make the tables on the server that `env` leads to; something else may run meanwhile."""
        server = _server_of(env)
        if server not in self._migrations:
            self._migrations[server] = self._migrate(server, env)

    def provide(self, env: Mapping[str, str]) -> None:
        """Fresh copies on the server that `env` leads to."""
        self.begin(env)
        server = _server_of(env)
        migration = self._migrations[server]
        if code := migration.wait():
            raise subprocess.CalledProcessError(code, migration.args)
        for worker in NAMES:
            self._copy(server, f"{self.name}{worker}")

    def _migrate(self, server: str, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        FOLDER.mkdir(parents=True, exist_ok=True)
        if server:
            _administer(server, f'CREATE DATABASE "{self._template}"')
            url = urlunsplit(urlsplit(server)._replace(path=f"/{self._template}"))
        else:
            url = f"sqlite:///{_file(self._template)}"
        command = [sys.executable, "manage.py", "migrate", "-v0"]
        return subprocess.Popen(command, cwd=ROOT, env={**env, "DATABASE_URL": url}, stdin=subprocess.DEVNULL)

    def _copy(self, server: str, name: str) -> None:
        if server:
            _administer(
                server,
                f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)',
                f'CREATE DATABASE "{name}" TEMPLATE "{self._template}"',
            )
            return
        _remove(name)
        shutil.copyfile(_file(self._template), _file(name))


def _server_of(env: Mapping[str, str]) -> str:
    """The URL of PostgreSQL; nothing for SQLite."""
    return env.get("DATABASE_URL", "")


def _administer(server: str, *statements: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)  # type: ignore[arg-type]


def _file(name: str) -> Path:
    """SQLite's file: pytest-django writes the worker behind its name."""
    stem, mark, worker = name.partition("_gw")
    return FOLDER / f"{stem}.sqlite3{mark}{worker}"


def _remove(name: str) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{_file(name)}{suffix}").unlink(missing_ok=True)
