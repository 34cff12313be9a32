from __future__ import annotations

import factory

from apps.cards.models import Token
from tests.factories.accounts import TenantFactory
from tests.factories.contracts import bind_card, standing_contract


class TokenFactory(TenantFactory):
    """A card on its operator's standing contract, another `contract`, or none (False)."""

    uid = factory.Sequence(lambda n: f"04{n + 1:012X}")  # not all zeros, which would be a reader's padding

    class Meta:
        model = Token
        skip_postgeneration_save = True

    @factory.post_generation
    def contract(self, create, extracted, **kwargs):
        if create and extracted is not False:
            bind_card(self, extracted or standing_contract(self.operator))
