"""A database that is away, in whatever way it is (contract G13): nobody's attempts are used up on it, and its return is
noticed by itself.
"""

from __future__ import annotations

from config import settings


def test_g13_a_database_that_vanished_without_a_word_is_gone_after_seconds(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgres://somebody@database.example.org/voltdesk")
    options = settings._database()["OPTIONS"]
    assert options["keepalives"] == 1
    assert options["keepalives_idle"] + options["keepalives_count"] * options["keepalives_interval"] <= 15
    assert options["tcp_user_timeout"] <= 15_000
