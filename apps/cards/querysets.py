"""Who sees which tokens: an organisation its own, a driver those held."""

from __future__ import annotations

import datetime as dt
from typing import Self

from django.db.models import Q

from apps.core.actor import Actor
from apps.core.querysets import TenantQuerySet


class TokenQuerySet(TenantQuerySet):
    def shared_with(self, actor: Actor) -> Q:
        return Q(organisation__in=frozenset(actor.organisations) - actor.driver_of) | (
            Q(holder=actor.user_id, organisation__in=actor.driver_of)
        )

    def usable(self, now: dt.datetime) -> Self:
        return self.filter(state="active").filter(Q(expires_at=None) | Q(expires_at__gt=now))


class CardOrderQuerySet(TenantQuerySet):
    """Seen by those who see all of the organisation's cards."""

    def shared_with(self, actor: Actor) -> Q:
        return Q(organisation__in=frozenset(actor.organisations) - actor.driver_of)


class TokenContractQuerySet(TenantQuerySet):
    """Seen by those who see the token."""

    def shared_with(self, actor: Actor) -> Q:
        return Q(token__organisation__in=frozenset(actor.organisations) - actor.driver_of)

    def in_force(self, day: dt.date) -> Self:
        return self.filter(valid_from__lte=day).filter(Q(valid_to=None) | Q(valid_to__gte=day))
