from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.context import ForkServerProcess

import pytest
from django.db import connection
from django.test.utils import setup_databases

from tests.billing import worker
from tests.factories.cast import Tenant, make_tenant
from tests.ocpp import live


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
def begin(committed: str) -> Callable[..., ForkServerProcess]:
    """Start a process that works on the same database."""
    return partial(worker.begin, committed)
