from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import hypothesis
import pytest
from django.core.cache import cache
from django.db import transaction
from django.utils import translation

from apps.core.actor import Actor
from tests.factories.cast import CANARY, Tenant, make_tenant

# --hypothesis-profile=long, for make soak
hypothesis.settings.register_profile("long", max_examples=5000, deadline=None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--only-with-database",
        action="store_true",
        help="Leave out tests that ask for no database. They are refused one, so its kind is the same to them.",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--only-with-database"):
        return
    without = [item for item in items if not uses_database(item)]
    config.hook.pytest_deselected(items=without)
    items[:] = [item for item in items if uses_database(item)]


def uses_database(item: pytest.Item) -> bool:
    return item.get_closest_marker("django_db") is not None or "django_db_setup" in getattr(item, "fixturenames", ())


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
def rival(db) -> Tenant:
    """Operator C: nothing of it may ever be seen by ours."""
    return make_tenant(CANARY)


@pytest.fixture
def system(ours: Tenant) -> Actor:
    return Actor.system(ours.operator)
