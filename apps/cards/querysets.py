"""Who sees which tokens: an organisation its own, a driver those held."""

from __future__ import annotations

import datetime as dt
from typing import Self

from django.db.models import Q
from django.utils import timezone

from apps.core.actor import Actor
from apps.core.querysets import TenantQuerySet


class TokenQuerySet(TenantQuerySet):
    def shared_with(self, actor: Actor) -> Q:
        return Q(organisation__in=frozenset(actor.organisations) - actor.driver_of) | (
            Q(holder=actor.user_id, organisation__in=actor.driver_of)
        )

    def usable(self, now: dt.datetime) -> Self:
        return self.filter(state="active").filter(Q(expires_at=None) | Q(expires_at__gt=now))

    def in_use(self) -> Self:
        """Also those on their way."""
        alive = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
        return self.exclude(state__in=["blocked", "lost"]).filter(alive)


class CardOrderQuerySet(TenantQuerySet):
    """Seen by those who see all of the organisation's cards."""

    def shared_with(self, actor: Actor) -> Q:
        return Q(organisation__in=frozenset(actor.organisations) - actor.driver_of)


class TokenContractQuerySet(TenantQuerySet):
    """Seen by those who see the token."""

    def shared_with(self, actor: Actor) -> Q:
        return Q(token__organisation__in=frozenset(actor.organisations) - actor.driver_of)

    def in_force(self, day: dt.date) -> Self:
        """Those on which their tokens charge on a local date: the contract runs then too."""
        return self.ends_after(day).filter(valid_from__lte=day, contract__starts_on__lte=day)

    def ends_after(self, day: dt.date) -> Self:
        """Those that are not over on this day, also where they have not begun."""
        contract_runs = Q(contract__ends_on=None) | Q(contract__ends_on__gte=day)
        return self.filter(contract_runs, Q(valid_to=None) | Q(valid_to__gte=day))
