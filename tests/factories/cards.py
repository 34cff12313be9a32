from __future__ import annotations

import factory

from apps.cards.models import Token
from tests.factories.accounts import TenantFactory


class TokenFactory(TenantFactory):
    uid = factory.Sequence(lambda n: f"04{n + 1:012X}")  # not all zeros, which would be a reader's padding

    class Meta:
        model = Token
