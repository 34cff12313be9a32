from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import hypothesis
import pytest
from django.core.cache import cache
from django.db import connection, transaction
from django.test import Client, TransactionTestCase
from django.utils import translation

from apps.core.actor import Actor
from tests.factories.cast import CANARY, Tenant, make_tenant
from tests.factories.clients import desk_of

# --hypothesis-profile=long, for make soak
hypothesis.settings.register_profile("long", max_examples=5000, deadline=None)

# What migrations and their signal wrote, and no test changes.
WRITTEN_BY_MIGRATE = {"django_migrations", "django_content_type", "auth_permission", "django_q_schedule"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--only-with-database",
        action="store_true",
        help="Leave out tests that ask for no database. They are refused one, so its kind is the same to them.",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--only-with-database"):
        without = [item for item in items if not uses_database(item)]
        config.hook.pytest_deselected(items=without)
        items[:] = [item for item in items if uses_database(item)]
    items[:] = spread(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1)))


def spread(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """Tests that wait for chargers come at another time in each worker's part: others compute meanwhile, and none is
    left to be waited for at the end."""
    waiting = [item for item in items if "ocpp" in item.path.parts]
    others = [item for item in items if "ocpp" not in item.path.parts]
    spread_out: list[pytest.Item] = []
    for part in range(workers):
        mine = _part(others, part, workers)
        before = len(mine) * part // workers
        spread_out += [*mine[:before], *_part(waiting, part, workers), *mine[before:]]
    return spread_out


def _part(items: list[pytest.Item], part: int, parts: int) -> list[pytest.Item]:
    return items[len(items) * part // parts : len(items) * (part + 1) // parts]


def uses_database(item: pytest.Item) -> bool:
    return item.get_closest_marker("django_db") is not None or "django_db_setup" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session", autouse=True)
def quick_flush() -> Iterator[None]:
    """After a test that commits, the few tables that hold rows are emptied. Django's flush truncates every table there
    is and writes all permissions anew, which takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda _self: empty_tables())
        yield


def empty_tables() -> None:
    tables = set(connection.introspection.django_table_names(only_existing=True)) - WRITTEN_BY_MIGRATE
    filled = " UNION ALL ".join(f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {table})" for table in sorted(tables))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(filled)
        for (table,) in cursor.fetchall():
            cursor.execute(f"DELETE FROM {table}")


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    """A rolled-back brand must not live on in the cache."""
    cache.clear()


@pytest.fixture(autouse=True)
def language_of_the_settings() -> None:
    """A request leaves its language behind in the thread."""
    translation.deactivate()


@pytest.fixture(scope="module")
def standing_rows(django_db_setup: None, django_db_blocker) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Opens the database for rows that all tests of a module find, for worlds that take long to make.

    They are in a transaction around the module's, which ends with a rollback. The transaction of each test is a
    savepoint in it. Not for modules with tests that commit.
    """
    around = transaction.atomic()
    around._from_testcase = True  # as of a TestCase: blocks that must be the outermost may begin in it
    with django_db_blocker.unblock():
        around.__enter__()
    yield django_db_blocker.unblock
    with django_db_blocker.unblock():
        transaction.set_rollback(True)
        around.__exit__(None, None, None)


@pytest.fixture
def ours(db) -> Tenant:
    """Operator A and its fleet."""
    return make_tenant("Amber")


@pytest.fixture
def desk(ours: Tenant) -> Client:
    """Its owner at the back office."""
    return desk_of(ours.owner)


@pytest.fixture
def rival(db) -> Tenant:
    """Operator C: nothing of it may ever be seen by ours."""
    return make_tenant(CANARY)


@pytest.fixture
def system(ours: Tenant) -> Actor:
    return Actor.system(ours.operator)
