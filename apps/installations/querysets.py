"""Who sees which installations: the operator all of its own, an organisation what stands at locations it hosts."""

from __future__ import annotations

from typing import Self

from django.db.models import Q

from apps.core.actor import Actor
from apps.core.querysets import TenantQuerySet


class LocationQuerySet(TenantQuerySet):
    def shared_with(self, actor: Actor) -> Q:
        return Q(host__in=_hosts(actor))

    def active(self) -> Self:
        return self.filter(archived_at=None)


class StationQuerySet(TenantQuerySet):
    def shared_with(self, actor: Actor) -> Q:
        return Q(location__host__in=_hosts(actor))

    def active(self) -> Self:
        return self.filter(archived_at=None)

    def online(self) -> Self:
        return self.filter(state__online=True)


class AtLocationQuerySet(TenantQuerySet):
    """Rows with a `location`."""

    def shared_with(self, actor: Actor) -> Q:
        return Q(location__host__in=_hosts(actor))


class AtStationQuerySet(TenantQuerySet):
    """Rows with a `station`."""

    def shared_with(self, actor: Actor) -> Q:
        return Q(station__location__host__in=_hosts(actor))


class ConnectorStateQuerySet(TenantQuerySet):
    def shared_with(self, actor: Actor) -> Q:
        return Q(connector__station__location__host__in=_hosts(actor))


def _hosts(actor: Actor) -> frozenset[int]:
    """Organisations whose installations the actor sees. A driver sees none."""
    return frozenset(actor.organisations) - actor.driver_of
