"""Changes to accounts, and the audit trail that every other app's services write."""

from __future__ import annotations

from typing import Any

from django.core.cache import cache
from django.db import models

from apps.accounts import selectors
from apps.accounts.models import AuditEntry, Brand
from apps.core.actor import Actor, Kind


def record_audit(
    *,
    actor: Actor,
    action: str,
    target: models.Model,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    why: str = "",
) -> AuditEntry:
    """Write who did what to `target`. Values must be JSON; secrets must not be among them."""
    return AuditEntry.objects.create(
        operator_id=getattr(target, "operator_id", None) or actor.operator_id,
        user_id=actor.user_id if actor.kind is Kind.SESSION else None,
        actor=actor.label[:160],
        action=action,
        object_type=target._meta.label_lower,
        object_id=str(target.pk),
        object_name=str(target)[:200],
        before=before or {},
        after=after or {},
        why=why,
    )


def save_brand(*, brand: Brand, actor: Actor) -> Brand:
    """Save a brand and let every process see it at once."""
    previous = Brand.objects.unscoped("the brand being saved").filter(pk=brand.pk).first()
    brand.full_clean()
    brand.save()
    cache.delete_many([selectors.brand_cache_key(one.host) for one in (previous, brand) if one is not None])
    record_audit(
        actor=actor,
        action="brand.saved",
        target=brand,
        before={"host": previous.host} if previous else {},
        after={"host": brand.host, "name": brand.name},
    )
    return brand
