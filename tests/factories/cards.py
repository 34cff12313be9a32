from __future__ import annotations

import factory

from apps.cards.models import Token
from tests.factories.accounts import TenantFactory


class TokenFactory(TenantFactory):
    uid = factory.Sequence(lambda n: f"04{n:012X}")

    class Meta:
        model = Token
