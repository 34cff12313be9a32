"""`manage.py demo`, with a day instead of its month: what is there is left alone, unless it is to be made anew."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT_S = 120


class Demo:
    """An embedded installation in a folder of its own, which no server works on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        with self._begin(*arguments) as process:
            output, errors = process.communicate(timeout=LIMIT_S)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def load_until(self, words: str, *arguments: str) -> None:
        """Begin, and kill it with all that it started when it says `words`."""
        with self._begin(*arguments) as process:
            assert any(words in line for line in process.stdout), process.stderr.read()
            os.killpg(process.pid, signal.SIGKILL)

    def _begin(self, *arguments: str) -> subprocess.Popen[str]:
        foreign = {"DATABASE_URL", "REDIS_URL", "MODE", "DJANGO_SETTINGS_MODULE", "HOST", "PORT"}
        env = {name: value for name, value in os.environ.items() if name not in foreign}
        return subprocess.Popen(
            [sys.executable, "manage.py", "demo", "--days", "1", *arguments],
            cwd=ROOT,
            env=env | {"VAR_DIR": str(self.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def rows(self, statement: str, *values: object) -> list[tuple]:
        with contextlib.closing(sqlite3.connect(self.folder / "voltdesk.sqlite3", autocommit=True)) as database:
            return database.execute(statement, values).fetchall()

    def value(self, statement: str) -> object:
        [(found,)] = self.rows(statement)
        return found

    def everything(self) -> dict[str, list[tuple]]:
        names = self.rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        return {name: self.rows(f'SELECT * FROM "{name}"') for (name,) in names}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """Loaded at the second try: the first one was killed, its gateway too."""
    one = Demo(tmp_path_factory.mktemp("demo"))
    one.load_until("A month of messages", "--reset")
    assert one.value("SELECT count(*) FROM accounts_operator") == 2
    done = one.load()
    assert done.returncode == 0, done.stderr
    assert "it is made anew" in done.stdout
    assert "The demo is loaded" in done.stdout
    return one


def test_two_operators_have_sessions_that_came_over_websockets(demo):
    sessions = demo.rows(
        """SELECT o.slug, count(*), count(DISTINCT s.station_id), sum(s.meter_stop_wh > s.meter_start_wh)
             FROM charging_session s JOIN accounts_operator o ON o.id = s.operator_id GROUP BY o.slug ORDER BY o.slug"""
    )
    assert [slug for slug, *_figures in sessions] == ["harbour", "ridge"]
    assert all(charged > 1 and chargers > 1 for _slug, _count, chargers, charged in sessions)
    # Each began with a message of a connection that the charger's own key opened.
    begun = demo.value(
        """SELECT count(*) FROM ocpp_frame f JOIN installations_connectioninterval c
               ON c.station_id = f.station_id AND c.generation = f.generation
            WHERE f.action = 'StartTransaction' AND f.direction = 'in' AND f.response LIKE '%transactionId%'"""
    )
    assert begun == demo.value("SELECT count(*) FROM charging_session") > 10
    assert demo.value("SELECT count(*) FROM charging_reading") > 50
    assert demo.value("SELECT count(*) FROM ocpp_gatewaylease") == 0
    assert demo.value("SELECT count(*) FROM installations_stationstate WHERE online") == 0


def test_what_is_there_is_left_alone(demo):
    before = demo.everything()
    done = demo.load()
    assert done.returncode == 1
    assert "There is data already." in done.stderr
    assert demo.everything() == before


def test_a_database_at_work_is_not_made_anew(demo):
    demo.rows(
        """INSERT INTO ocpp_gatewaylease (name, host, pid, started_at, beat_at)
           VALUES ('at work', 'here', 1, datetime('now'), datetime('now'))"""
    )
    before = demo.everything()
    done = demo.load("--reset")
    demo.rows("DELETE FROM ocpp_gatewaylease")
    assert done.returncode == 1
    assert "Voltdesk is running on this database." in done.stderr
    assert demo.everything() | {"ocpp_gatewaylease": []} == before | {"ocpp_gatewaylease": []}


def test_reset_begins_anew(demo):
    counted = "SELECT (SELECT count(*) FROM accounts_operator), (SELECT count(*) FROM installations_chargingstation)"
    counts, keys = demo.rows(counted), demo.rows("SELECT key FROM ocpp_operatorkey")
    demo.rows("UPDATE accounts_operator SET name = 'Edited by hand' WHERE slug = 'ridge'")
    demo.load_until("A month of messages", "--reset")  # by then the operators are there again, and nothing is old
    assert demo.rows(counted) == counts
    assert not set(keys) & set(demo.rows("SELECT key FROM ocpp_operatorkey"))
    assert demo.rows("SELECT slug, name FROM accounts_operator ORDER BY slug") == [
        ("harbour", "Harbour Power"),
        ("ridge", "Ridge Charging"),
    ]
