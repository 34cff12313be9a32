from __future__ import annotations

import pytest

from tests.factories.contracts import make_contract


@pytest.fixture
def contract(ours):
    return make_contract(ours, base_fee="5.00")


@pytest.fixture
def manager(client, ours):
    client.force_login(ours.manager)
    return client


@pytest.fixture
def driver(client, ours):
    client.force_login(ours.driver)
    return client
