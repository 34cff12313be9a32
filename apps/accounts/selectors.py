"""Who is asking: brand of a host, actor of a request."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType
from typing import Any

from django.core.cache import cache

from apps.accounts import permissions
from apps.accounts.models import Brand, Membership, Operator, User
from apps.accounts.permissions import Role
from apps.core.actor import ANONYMOUS, Actor, Kind

BRAND_CACHE_SECONDS = 300
OPERATOR_SESSION_KEY = "operator"
_NO_BRAND = "none"


def brand_cache_key(host: str) -> str:
    return f"brand:{host}"


def brand_of_host(host: str) -> Brand | None:
    """The brand that answers on `host`, cached; `services.save_brand` empties the entry."""
    if len(host) > 253 or not host.replace("-", "").replace(".", "").isalnum():
        return None
    brand = cache.get(brand_cache_key(host))
    if brand is None:
        brand = (
            Brand.objects.unscoped("the host decides the tenant")
            .filter(host=host)
            .select_related("operator", "organisation")
            .first()
        )
        cache.set(brand_cache_key(host), brand or _NO_BRAND, BRAND_CACHE_SECONDS)
    return brand if isinstance(brand, Brand) else None


def actor_of_request(request: Any) -> Actor:
    """The signed-in user's actor on this host. Without a membership for the host: nobody."""
    user: User = request.user
    if request.brand is not None:
        return _actor_on_brand(user, request.brand)
    return _actor_on_admin(user, request.session.get(OPERATOR_SESSION_KEY))


def operators_of(user: User) -> list[Operator]:
    """The operators between which a user of the admin host chooses."""
    if user.platform_role:
        return list(Operator.objects.order_by("name"))
    ids = (
        Membership.objects.unscoped("the user's own memberships")
        .current()
        .filter(user=user, organisation=None)
        .values_list("operator_id", flat=True)
    )
    return list(Operator.objects.filter(pk__in=ids).order_by("name"))


def _actor_on_admin(user: User, chosen: int | None) -> Actor:
    operators = operators_of(user)
    operator = next((one for one in operators if one.pk == chosen), operators[0] if len(operators) == 1 else None)
    platform = bool(user.platform_role)
    if operator is None:
        if not platform and not operators:
            return ANONYMOUS
        return Actor(
            kind=Kind.SESSION,
            user=user,
            platform=platform,
            permissions=permissions.platform_only() if platform else frozenset(),
            label=user.email,
        )
    held = permissions.of_role(Role.OWNER) | permissions.platform_only() if platform else frozenset()
    return _actor(user, operator.pk, _memberships(user, operator.pk), extra=held, platform=platform)


def _actor_on_brand(user: User, brand: Brand) -> Actor:
    memberships = _memberships(user, brand.operator_id)
    if brand.organisation_id is not None:
        memberships = [one for one in memberships if one.organisation_id == brand.organisation_id]
    return _actor(user, brand.operator_id, memberships) if memberships else ANONYMOUS


def _memberships(user: User, operator_id: int) -> list[Membership]:
    return list(
        Membership.objects.unscoped("the user's own memberships")
        .current()
        .filter(user=user, operator_id=operator_id)
        .only("role", "organisation_id", "operator_id")
    )


def _actor(
    user: User,
    operator_id: int,
    memberships: Iterable[Membership],
    *,
    extra: frozenset[str] = frozenset(),
    platform: bool = False,
) -> Actor:
    wide, inside, roles = extra, dict[int, frozenset[str]](), dict[int, set[str]]()
    for one in memberships:
        held = permissions.of_role(one.role)
        if one.organisation_id is None:
            wide |= held
        else:
            inside[one.organisation_id] = inside.get(one.organisation_id, frozenset()) | held
            roles.setdefault(one.organisation_id, set()).add(one.role)
    return Actor(
        kind=Kind.SESSION,
        operator_id=operator_id,
        user=user,
        permissions=wide,
        organisations=MappingProxyType(inside),
        driver_of=frozenset(pk for pk, held in roles.items() if held == {Role.DRIVER}),
        operator_wide=bool(wide),
        platform=platform,
        label=user.email,
    )
