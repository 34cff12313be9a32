from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection
from django.test.utils import setup_databases

from tests.ocpp import live


@pytest.fixture
def own_database(request, django_db_setup, django_db_blocker) -> Iterator[None]:
    """A copy for one test that commits."""
    with django_db_blocker.unblock():
        if connection.settings_dict["NAME"] != connection.settings_dict["TEST"]["NAME"]:
            # No other test of this run asked for a database, so pytest-django made none.
            setup_databases(verbosity=0, interactive=False, keepdb=not request.config.getvalue("create_db"))
        with live.database_copy("cards") as name, live.working_on(name):
            yield
