"""Operators (the tenants), their organisations, brands and users."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from apps.accounts.history import action_in_words
from apps.accounts.permissions import OPERATOR_ROLES, ORGANISATION_ROLES, PlatformRole, Role
from apps.accounts.querysets import (
    ApiKeyQuerySet,
    BrandQuerySet,
    InvitationQuerySet,
    MembershipQuerySet,
    OperatorQuerySet,
    OrganisationQuerySet,
    RegistrationQuerySet,
    SellerQuerySet,
)
from apps.accounts.vat_ids import validate_vat_id
from apps.accounts.zones import validate_time_zone
from apps.core.actor import Actor
from apps.core.models import ArchivableModel, PublicIdModel, TenantModel
from apps.core.querysets import TenantQuerySet

LANGUAGES = [("en", _("English")), ("de", _("German"))]
hex_colour = RegexValidator(r"^#[0-9a-f]{6}$", _("Write the colour as #rrggbb, in lower case."))
country_code = RegexValidator(r"^[A-Z]{2}$", _("Write the country as two capital letters (ISO 3166-1)."))


def random_document_name(document: Document, _name: str) -> str:
    """Nothing of a file's own name, and a folder an operator."""
    return f"documents/{document.operator_id}/{uuid.uuid4().hex}"


class Operator(PublicIdModel):
    """A charge point operator: the tenant. Everything else belongs to one."""

    name = models.CharField(_("name"), max_length=120, unique=True)
    slug = models.SlugField(_("short name"), max_length=40, unique=True)
    language = models.CharField(_("language"), max_length=5, choices=LANGUAGES, default="en")
    time_zone = models.CharField(
        _("time zone"), max_length=64, default="Europe/Berlin", validators=[validate_time_zone]
    )
    support_email = models.EmailField(_("support e-mail"), blank=True)
    support_phone = models.CharField(_("support phone"), max_length=40, blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    objects = OperatorQuerySet.as_manager()

    class Meta:
        verbose_name = _("operator")
        verbose_name_plural = _("operators")

    def __str__(self) -> str:
        return self.name


class Organisation(PublicIdModel, ArchivableModel, TenantModel):
    """A customer of the operator: a fleet, a site host, a town."""

    name = models.CharField(_("name"), max_length=120)
    language = models.CharField(_("language"), max_length=5, choices=LANGUAGES, default="en")
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    objects = OrganisationQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("organisation")
        verbose_name_plural = _("organisations")
        constraints = [
            models.UniqueConstraint(
                "operator",
                Lower("name"),
                condition=Q(archived_at=None),
                name="organisation_name_once",
                violation_error_message=_("There is an organisation of this name already."),
            )
        ]

    def __str__(self) -> str:
        return self.name


class Seller(PublicIdModel, ArchivableModel, TenantModel):
    """The seller of record of what is charged at a location: the operator, or a host. Each operator has one default."""

    organisation = models.ForeignKey(
        Organisation,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="sellers",
        verbose_name=_("organisation"),
    )
    legal_name = models.CharField(_("legal name"), max_length=160)
    street = models.CharField(_("street"), max_length=120, blank=True)
    postal_code = models.CharField(_("postal code"), max_length=16, blank=True)
    city = models.CharField(_("city"), max_length=80, blank=True)
    country = models.CharField(
        _("country"), max_length=2, validators=[country_code], help_text=_("Where the seller is at home (ISO 3166-1).")
    )
    tax_number = models.CharField(
        _("tax number"), max_length=40, blank=True, help_text=_("Printed where a registration has no VAT id.")
    )
    email = models.EmailField(_("e-mail on invoices"), blank=True)
    is_default = models.BooleanField(_("default seller"), default=False)

    objects = SellerQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("seller")
        verbose_name_plural = _("sellers")
        constraints = [
            models.UniqueConstraint(
                fields=["operator"], condition=Q(is_default=True, archived_at=None), name="seller_one_default"
            )
        ]

    def __str__(self) -> str:
        return self.legal_name


class SellerRegistration(PublicIdModel, TenantModel):
    """A seller's registration for VAT in a country, both dates in. Each has number series of its own.

    Two of one seller and country never overlap, which the database enforces.
    """

    seller = models.ForeignKey(Seller, on_delete=models.PROTECT, related_name="registrations", verbose_name=_("seller"))
    country = models.CharField(
        _("country"), max_length=2, validators=[country_code], help_text=_("ISO 3166-1, two letters")
    )
    vat_id = models.CharField(_("VAT id"), max_length=20, blank=True, validators=[validate_vat_id])
    number_prefix = models.CharField(
        _("number prefix"),
        max_length=10,
        validators=[RegexValidator(r"^[A-Z0-9]{1,10}$", _("One to ten capital letters and digits."))],
        help_text=_("Invoice numbers of this registration begin with it."),
    )
    valid_from = models.DateField(_("valid from"))
    valid_to = models.DateField(_("valid to"), null=True, blank=True, help_text=_("Its last day."))

    objects = RegistrationQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("VAT registration")
        verbose_name_plural = _("VAT registrations")
        constraints = [
            models.UniqueConstraint(
                fields=["operator", "number_prefix"],
                name="registration_prefix_once",
                violation_error_message=_("Another registration has this prefix."),
            ),
            models.CheckConstraint(
                condition=Q(valid_to=None) | Q(valid_to__gte=F("valid_from")),
                name="registration_ends_after_start",
                violation_error_message=_("It would end before it starts."),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.seller} {self.country} {self.vat_id}".strip()

    def covers(self, country: str, day: dt.date) -> bool:
        """Whether it holds for what is supplied there on a local date."""
        return self.country == country and self.valid_from <= day and (self.valid_to is None or day <= self.valid_to)

    def clean(self) -> None:
        super().clean()
        if not self.vat_id and not self.seller.tax_number:
            raise ValidationError({"vat_id": _("Without a VAT id, the seller needs a tax number: invoices show one.")})
        # Free for another registration, it would give numbers that are on invoices already.
        stored = SellerRegistration.objects.unscoped("this one as it is stored").filter(pk=self.pk)
        if stored.exclude(number_prefix=self.number_prefix).exists():
            raise ValidationError({"number_prefix": _("Invoices are numbered with it, so it stays as it is.")})


class Brand(PublicIdModel, TenantModel):
    """A portal of its own on its own host: an operator's, or one organisation's."""

    organisation = models.ForeignKey(
        Organisation,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="brands",
        verbose_name=_("organisation"),
    )
    host = models.CharField(
        _("host"),
        max_length=253,
        unique=True,
        validators=[RegexValidator(r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", _("A host name in lower case, without port."))],
    )
    name = models.CharField(_("name"), max_length=80)
    logo_light = models.FileField(_("logo on light"), upload_to="brands/", blank=True)
    logo_dark = models.FileField(_("logo on dark"), upload_to="brands/", blank=True)
    accent_light = models.CharField(_("accent on light"), max_length=7, default="#1d4ed8", validators=[hex_colour])
    accent_dark = models.CharField(_("accent on dark"), max_length=7, default="#93b4ff", validators=[hex_colour])
    email_name = models.CharField(_("e-mail sender's name"), max_length=80, blank=True)
    email_from = models.EmailField(_("e-mail sender's address"), blank=True)

    objects = BrandQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("brand")
        verbose_name_plural = _("brands")

    def __str__(self) -> str:
        return f"{self.name} ({self.host})"

    def shows(self, role: Membership | Invitation) -> bool:
        """Whether a role counts on this host: the operator's brand shows all of its own, an organisation's those inside
        it."""
        return self.operator_id == role.operator_id and self.organisation_id in (None, role.organisation_id)


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save()
        return user

    def visible_to(self, actor: Actor) -> models.QuerySet[User]:
        """The people who have a role with the actor's operator: those a tenant's form may name."""
        if actor.operator_id is None:
            return self.none()
        inside = {} if actor.operator_wide else {"memberships__organisation__in": actor.organisations}
        return self.filter(memberships__operator_id=actor.operator_id, memberships__ended_at=None, **inside).distinct()


class User(AbstractBaseUser):
    """A person who signs in, by e-mail. What they may do comes from memberships and the host they are on."""

    public_id = models.UUIDField(_("public id"), default=uuid.uuid4, unique=True, editable=False)
    email = models.EmailField(_("e-mail"), unique=True)
    name = models.CharField(_("name"), max_length=120, blank=True)
    language = models.CharField(_("language"), max_length=5, choices=LANGUAGES, blank=True)
    platform_role = models.CharField(_("platform role"), max_length=20, choices=PlatformRole.choices, blank=True)
    is_active = models.BooleanField(_("active"), default=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")
        constraints = [
            models.UniqueConstraint(Lower("email"), name="user_email_once"),
            models.CheckConstraint(
                condition=Q(platform_role__in=["", *PlatformRole.values]), name="user_platform_role_known"
            ),
        ]

    def __str__(self) -> str:
        return self.email

    def get_full_name(self) -> str:
        return self.name or self.email

    def has_perm(self, perm: str, obj: Any = None) -> bool:
        actor = getattr(self, "actor", None)
        return self.is_active and actor is not None and actor.can(perm)

    def has_perms(self, perm_list: list[str], obj: Any = None) -> bool:
        return all(self.has_perm(perm, obj) for perm in perm_list)

    def has_module_perms(self, app_label: str) -> bool:
        actor = getattr(self, "actor", None)
        return actor is not None and any(name.startswith(f"{app_label}.") for name in actor.permissions)


class Membership(PublicIdModel, TenantModel):
    """One role of one user: operator-wide, or inside one organisation."""

    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="memberships", verbose_name=_("user"))
    organisation = models.ForeignKey(
        Organisation,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="memberships",
        verbose_name=_("organisation"),
    )
    role = models.CharField(_("role"), max_length=20, choices=Role.choices)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    ended_at = models.DateTimeField(_("ended at"), null=True, blank=True, editable=False)

    objects = MembershipQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        permissions = [("invite_membership", "Can invite people")]
        constraints = [
            models.UniqueConstraint(
                fields=["user", "organisation", "role"], condition=Q(ended_at=None), name="membership_organisation_once"
            ),
            models.UniqueConstraint(
                fields=["user", "operator", "role"],
                condition=Q(ended_at=None, organisation=None),
                name="membership_operator_once",
            ),
            models.CheckConstraint(
                condition=Q(organisation=None, role__in=sorted(OPERATOR_ROLES))
                | Q(organisation__isnull=False, role__in=sorted(ORGANISATION_ROLES)),
                name="membership_role_fits",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.get_role_display()}"


class Invitation(PublicIdModel, TenantModel):
    """An offer of a role, sent as a link by e-mail. Only the token's hash is kept."""

    email = models.EmailField(_("e-mail"))
    organisation = models.ForeignKey(
        Organisation, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("organisation")
    )
    role = models.CharField(_("role"), max_length=20, choices=Role.choices)
    brand = models.ForeignKey(
        Brand, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("brand")
    )
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    invited_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, related_name="+", editable=False, verbose_name=_("invited by")
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    expires_at = models.DateTimeField(_("valid until"), editable=False)
    accepted_at = models.DateTimeField(_("accepted at"), null=True, editable=False)
    revoked_at = models.DateTimeField(_("revoked at"), null=True, editable=False)

    objects = InvitationQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("invitation")
        verbose_name_plural = _("invitations")

    def __str__(self) -> str:
        return self.email


class ApiKey(PublicIdModel, TenantModel):
    """A machine's way in. The secret is shown once; its SHA-256 is kept (it is 160 random bits, so no slow hash)."""

    name = models.CharField(_("name"), max_length=80)
    prefix = models.CharField(_("prefix"), max_length=12, unique=True, editable=False)
    secret_hash = models.CharField(max_length=64, editable=False)
    scopes = models.JSONField(_("scopes"), default=list)
    organisation = models.ForeignKey(
        Organisation, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("organisation")
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    expires_at = models.DateTimeField(_("valid until"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(_("last used at"), null=True, editable=False)

    objects = ApiKeyQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class AuditEntry(models.Model):
    """Who did what to which row, before, after, why. The only history; written by services, never changed."""

    operator = models.ForeignKey(
        Operator, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("operator")
    )
    at = models.DateTimeField(_("at"), auto_now_add=True)
    user = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("user"))
    actor = models.CharField(_("actor"), max_length=160)
    action = models.CharField(_("action"), max_length=80)
    object_type = models.CharField(_("object type"), max_length=80)
    object_id = models.CharField(_("object id"), max_length=64)
    object_name = models.CharField(_("object"), max_length=200)
    before = models.JSONField(_("before"), default=dict)
    after = models.JSONField(_("after"), default=dict)
    why = models.TextField(_("why"), blank=True)

    objects = TenantQuerySet.as_manager()
    everything = models.Manager()

    class Meta:
        default_manager_name = "everything"
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit trail")
        indexes = [
            models.Index(fields=["object_type", "object_id", "-at"], name="audit_object"),
            models.Index(fields=["operator", "-at"], name="audit_operator"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.object_name}"

    @property
    def words(self) -> str:
        return action_in_words(self.action)

    @property
    def changes(self) -> list[tuple[str, Any, Any]]:
        """Name, value before, value after; None where there was or is none."""
        names = dict.fromkeys([*self.before, *self.after])
        return [(name, self.before.get(name), self.after.get(name)) for name in names]


class Document(PublicIdModel, TenantModel):
    """A stored file that is never changed: its bytes outside the web root under a random name, and their SHA-256."""

    file = models.FileField(_("file"), upload_to=random_document_name)
    name = models.CharField(_("name"), max_length=120)
    content_type = models.CharField(_("content type"), max_length=80)
    size = models.PositiveIntegerField(_("size"))
    sha256 = models.CharField(_("fingerprint"), max_length=64)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    objects = TenantQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("document")
        verbose_name_plural = _("documents")

    def __str__(self) -> str:
        return self.name
