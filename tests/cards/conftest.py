from __future__ import annotations

from tests.ocpp.conftest import own_database, template

__all__ = ["own_database", "template"]
