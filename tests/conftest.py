from __future__ import annotations

import hypothesis
import pytest
from django.core.cache import cache
from django.utils import translation

from apps.core.actor import Actor
from tests.factories.cast import CANARY, Tenant, make_tenant

# --hypothesis-profile=long, for make soak
hypothesis.settings.register_profile("long", max_examples=5000, deadline=None)


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    """A rolled-back brand must not live on in the cache."""
    cache.clear()


@pytest.fixture(autouse=True)
def language_of_the_settings() -> None:
    """A request leaves its language behind in the thread."""
    translation.deactivate()


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
