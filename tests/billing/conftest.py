from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import setup_databases

from tests.factories.cast import Tenant, make_tenant
from tests.ocpp import live

ROOT = Path(__file__).resolve().parents[2]
Begin = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def committed(request, django_db_setup, django_db_blocker) -> Iterator[str]:
    """A copy of the test database, where this test and other processes commit."""
    with django_db_blocker.unblock():
        if connection.settings_dict["NAME"] != connection.settings_dict["TEST"]["NAME"]:
            # No other test of this run asked for a database, so pytest-django made none.
            setup_databases(verbosity=0, interactive=False, keepdb=not request.config.getvalue("create_db"))
        with live.database_copy("billing") as name, live.working_on(name):
            yield name


@pytest.fixture
def tenant(committed: str) -> Tenant:
    return make_tenant("Amber")


@pytest.fixture
def begin(committed: str) -> Begin:
    """Start a process that works on the same database."""

    def start(*arguments: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.billing.worker", *(str(one) for one in arguments)]
        return subprocess.Popen(command, cwd=ROOT, env=live.environment(committed), stderr=subprocess.PIPE)

    return start
