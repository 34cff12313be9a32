from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from django.db import connection
from django.test.utils import setup_databases

from apps.ocpp import batches
from tests.factories.cast import CANARY, Tenant, make_tenant
from tests.ocpp import live
from tests.ocpp.outboxes import Clock, Run
from tests.ocpp.sockets import InProcess, in_process


@pytest.fixture(scope="session")
def database_copy(request, django_db_setup, django_db_blocker) -> Iterator[str]:
    with django_db_blocker.unblock():
        if connection.settings_dict["NAME"] != connection.settings_dict["TEST"]["NAME"]:
            # No other test of this run asked for a database, so pytest-django made none.
            setup_databases(verbosity=0, interactive=False, keepdb=not request.config.getvalue("create_db"))
        with live.database_copy() as name:
            yield name


@pytest.fixture(scope="session")
def live_tenant(database_copy, django_db_blocker) -> Tenant:
    with django_db_blocker.unblock(), live.working_on(database_copy):
        tenant = make_tenant("Amber")
        live.add_url_key(tenant)
        return tenant


@pytest.fixture(scope="session")
def rival_of_all(live_tenant, database_copy, django_db_blocker) -> Tenant:
    with django_db_blocker.unblock(), live.working_on(database_copy):
        return make_tenant(CANARY)


@pytest.fixture(scope="session")
def _daphne(database_copy, live_tenant) -> Iterator[live.Server]:
    with live.running("daphne", database_copy) as server:
        yield server


@pytest.fixture(scope="session")
def _uvicorn(database_copy, live_tenant) -> Iterator[live.Server]:
    with live.running("uvicorn", database_copy) as server:
        yield server


@pytest.fixture
def live_database(database_copy, live_tenant, django_db_blocker) -> Iterator[str]:
    """What the test does and reads is committed in the servers' database."""
    with django_db_blocker.unblock(), live.working_on(database_copy):
        yield database_copy


@pytest.fixture(params=["daphne", "uvicorn"])
def server(request, live_database) -> live.Server:
    """Each test that asks for it runs on both servers."""
    return request.getfixturevalue(f"_{request.param}")


@pytest.fixture
def tenant(live_tenant, live_database) -> Tenant:
    return live_tenant


@pytest.fixture
def live_servers(live_database, _daphne, _uvicorn) -> tuple[live.Server, live.Server]:
    """Two gateway processes on one database."""
    return _daphne, _uvicorn


@pytest.fixture
def process(tenant) -> Iterator[InProcess]:
    """A gateway in this process."""
    with in_process() as one:
        yield one


@pytest.fixture
def slow_commit(monkeypatch) -> None:
    """Each batch takes at least half a second from now on."""
    write = batches.Batch._write

    def slowly(self, *args, **kwargs):
        time.sleep(0.5)
        write(self, *args, **kwargs)

    monkeypatch.setattr(batches.Batch, "_write", slowly)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def run(clock) -> Iterator[Run]:
    """An outbox that takes its turns when it is told to."""
    one = Run(clock)
    yield one
    one.close()
