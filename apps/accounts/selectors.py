"""Who is asking: brand of a host, actor of a request; and what was done to a row."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from allauth.account.authentication import get_authentication_records
from allauth.account.forms import EmailAwarePasswordResetTokenGenerator
from django.conf import settings
from django.contrib.auth import get_user
from django.core.cache import cache
from django.db.models import F, ForeignObjectRel, Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from apps.accounts import permissions
from apps.accounts.models import ApiKey, AuditEntry, Brand, Invitation, Membership, Operator, Organisation, Seller, User
from apps.accounts.permissions import Role
from apps.core.actor import ANONYMOUS, Actor, Kind
from apps.core.models import TenantModel

BRAND_CACHE_SECONDS = 300
OPERATOR_SESSION_KEY = "operator"
_NO_BRAND = "none"


def brand_cache_key(host: str) -> str:
    return f"brand:{host}"


def name_of_host(header: str) -> str:
    """The name in a Host header: without port, case and the dot of a full name."""
    name = header.rpartition(":")[0] if ":" in header else header
    return name.lower().rstrip(".")


def default_seller(operator_id: int | None) -> Seller | None:
    """The seller of record where nothing else is said."""
    found: Seller | None = (
        Seller.objects.unscoped("one operator's, named by its id")
        .filter(operator_id=operator_id, is_default=True)
        .first()
    )
    return found


def operator_zone(operator_id: int | None) -> ZoneInfo:
    """The zone in which an operator's dates are meant where no place gives its own."""
    if operator_id is None:
        return ZoneInfo("UTC")
    return ZoneInfo(Operator.objects.values_list("time_zone", flat=True).get(pk=operator_id))


def operator_today(operator_id: int | None) -> dt.date:
    """The operator's date."""
    return timezone.localdate(timezone=operator_zone(operator_id))


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
    """The signed-in user's actor on this host. Without a membership for the host: nobody.

    Sets `request.operators` on the admin host: those between which the user chooses.
    """
    user: User = request.user
    if request.brand is not None:
        return _actor_on_brand(user, request.brand)
    platform = bool(user.platform_role) and has_second_factor(request)
    request.operators = operators_of(user, platform=platform)
    return _actor_on_admin(user, request.operators, request.session.get(OPERATOR_SESSION_KEY), platform=platform)


def actor_of_socket(scope: dict[str, Any]) -> Actor:
    """The same for a websocket's scope with its cookies: who its session belongs to now, on the host it came to."""
    request: Any = HttpRequest()
    store = import_module(settings.SESSION_ENGINE).SessionStore
    request.session = store(scope["cookies"].get(settings.SESSION_COOKIE_NAME))
    request.user = get_user(request)
    host = name_of_host(dict(scope["headers"]).get(b"host", b"").decode("latin-1"))
    is_admin_host = host == settings.ADMIN_HOST
    request.brand = None if is_admin_host else brand_of_host(host)
    known = request.user.is_authenticated and (is_admin_host or request.brand is not None)
    return actor_of_request(request) if known else ANONYMOUS


def has_second_factor(request: Any) -> bool:
    """Whether this session was opened with a second factor. Without one a platform role counts for nothing."""
    return any(record.get("method") == "mfa" for record in get_authentication_records(request, request.user))


def operators_of(user: User, *, platform: bool = False) -> list[Operator]:
    """The operators between which a user of the admin host chooses; all of them for platform staff."""
    if platform:
        return list(Operator.objects.order_by("name"))
    ids = (
        Membership.objects.unscoped("the user's own memberships")
        .current()
        .filter(user=user, organisation=None)
        .values_list("operator_id", flat=True)
    )
    return list(Operator.objects.filter(pk__in=ids).order_by("name"))


def history_of(*, target: Model, actor: Actor) -> QuerySet[AuditEntry]:
    """What was done to one row, newest first. Rows without a tenant have theirs told to platform staff alone."""
    entries = AuditEntry.objects.visible_to(actor)
    if actor.platform and not hasattr(target, "operator_id"):
        entries = AuditEntry.objects.unscoped("platform staff read the history of a row without a tenant")
    of_target = entries.filter(object_type=target._meta.label_lower, object_id=str(target.pk))
    return of_target.select_related("user").order_by("-at", "-pk")


@dataclass(frozen=True, slots=True)
class Use:
    """`count` rows of `model`, any app's, that hang on a row by their column `name`."""

    model: type[Model]
    name: str
    count: int

    def __str__(self) -> str:
        words = self.model._meta.verbose_name if self.count == 1 else self.model._meta.verbose_name_plural
        return f"{self.count} {words}"


def uses_of(row: TenantModel) -> list[Use]:
    """What is in the way of a row that shall go: all that hangs on it and counts for somebody now (`in_use`)."""
    named = [
        (one.related_model, one.field.name)
        for one in row._meta.get_fields(include_hidden=True)
        if isinstance(one, ForeignObjectRel) and issubclass(one.related_model, TenantModel)
    ]
    counted = [
        Use(model, name, model.objects.unscoped("what hangs on one row").in_use().filter(**{name: row}).count())
        for model, name in named
    ]
    return [use for use in counted if use.count]


def held_permissions(actor: Actor, *, organisation_id: int | None = None) -> frozenset[str]:
    """What the actor may do operator-wide, or inside one organisation."""
    if actor.kind is Kind.SYSTEM:
        return permissions.everything() - permissions.platform_only()
    return actor.permissions | actor.organisations.get(organisation_id or 0, frozenset())


def grantable_roles(actor: Actor, *, organisation_id: int | None = None) -> list[Role]:
    """The roles whose every right the actor holds: operator roles, or those inside the organisation."""
    held = held_permissions(actor, organisation_id=organisation_id)
    fitting = permissions.OPERATOR_ROLES if organisation_id is None else permissions.ORGANISATION_ROLES
    return [role for role in Role if role in fitting and permissions.of_role(role) <= held]


INVITE = "accounts.invite_membership"


def managed_organisations(actor: Actor) -> QuerySet[Organisation]:
    """The organisations whose people the actor looks after as one of them. The operator's people have the back office
    for that."""
    ids = [pk for pk, held in actor.organisations.items() if INVITE in held]
    rows: QuerySet[Organisation] = Organisation.objects.visible_to(actor).active().filter(pk__in=ids).order_by("name")
    return rows


def manages_people(actor: Actor) -> bool:
    """Whether there are any such organisations: no query."""
    return any(INVITE in held for held in actor.organisations.values())


def brand_for(*, operator: Operator, organisation: Organisation | None) -> Brand | None:
    """The brand on which people of an organisation work: its own, else the operator's; None is the admin host."""
    if organisation is None:
        return None
    brands = Brand.objects.unscoped("the tenant of the person being written to").filter(operator=operator)
    own = brands.filter(organisation=organisation).order_by("pk").first()
    return own or brands.filter(organisation=None).order_by("pk").first()


def home_of_account(user: User, *, asked_on: Brand | None) -> tuple[Operator | None, Brand | None]:
    """Whose e-mail it is that says something about a person's account, and to which host its link leads (None: the
    admin's): the brand on which they asked, if that may have it, else where they have a role.

    Whoever runs a brand's host can read what is sent to it, and the link opens all that the person may do. So a brand
    gets it only if it shows every role they have. Platform staff always go to the admin host.
    """
    current = Membership.objects.unscoped("a person's own roles").current().filter(user=user)
    roles = list(current.select_related("operator").order_by(F("organisation").asc(nulls_first=True), "pk"))
    here = [role for role in roles if asked_on is not None and asked_on.shows(role)]
    teller = next((role.operator for role in [*here, *roles]), None)
    if user.platform_role or not roles or asked_on is None:
        return teller, None
    if len(here) == len(roles):
        return teller, asked_on
    if roles[0].organisation_id is None:
        return teller, None
    own = Brand.objects.unscoped("the brands of a person's own operator").filter(operator=teller)
    ordered = own.order_by(F("organisation").asc(nulls_last=True), "pk")
    return teller, next((brand for brand in ordered if all(brand.shows(role) for role in roles)), None)


def reset_tokens(brand: Brand | None) -> EmailAwarePasswordResetTokenGenerator:
    """What makes and checks the tokens for a new password on one host: on every other host they open nothing."""
    tokens = EmailAwarePasswordResetTokenGenerator()
    tokens.key_salt = f"accounts.password_reset.{brand.pk if brand else 'admin'}"
    return tokens


def public_url(path: str, *, brand: Brand | None) -> str:
    """An absolute URL for mails, from the brand's stored host (None: the admin's), never from a request."""
    scheme, port = settings.PUBLIC_SCHEME, settings.PUBLIC_PORT
    host = brand.host if brand else settings.ADMIN_HOST
    shown_port = "" if port == {"http": 80, "https": 443}[scheme] else f":{port}"
    return f"{scheme}://{host}{shown_port}{path}"


def invitation_of_token(token: str) -> Invitation | None:
    """The invitation whose link holds `token`, open or not."""
    found: Invitation | None = (
        Invitation.objects.unscoped("the token names it")
        .filter(token_hash=hashlib.sha256(token.encode()).hexdigest())
        .select_related("operator", "organisation", "brand")
        .first()
    )
    return found


def is_open(invitation: Invitation) -> bool:
    """Whether the offer can still be taken."""
    return not (invitation.accepted_at or invitation.revoked_at) and invitation.expires_at > timezone.now()


def answers_here(invitation: Invitation, *, brand: Brand | None) -> bool:
    """Whether this host (None: the admin's) is the one that the invitation's link leads to."""
    return (brand and brand.pk) == invitation.brand_id


KEY_USE_INTERVAL = dt.timedelta(minutes=1)


def actor_of_api_key(secret: str, *, brand: Brand | None) -> Actor | None:
    """The actor of `vd_<prefix>_<secret>` on a brand's host (None: the admin's), or None where it opens nothing.

    Last use is noted at most once a minute.
    """
    kind, _, rest = secret.partition("_")
    prefix, _, tail = rest.partition("_")
    now = timezone.now()
    key = ApiKey.objects.unscoped("the key decides the tenant").usable(now).filter(prefix=prefix).first()
    expected = key.secret_hash if key else "0" * 64
    if not constant_time_compare(hashlib.sha256(tail.encode()).hexdigest(), expected) or key is None or kind != "vd":
        return None
    bound_to = key.organisation_id
    if brand is not None:
        if brand.operator_id != key.operator_id or bound_to not in (None, brand.organisation_id or bound_to):
            return None
        bound_to = brand.organisation_id or bound_to
    _note_use(key, now)
    scopes = frozenset(key.scopes)
    return Actor(
        kind=Kind.API_KEY,
        operator_id=key.operator_id,
        permissions=scopes if bound_to is None else frozenset(),
        organisations=MappingProxyType({bound_to: scopes} if bound_to else {}),
        operator_wide=bound_to is None,
        label=f"API key {key.name}",
    )


def _note_use(key: ApiKey, now: dt.datetime) -> None:
    if key.last_used_at is None or key.last_used_at < now - KEY_USE_INTERVAL:
        ApiKey.objects.unscoped("its own last use").filter(pk=key.pk).update(last_used_at=now)


def _actor_on_admin(user: User, operators: list[Operator], chosen: int | None, *, platform: bool) -> Actor:
    operator = next((one for one in operators if one.pk == chosen), operators[0] if len(operators) == 1 else None)
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
    memberships = [one for one in _memberships(user, brand.operator_id) if brand.shows(one)]
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
