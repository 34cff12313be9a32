"""Who sees which contracts: an organisation those of its own parties, unless its user is a driver only."""

from __future__ import annotations

import datetime as dt
from typing import Self

from django.db.models import Q

from apps.core.actor import Actor
from apps.core.querysets import TenantQuerySet


class _OfOrganisation(TenantQuerySet):
    path = ""

    def shared_with(self, actor: Actor) -> Q:
        return Q(**{f"{self.path}organisation__in": frozenset(actor.organisations) - actor.driver_of})


class PartyQuerySet(_OfOrganisation):
    def active(self) -> Self:
        return self.filter(archived_at=None)


class BillingAccountQuerySet(_OfOrganisation):
    path = "party__"

    def active(self) -> Self:
        return self.filter(archived_at=None)


class ContractQuerySet(_OfOrganisation):
    path = "account__party__"

    def running_on(self, day: dt.date) -> Self:
        return self.filter(starts_on__lte=day).ends_after(day)

    def ends_after(self, day: dt.date) -> Self:
        """Those that are not over on this day, also where they have not begun."""
        return self.filter(Q(ends_on=None) | Q(ends_on__gte=day))


class ContractVersionQuerySet(_OfOrganisation):
    path = "contract__account__party__"

    def in_force(self, day: dt.date) -> Self:
        """Those that hold on this local date, the one that counts first: of two of one date, the later written."""
        return self.filter(valid_from__lte=day).order_by("-valid_from", "-number")
