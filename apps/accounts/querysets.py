"""Who sees which account rows."""

from __future__ import annotations

import datetime as dt
from typing import Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from apps.core.actor import Actor
from apps.core.querysets import TenantQuerySet


class OrganisationQuerySet(TenantQuerySet):
    def shared_with(self, actor: Actor) -> Q:
        return Q(pk__in=actor.organisations)

    def active(self) -> Self:
        return self.filter(archived_at=None)


class SellerQuerySet(TenantQuerySet):
    def active(self) -> Self:
        return self.filter(archived_at=None)


class RegistrationQuerySet(TenantQuerySet):
    def in_force(self, day: dt.date) -> Self:
        return self.filter(valid_from__lte=day).filter(Q(valid_to=None) | Q(valid_to__gte=day))


class BrandQuerySet(TenantQuerySet):
    def in_use(self) -> Self:
        return self.all()


class MembershipQuerySet(TenantQuerySet):
    def shared_with(self, actor: Actor) -> Q:
        return Q(organisation__in=actor.organisations)

    def current(self) -> Self:
        return self.filter(ended_at=None)

    def in_use(self) -> Self:
        return self.current()


class InvitationQuerySet(TenantQuerySet):
    def shared_with(self, actor: Actor) -> Q:
        return Q(organisation__in=actor.organisations)

    def open(self, now: dt.datetime) -> Self:
        return self.filter(accepted_at=None, revoked_at=None, expires_at__gt=now)

    def in_use(self) -> Self:
        return self.open(timezone.now())


class ApiKeyQuerySet(TenantQuerySet):
    def usable(self, now: dt.datetime) -> Self:
        return self.filter(revoked_at=None).filter(Q(expires_at=None) | Q(expires_at__gt=now))

    def in_use(self) -> Self:
        return self.usable(timezone.now())


class OperatorQuerySet(models.QuerySet["models.Model"]):
    """Operators are the tenants themselves; only platform staff list them."""

    def visible_to(self, actor: Actor) -> Self:
        if actor.platform:
            return self.all()
        return self.filter(pk=actor.operator_id) if actor.operator_id else self.none()
