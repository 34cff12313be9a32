"""Changes to accounts, and the audit trail that every other app's services write."""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
import uuid
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.cache import cache
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import models, transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from apps.accounts import contrast, events, logos, selectors
from apps.accounts.models import ApiKey, AuditEntry, Brand, Invitation, Membership, Operator, Organisation, Seller, User
from apps.accounts.permissions import OPERATOR_ROLES, ORGANISATION_ROLES, Role
from apps.core.actor import Actor, Kind
from apps.core.events import publish

INVITATION_DAYS = 7
INVITATIONS_AN_HOUR = 100


class CannotGrantRole(ValidationError):
    """A role may be granted only by somebody whose permissions include all of its own."""


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


# --- roles ------------------------------------------------------------------------------------------------------------
@transaction.atomic
def grant_role(
    *,
    actor: Actor,
    user: User,
    operator: Operator,
    role: str,
    organisation: Organisation | None = None,
    why: str = "",
) -> Membership:
    """Give `user` a role; the one already held is returned as it is. Raises `CannotGrantRole`."""
    _require_may_grant(actor, operator_id=operator.pk, role=role, organisation=organisation)
    return _add_membership(
        actor=actor, user=user, operator_id=operator.pk, role=role, organisation=organisation, why=why
    )


@transaction.atomic
def end_membership(*, actor: Actor, membership: Membership, why: str = "") -> Membership:
    """Take a role back, at once. Only somebody who could grant it may.

    An operator keeps its last owner; an organisation its last fleet manager, unless the operator itself ends that one.
    """
    _require_may_grant(
        actor, operator_id=membership.operator_id, role=membership.role, organisation=membership.organisation
    )
    if membership.role == Role.OWNER and not _is_held_by_others(membership):
        raise ValidationError(_("This is the operator's last owner. Make somebody else an owner first."))
    if membership.role == Role.MANAGER and not actor.operator_wide and not _is_held_by_others(membership):
        raise ValidationError(
            _("This is the last fleet manager: nobody could invite people any more. Invite another one first.")
        )
    membership.ended_at = timezone.now()
    membership.save(update_fields=["ended_at"])
    record_audit(actor=actor, action="membership.ended", target=membership, before={"role": membership.role}, why=why)
    return membership


def _is_held_by_others(membership: Membership) -> bool:
    """Whether somebody else has the same role at the same place. Two who leave at once wait for each other here."""
    holders = (
        Membership.objects.unscoped("who holds the role that is being ended")
        .current()
        .filter(operator_id=membership.operator_id, organisation_id=membership.organisation_id, role=membership.role)
        .select_for_update(no_key=True)
        .order_by("pk")
    )
    return any(one.user_id != membership.user_id for one in holders)


def _add_membership(
    *, actor: Actor, user: User, operator_id: int, role: str, organisation: Organisation | None, why: str = ""
) -> Membership:
    named = {"user": user, "operator_id": operator_id, "organisation": organisation, "role": role}
    held: Membership | None = Membership.objects.unscoped("the role being granted").current().filter(**named).first()
    if held is not None:
        return held
    membership = Membership.objects.create(**named)
    record_audit(actor=actor, action="membership.granted", target=membership, after={"role": role}, why=why)
    return membership


def _require_may_grant(actor: Actor, *, operator_id: int, role: str, organisation: Organisation | None) -> None:
    if organisation is None and role in ORGANISATION_ROLES:
        raise CannotGrantRole({"organisation": _("This role counts inside one organisation. Choose which.")})
    if organisation is not None and role in OPERATOR_ROLES:
        raise CannotGrantRole({"organisation": _("This role counts for the whole operator. Choose no organisation.")})
    inside = actor.operator_id == operator_id and (organisation is None or organisation.operator_id == operator_id)
    allowed = selectors.grantable_roles(actor, organisation_id=organisation.pk if organisation else None)
    if not inside or role not in allowed:
        raise CannotGrantRole(_("You can give only roles whose rights you hold yourself."))


# --- invitations ------------------------------------------------------------------------------------------------------
@transaction.atomic
def invite_person(
    *,
    actor: Actor,
    operator: Operator,
    email: str,
    role: str,
    organisation: Organisation | None = None,
    brand: Brand | None = None,
) -> Invitation:
    """Offer a role by e-mail. The link leads to `brand`'s host; operator roles are accepted on the admin host.

    An open offer of the same role to the same address is replaced. Raises `CannotGrantRole`, and `ValidationError`
    where `brand` does not show the role, and after 100 invitations of an operator in an hour.
    """
    organisation_id = organisation.pk if organisation else None
    if not actor.can("accounts.invite_membership", organisation_id=organisation_id):
        raise PermissionDenied("accounts.invite_membership")
    _require_may_grant(actor, operator_id=operator.pk, role=role, organisation=organisation)
    now = timezone.now()
    own = Invitation.objects.unscoped("the operator's invitations").filter(operator=operator)
    if own.filter(created_at__gt=now - dt.timedelta(hours=1)).count() >= INVITATIONS_AN_HOUR:
        raise ValidationError(_("Too many invitations were sent in the last hour. Try again later."))
    email = email.strip().lower()
    own.open(now).filter(email=email, role=role, organisation=organisation).update(revoked_at=now)
    invitation = Invitation(
        operator=operator,
        email=email,
        role=role,
        organisation=organisation,
        brand=brand or selectors.brand_for(operator=operator, organisation=organisation),
        invited_by_id=actor.user_id,
        expires_at=now + dt.timedelta(days=INVITATION_DAYS),
    )
    if invitation.brand is not None and not invitation.brand.shows(invitation):
        raise ValidationError(
            {"brand": _("The role does not count on this brand's host. Choose the operator's brand, or none.")}
        )
    invitation.token_hash = _hash(invitation_token(invitation))
    invitation.full_clean()
    invitation.save()
    record_audit(actor=actor, action="invitation.made", target=invitation, after={"email": email, "role": role})
    publish(events.INVITATION_MADE, invitation_id=invitation.pk)
    return invitation


@transaction.atomic
def resend_invitation(*, actor: Actor, invitation: Invitation, why: str = "") -> Invitation:
    """Send the offer again, with a new link and a new week; the old link ends."""
    _require_open(invitation)
    record_audit(actor=actor, action="invitation.resent", target=invitation, why=why)
    brand = invitation.brand
    return invite_person(
        actor=actor,
        operator=invitation.operator,
        email=invitation.email,
        role=invitation.role,
        organisation=invitation.organisation,
        brand=brand if brand is not None and brand.shows(invitation) else None,
    )


@transaction.atomic
def revoke_invitation(*, actor: Actor, invitation: Invitation, why: str = "") -> Invitation:
    """Take the offer back: its link says so from now on."""
    _require_open(invitation)
    if not actor.can("accounts.invite_membership", organisation_id=invitation.organisation_id):
        raise PermissionDenied("accounts.invite_membership")
    invitation.revoked_at = timezone.now()
    invitation.save(update_fields=["revoked_at"])
    record_audit(actor=actor, action="invitation.revoked", target=invitation, why=why)
    return invitation


@transaction.atomic
def accept_invitation(
    *, token: str, user: User | None = None, name: str = "", password: str = "", language: str = ""
) -> User:
    """Take the offered role: as the signed-in `user` of the invited address, or as a new one with `password`.

    Raises `ValidationError` where the link is used, revoked, expired or somebody else's.
    """
    found = selectors.invitation_of_token(token)
    if found is None:
        raise ValidationError(_("This invitation is no longer valid. Ask for a new one."))
    invitation = (
        Invitation.objects.unscoped("the token names it").select_for_update(no_key=True, of=("self",)).get(pk=found.pk)
    )
    _require_open(invitation)
    if user is None:
        user = _new_user(email=invitation.email, name=name, password=password, language=language)
    elif user.email.lower() != invitation.email:
        raise ValidationError(_("This invitation is for another e-mail address."))
    invitation.accepted_at = timezone.now()
    invitation.save(update_fields=["accepted_at"])
    accepting = Actor(kind=Kind.SESSION, operator_id=invitation.operator_id, user=user, label=user.email)
    _add_membership(
        actor=accepting,
        user=user,
        operator_id=invitation.operator_id,
        role=invitation.role,
        organisation=invitation.organisation,
    )
    record_audit(actor=accepting, action="invitation.accepted", target=invitation)
    return user


def invitation_token(invitation: Invitation) -> str:
    """The secret of the invitation's link. Only its hash is stored; who knows SECRET_KEY can make it again."""
    nonce = f"{invitation.public_id}:{invitation.expires_at.timestamp()}"
    return salted_hmac("accounts.invitation", nonce, algorithm="sha256").hexdigest()


def _require_open(invitation: Invitation) -> None:
    closed = invitation.accepted_at or invitation.revoked_at
    if closed or invitation.expires_at <= timezone.now():
        raise ValidationError(_("This invitation is no longer valid. Ask for a new one."))


def _new_user(*, email: str, name: str, password: str, language: str) -> User:
    if User.objects.filter(email=email).exists():
        raise ValidationError(_("This address has an account already. Sign in first, then open the link again."))
    user = User(email=email, name=name.strip(), language=language)
    validate_password(password, user)
    user.set_password(password)
    user.full_clean()
    user.save()
    EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
    return user


# --- people's own settings --------------------------------------------------------------------------------------------
def save_profile(*, user: User, name: str, language: str) -> User:
    """A person's own name and language ("" follows the browser)."""
    user.name, user.language = name.strip(), language
    user.full_clean()
    user.save(update_fields=["name", "language"])
    return user


def record_own_access(*, user: User, action: str, what: str = "") -> None:
    """Keep that a person changed the ways into their own account. People are no tenant's, so the platform keeps it."""
    own = Actor(kind=Kind.SESSION, user=user, label=user.email)
    record_audit(actor=own, action=f"user.{action}", target=user, after={"what": what} if what else {})


def ask_password_reset(*, user: User, brand: Brand | None) -> None:
    """Have a link for a new password mailed. `brand`: on whose host it was asked for (None: the admin's), which is not
    always where the link leads (`selectors.home_of_account`)."""
    brand_id = brand.pk if brand else None
    publish(events.PASSWORD_RESET_ASKED, user_id=user.pk, brand_id=brand_id, request_id=uuid.uuid4().hex)


# --- API keys ---------------------------------------------------------------------------------------------------------
@transaction.atomic
def create_api_key(
    *,
    actor: Actor,
    operator: Operator,
    name: str,
    scopes: Collection[str],
    organisation: Organisation | None = None,
    expires_at: dt.datetime | None = None,
    secret: str = "",
) -> tuple[ApiKey, str]:
    """A machine's key with a part of the creator's rights → the row, and the secret, which is shown this once.
    The secret is random, unless one is given (40 hex digits, whose first ten are shown).

    Raises `CannotGrantRole` where the creator lacks one of the scopes.
    """
    held = selectors.held_permissions(actor, organisation_id=organisation.pk if organisation else None)
    foreign = actor.operator_id != operator.pk or (organisation is not None and organisation.operator_id != operator.pk)
    if foreign or not frozenset(scopes) <= held:
        raise CannotGrantRole(_("You can give only rights that you hold yourself."))
    prefix = secret[:10] or secrets.token_hex(5)
    secret = secret or secrets.token_hex(20)
    key = ApiKey(
        operator=operator,
        name=name.strip(),
        prefix=prefix,
        secret_hash=_hash(secret),
        scopes=sorted(scopes),
        organisation=organisation,
        expires_at=expires_at,
    )
    key.full_clean(exclude=["secret_hash"])
    key.save()
    record_audit(actor=actor, action="api_key.created", target=key, after={"name": key.name, "scopes": key.scopes})
    return key, f"vd_{prefix}_{secret}"


@transaction.atomic
def rotate_api_key(
    *, actor: Actor, key: ApiKey, overlap: dt.timedelta = dt.timedelta(), why: str = ""
) -> tuple[ApiKey, str]:
    """A successor with the same name and rights → row and secret. The old secret works on for `overlap`."""
    if key.revoked_at is not None:
        raise ValidationError(_("This key was revoked. Make a new one."))
    fresh = create_api_key(
        actor=actor,
        operator=key.operator,
        name=key.name,
        scopes=key.scopes,
        organisation=key.organisation,
        expires_at=key.expires_at,
    )
    now = timezone.now()
    if overlap:
        key.expires_at = min(filter(None, [key.expires_at, now + overlap]))
    else:
        key.revoked_at = now
    key.save(update_fields=["expires_at", "revoked_at"])
    record_audit(actor=actor, action="api_key.rotated", target=key, after={"successor": fresh[0].prefix}, why=why)
    return fresh


@transaction.atomic
def revoke_api_key(*, actor: Actor, key: ApiKey, why: str = "") -> ApiKey:
    """The key stops working at once."""
    if key.revoked_at is None:
        key.revoked_at = timezone.now()
        key.save(update_fields=["revoked_at"])
        record_audit(actor=actor, action="api_key.revoked", target=key, why=why)
    return key


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


# --- brands -----------------------------------------------------------------------------------------------------------
_LOGOS = ("logo_light", "logo_dark")
_ACCENTS = (("accent_light", contrast.LIGHT_BACKGROUND), ("accent_dark", contrast.DARK_BACKGROUND))


def save_brand(*, brand: Brand, actor: Actor) -> Brand:
    """Save a brand and let every process see it at once. New logos are drawn anew under a random name.

    Raises `ValidationError` by field: an accent that cannot be read comes with the nearest shade that can.
    """
    brand.host = brand.host.strip().lower()
    brand.full_clean()
    _check_brand(brand)
    previous = Brand.objects.unscoped("the brand being saved").filter(pk=brand.pk).first()
    with transaction.atomic():
        brand.save()
        record_audit(
            actor=actor,
            action="brand.saved",
            target=brand,
            before=_brand_facts(previous) if previous else {},
            after=_brand_facts(brand),
        )
        hosts = [one.host for one in (previous, brand) if one is not None]
        transaction.on_commit(lambda: cache.delete_many([selectors.brand_cache_key(host) for host in hosts]))
    return brand


def _check_brand(brand: Brand) -> None:
    if brand.host == settings.ADMIN_HOST:
        raise ValidationError({"host": _("This is the back office's host. Choose another one.")})
    if brand.host == settings.CHARGER_HOST:
        raise ValidationError({"host": _("This is the chargers' host. Choose another one.")})
    for name, background in _ACCENTS:
        colour = getattr(brand, name)
        if not contrast.passes(colour, background):
            offer = contrast.nearest_passing(colour, background)
            message = _("%(colour)s is too hard to read on this background. The nearest shade that works is %(offer)s.")
            raise ValidationError({name: message % {"colour": colour, "offer": offer}})
    for name in _LOGOS:
        logo = getattr(brand, name)
        if logo and not logo._committed:
            try:
                picture = logos.redrawn(logo.file, logo.size)
            except ValidationError as error:
                raise ValidationError({name: error}) from error
            logo.save(f"{uuid.uuid4().hex}.png", picture, save=False)


def _brand_facts(brand: Brand) -> dict[str, str]:
    names = (
        *("host", "name", "organisation", "accent_light", "accent_dark"),
        *("logo_light", "logo_dark", "email_name", "email_from"),
    )
    return {name: str(getattr(brand, name) or "") for name in names}


# --- operators and sellers --------------------------------------------------------------------------------------------
@transaction.atomic
def create_operator(
    *,
    actor: Actor,
    name: str,
    slug: str,
    country: str,
    owner: User,
    brand_host: str,
    language: str = "en",
    street: str = "",
    postal_code: str = "",
    city: str = "",
) -> Operator:
    """A new tenant with what it needs from the first day: default seller, portal on `brand_host`, an owner.

    Street, postal code and city are the seller's; they can follow, but no invoice goes out without them. Raises
    `ValidationError` where name, short name or host are taken or wrong. Higher apps add theirs (the key in the
    chargers' URL) when they hear `accounts.operator_created`.
    """
    operator = Operator(name=name.strip(), slug=slug, language=language)
    operator.full_clean()
    operator.save()
    within = replace(actor, operator_id=operator.pk)
    seller = Seller(
        operator=operator,
        legal_name=operator.name,
        street=street.strip(),
        postal_code=postal_code.strip(),
        city=city.strip(),
        country=country.upper(),
        is_default=True,
    )
    seller.full_clean()
    seller.save()
    save_brand(brand=Brand(operator=operator, host=brand_host, name=operator.name[:80]), actor=within)
    _add_membership(actor=within, user=owner, operator_id=operator.pk, role=Role.OWNER, organisation=None)
    record_audit(actor=within, action="operator.created", target=operator, after={"name": operator.name, "slug": slug})
    publish(events.OPERATOR_CREATED, operator_id=operator.pk)
    return operator


@transaction.atomic
def make_default_seller(*, actor: Actor, seller: Seller, why: str = "") -> Seller:
    """Locations without a seller of their own are sold in this one's name from now on."""
    sellers = Seller.objects.unscoped("the operator's sellers").filter(operator_id=seller.operator_id)
    previous = sellers.filter(is_default=True).exclude(pk=seller.pk).first()
    sellers.filter(is_default=True).exclude(pk=seller.pk).update(is_default=False)
    seller.is_default = True
    seller.save(update_fields=["is_default"])
    before = {"default": str(previous)} if previous else {}
    record_audit(
        actor=actor, action="seller.made_default", target=seller, before=before, after={"default": str(seller)}, why=why
    )
    return seller
