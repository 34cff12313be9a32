from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest
from django.test.utils import setup_databases, teardown_databases

from tests.factories.cast import Tenant, make_tenant
from tests.ocpp import live


@pytest.fixture(scope="session")
def template(request, django_test_environment, django_db_blocker) -> Iterator[None]:
    """The migrated test database. (pytest-django makes it for tests marked with django_db alone.)"""
    keep = request.config.getvalue("reuse_db") and not request.config.getvalue("create_db")
    with django_db_blocker.unblock():
        made = setup_databases(verbosity=0, interactive=False, keepdb=keep)
        yield
        teardown_databases(made, verbosity=0, keepdb=keep)


@pytest.fixture
def database(template) -> Iterator[str]:
    """A copy of it for one test, with what is committed in it."""
    with live.database_copy() as name, live.working_on(name):
        yield name


@pytest.fixture
def tenant(database) -> Tenant:
    tenant = make_tenant("Amber")
    live.add_url_key(tenant)
    return tenant


@pytest.fixture
def say(capsys) -> Callable[[str], None]:
    """Put a figure into the log of the run."""

    def write(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{line}\n")

    return write
