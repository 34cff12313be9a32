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
        self._server = ""
        self._migrated: set[str] = set()

    def __enter__(self) -> Databases:
        return self

    def __exit__(self, *exc: object) -> None:
        """Drop them all, and the copies that a killed test left."""
        for file in FOLDER.glob(f"{self.name}[._]*"):
            file.unlink()
        for server in filter(None, self._migrated):
            with psycopg.connect(server, autocommit=True) as connection:
                known = connection.execute("SELECT datname FROM pg_database").fetchall()
                for name in (name for (name,) in known if name == self.name or name.startswith(f"{self.name}_")):
                    connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def provide(self, env: Mapping[str, str]) -> None:
        """Fresh copies on the server that `env` leads to."""
        self._server = env.get("DATABASE_URL", "")
        if self._server not in self._migrated:
            self._migrate(env)
            self._migrated.add(self._server)
        for worker in NAMES:
            self._copy(f"{self.name}{worker}")

    def _migrate(self, env: Mapping[str, str]) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        if self._server:
            self._administer(f'CREATE DATABASE "{self._template}"')
            url = urlunsplit(urlsplit(self._server)._replace(path=f"/{self._template}"))
        else:
            url = f"sqlite:///{_file(self._template)}"
        command = [sys.executable, "manage.py", "migrate", "-v0"]
        subprocess.run(command, cwd=ROOT, env={**env, "DATABASE_URL": url}, check=True)

    def _copy(self, name: str) -> None:
        if self._server:
            self._administer(
                f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)',
                f'CREATE DATABASE "{name}" TEMPLATE "{self._template}"',
            )
            return
        _remove(name)
        shutil.copyfile(_file(self._template), _file(name))

    def _administer(self, *statements: str) -> None:
        with psycopg.connect(self._server, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[arg-type]


def _file(name: str) -> Path:
    """SQLite's file: pytest-django writes the worker behind its name."""
    stem, mark, worker = name.partition("_gw")
    return FOLDER / f"{stem}.sqlite3{mark}{worker}"


def _remove(name: str) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{_file(name)}{suffix}").unlink(missing_ok=True)
