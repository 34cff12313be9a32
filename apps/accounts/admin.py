"""Customers, people and settings of an operator; and for platform staff, the operators and users themselves."""

from __future__ import annotations

from itertools import pairwise
from operator import itemgetter
from typing import Any, cast

from allauth.mfa.models import Authenticator
from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from apps.accounts import permissions, selectors, services
from apps.accounts.history import action_in_words, type_in_words
from apps.accounts.models import (
    ApiKey,
    AuditEntry,
    Brand,
    Invitation,
    Membership,
    Operator,
    Organisation,
    Seller,
    SellerRegistration,
    User,
)
from apps.accounts.permissions import Role
from apps.accounts.zones import zone_choices
from apps.core.admin import (
    ActionVariant,
    Changes,
    CheckboxChoices,
    ColumnFilter,
    ModelAdmin,
    PlatformAdmin,
    ReadOnlyAdmin,
    ReasonForm,
    SelectWidget,
    TabularInline,
    display,
    reason_action,
)


@admin.register(Organisation)
class OrganisationAdmin(ModelAdmin):
    list_display = ("name", "language", "created_at")
    search_fields = ("name",)
    ordering = ("name",)
    fields = ("name", "language")
    empty_text = _("Fleets, site hosts, towns: whoever has chargers, cards or drivers with you.")

    def archive_object(self, request: HttpRequest, obj: Organisation, why: str) -> None:
        """Nobody's access ends in passing: each is ended where it was given."""
        uses = selectors.uses_of(obj)
        if uses:
            places = [_place_of(obj, use) for use in uses]
            links = format_html_join(", ", '<a class="underline" href="{}">{}</a>', places)
            text = gettext("It is still in use. End, revoke, move or archive these first: {uses}")
            raise ValidationError(format_html(text, uses=links))
        super().archive_object(request, obj, why)


def _place_of(obj: Organisation, use: selectors.Use) -> tuple[str, selectors.Use]:
    """The list where one finds them, filtered where that list can be."""
    opts = use.model._meta
    link = reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist")
    filters = [one[0] if isinstance(one, tuple) else one for one in admin.site.get_model_admin(use.model).list_filter]
    return (f"{link}?{use.name}__id__exact={obj.pk}" if use.name in filters else link), use


class RegistrationFormSet(forms.BaseInlineFormSet):
    """A seller is registered once in a country at a time; the database refuses more, with less kind words.

    The prefix of its numbers is chosen once.
    """

    def add_fields(self, form: Any, index: int | None) -> None:
        super().add_fields(form, index)
        if form.instance.pk is not None:
            form.fields["number_prefix"].disabled = True

    def clean(self) -> None:
        super().clean()
        by_country: dict[str, list[Any]] = {}
        for form in self.forms:
            if form.is_valid() and form.cleaned_data and form not in self.deleted_forms:
                by_country.setdefault(form.cleaned_data["country"], []).append(form)
        for forms_of_country in by_country.values():
            ordered = sorted(forms_of_country, key=lambda form: form.cleaned_data["valid_from"])
            for earlier, later in pairwise(ordered):
                last = earlier.cleaned_data["valid_to"]
                if last is None or last >= later.cleaned_data["valid_from"]:
                    later.add_error("valid_from", _("Another registration in this country holds then. End that first."))


class RegistrationInline(TabularInline):
    model = SellerRegistration
    formset = RegistrationFormSet
    fields = ("country", "vat_id", "number_prefix", "valid_from", "valid_to")
    ordering = ("country", "valid_from")


@admin.register(Seller)
class SellerAdmin(ModelAdmin):
    list_display = ("legal_name", "city", "country", "organisation", "is_default")
    list_filter = ("country", "is_default")
    list_select_related = ("organisation",)
    search_fields = ("legal_name", "city")
    ordering = ("legal_name",)
    readonly_fields = ("is_default",)
    fields = (
        ("legal_name", "organisation"),
        ("street", "postal_code"),
        ("city", "country"),
        ("tax_number", "email"),
        "is_default",
    )
    autocomplete_fields = ("organisation",)
    inlines = (RegistrationInline,)
    actions_detail = ("make_default",)

    @reason_action(
        description=_("Make this the default seller"),
        permission="change",
        consequence=_("Locations without a seller of their own are sold in this name from now on."),
        applies=lambda seller: not seller.is_default and seller.archived_at is None,
        icon="star",
    )
    def make_default(self, request: HttpRequest, seller: Seller, form: ReasonForm) -> None:
        services.make_default_seller(actor=request.actor, seller=seller, why=form.cleaned_data["why"])

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        try:
            super().save_formset(request, form, formset, change)
        except IntegrityError as refusal:  # the database's own look at them, which sees what others save at once
            text = _("These registrations would overlap, or somebody changed them meanwhile. Look at them again.")
            raise ValidationError(text) from refusal

    def archive_object(self, request: HttpRequest, obj: Seller, why: str) -> None:
        if obj.is_default:
            raise ValidationError(_("This is the default seller. Make another one the default first."))
        super().archive_object(request, obj, why)


@admin.register(Brand)
class BrandAdmin(ModelAdmin):
    audited_by_service = True
    list_display = ("name", "host", "organisation")
    list_filter = ("organisation",)
    list_select_related = ("organisation",)
    search_fields = ("name", "host")
    ordering = ("name",)
    autocomplete_fields = ("organisation",)
    fieldsets = (
        (None, {"fields": ("name", "host", "organisation")}),
        (_("Looks"), {"fields": (("accent_light", "accent_dark"), ("logo_light", "logo_dark"))}),
        (_("E-mail"), {"fields": (("email_name", "email_from"),)}),
    )

    def save_model(self, request: HttpRequest, obj: Brand, form: Any, change: bool) -> None:
        services.save_brand(brand=obj, actor=request.actor)


# --- people -----------------------------------------------------------------------------------------------------------
class RoleForm(ReasonForm):
    """Another role for the same person."""

    role = forms.ChoiceField(label=_("Role"), widget=SelectWidget)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        roles = selectors.grantable_roles(self.request.actor, organisation_id=self.obj.organisation_id)
        cast("forms.ChoiceField", self.fields["role"]).choices = [(role.value, role.label) for role in roles]


@admin.register(Membership)
class MembershipAdmin(ReadOnlyAdmin):
    list_display = ("user", "name", "role", "organisation", "created_at", "ended_at")
    list_display_links = ("user",)
    list_filter = ("role", "organisation")
    list_select_related = ("user", "organisation")
    search_fields = ("user__email", "user__name", "organisation__name")
    ordering = ("user__email", "pk")
    fields = ("user", "name", "role", "organisation", "created_at", "ended_at")
    actions_detail = ("give_role", "end")

    @display(description=_("name"))
    def name(self, membership: Membership) -> str:
        return membership.user.name

    @reason_action(
        description=_("Give another role"),
        permission="accounts.change_membership",
        consequence=_("The person gets this role beside those they have, at once."),
        applies=lambda membership: membership.ended_at is None,
        form_class=RoleForm,
        icon="badge",
    )
    def give_role(self, request: HttpRequest, membership: Membership, form: RoleForm) -> None:
        services.grant_role(
            actor=request.actor,
            user=membership.user,
            operator=membership.operator,
            role=form.cleaned_data["role"],
            organisation=membership.organisation,
            why=form.cleaned_data["why"],
        )
        self.message_user(request, gettext("The role was given."), messages.SUCCESS)

    @reason_action(
        description=_("End membership"),
        permission="accounts.change_membership",
        consequence=_("The person loses this role at once. Their history stays."),
        applies=lambda membership: membership.ended_at is None,
        icon="person_remove",
        variant=ActionVariant.DANGER,
    )
    def end(self, request: HttpRequest, membership: Membership, form: ReasonForm) -> None:
        services.end_membership(actor=request.actor, membership=membership, why=form.cleaned_data["why"])
        self.message_user(request, gettext("The membership has ended."), messages.SUCCESS)


@admin.register(Invitation)
class InvitationAdmin(ModelAdmin):
    audited_by_service = True
    list_display = ("email", "role", "organisation", "state", "created_at", "expires_at")
    list_filter = ("role", "organisation")
    list_select_related = ("organisation",)
    search_fields = ("email",)
    ordering = ("-created_at",)
    date_hierarchy = "created_at"
    readonly_fields = ("state", "invited_by", "created_at", "expires_at", "accepted_at", "revoked_at")
    fields = ("email", "role", "organisation", "brand")
    autocomplete_fields = ("organisation",)
    actions_detail = ("resend", "revoke")
    empty_text = _("Invite colleagues, or the people of an organisation, by e-mail.")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return (*self.fields, *self.readonly_fields) if obj else self.fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.invite_membership")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def formfield_for_choice_field(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "role":
            wide = selectors.grantable_roles(request.actor)
            inside = [role for role in Role if role in permissions.ORGANISATION_ROLES]
            kwargs["choices"] = [(role.value, role.label) for role in [*wide, *inside]]
        return super().formfield_for_choice_field(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: Invitation, form: Any, change: bool) -> None:
        made = services.invite_person(
            actor=request.actor,
            operator=obj.operator,
            email=obj.email,
            role=obj.role,
            organisation=obj.organisation,
            brand=obj.brand,
        )
        obj.pk = made.pk

    @display(description=_("state"))
    def state(self, invitation: Invitation) -> str:
        if invitation.accepted_at:
            return gettext("accepted")
        if invitation.revoked_at:
            return gettext("revoked")
        return gettext("waiting for an answer") if selectors.is_open(invitation) else gettext("expired")

    @reason_action(
        description=_("Send again"),
        permission="accounts.invite_membership",
        consequence=_("A new link is sent, valid for a week. The old link stops working."),
        applies=selectors.is_open,
        icon="forward_to_inbox",
    )
    def resend(self, request: HttpRequest, invitation: Invitation, form: ReasonForm) -> None:
        services.resend_invitation(actor=request.actor, invitation=invitation, why=form.cleaned_data["why"])
        self.message_user(request, gettext("The invitation was sent again."), messages.SUCCESS)

    @reason_action(
        description=_("Revoke"),
        permission="accounts.invite_membership",
        consequence=_("The link stops working at once."),
        applies=selectors.is_open,
        icon="cancel",
        variant=ActionVariant.DANGER,
    )
    def revoke(self, request: HttpRequest, invitation: Invitation, form: ReasonForm) -> None:
        services.revoke_invitation(actor=request.actor, invitation=invitation, why=form.cleaned_data["why"])
        self.message_user(request, gettext("The invitation was revoked."), messages.SUCCESS)


# --- machines ---------------------------------------------------------------------------------------------------------
class ApiKeyForm(forms.ModelForm):
    scopes = forms.MultipleChoiceField(
        label=_("Rights"), widget=CheckboxChoices, help_text=_("Only rights that you hold yourself.")
    )

    class Meta:
        model = ApiKey
        fields = ("name", "organisation", "scopes", "expires_at")


@admin.register(ApiKey)
class ApiKeyAdmin(ModelAdmin):
    audited_by_service = True
    form = ApiKeyForm
    list_display = ("name", "prefix", "organisation", "created_at", "expires_at", "revoked_at", "last_used_at")
    list_filter = ("organisation",)
    list_select_related = ("organisation",)
    search_fields = ("name", "prefix")
    ordering = ("name", "pk")
    fields = ("name", "organisation", "scopes", "expires_at")
    readonly_fields = ("prefix", "created_at", "revoked_at", "last_used_at")
    autocomplete_fields = ("organisation",)
    actions_detail = ("rotate", "revoke")
    empty_text = _("A key lets a program of yours or a customer's read and act through the API.")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return (*self.fields, *self.readonly_fields) if obj else self.fields

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        if "scopes" in form.base_fields:
            held = selectors.held_permissions(request.actor)
            form.base_fields["scopes"].choices = [
                (name, text) for name, text in permissions.API_SCOPES.items() if name in held
            ]
        return form

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        key, secret = services.create_api_key(
            actor=request.actor,
            operator=obj.operator,
            name=obj.name,
            scopes=form.cleaned_data["scopes"],
            organisation=obj.organisation,
            expires_at=obj.expires_at,
        )
        obj.pk = key.pk
        request.secret = secret

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        return self.shown_once(request, obj, [(_("API key"), request.secret)])

    @reason_action(
        description=_("Rotate"),
        permission="accounts.change_apikey",
        consequence=_("A new secret with the same rights is made. The old one stops working at once."),
        applies=lambda key: key.revoked_at is None,
        icon="sync",
    )
    def rotate(self, request: HttpRequest, key: ApiKey, form: ReasonForm) -> HttpResponse:
        fresh, secret = services.rotate_api_key(actor=request.actor, key=key, why=form.cleaned_data["why"])
        return self.shown_once(request, fresh, [(_("API key"), secret)])

    @reason_action(
        description=_("Revoke"),
        permission="accounts.change_apikey",
        consequence=_("The key stops working at once and for good."),
        applies=lambda key: key.revoked_at is None,
        icon="key_off",
        variant=ActionVariant.DANGER,
    )
    def revoke(self, request: HttpRequest, key: ApiKey, form: ReasonForm) -> None:
        services.revoke_api_key(actor=request.actor, key=key, why=form.cleaned_data["why"])
        self.message_user(request, gettext("The key was revoked."), messages.SUCCESS)


class TrailFilter(ColumnFilter):
    """What is found in a column of the trail that one may see, in words."""

    in_words = staticmethod(action_in_words)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        found = model_admin.get_queryset(request).order_by().values_list(self.column, flat=True).distinct()
        return sorted(((value, self.in_words(value)) for value in found), key=itemgetter(1))


class ThingFilter(TrailFilter):
    title, parameter_name, column = _("thing"), "thing", "object_type"
    in_words = staticmethod(type_in_words)


class ActionFilter(TrailFilter):
    title, parameter_name, column = _("what"), "what", "action"


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("at", "actor", "what", "object_name", "why")
    list_filter = (ThingFilter, ActionFilter)
    search_fields = ("actor", "action", "object_name", "why")
    ordering = ("-at", "-pk")
    date_hierarchy = "at"
    fields = ("at", "actor", "what", "object_type", "object_id", "object_name", "before", "after", "why")
    readonly_fields = ("what",)

    @display(description=_("what"), ordering="action")
    def what(self, entry: AuditEntry) -> str:
        return format_html("{}<br><small>{}</small>", entry.words, entry.action)


# --- platform ---------------------------------------------------------------------------------------------------------
class OperatorForm(forms.ModelForm):
    time_zone = forms.ChoiceField(label=_("time zone"), choices=zone_choices, widget=SelectWidget)

    class Meta:
        model = Operator
        fields = ("name", "slug", "language", "time_zone", "support_email", "support_phone")


@admin.register(Operator)
class OperatorAdmin(PlatformAdmin):
    form = OperatorForm
    list_display = ("name", "slug", "language", "time_zone", "created_at")
    search_fields = ("name", "slug")
    ordering = ("name",)
    fields = ("name", "slug", "language", "time_zone", "support_email", "support_phone")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """`manage.py create_operator` makes one, with all that belongs to it."""
        return False


@admin.register(User)
class UserAdmin(PlatformAdmin):
    list_display = ("email", "name", "platform_role", "is_active", "created_at")
    list_filter = ("platform_role", "is_active")
    search_fields = ("email", "name")
    ordering = ("email",)
    fields = ("email", "name", "language", "platform_role", "is_active", "created_at")
    readonly_fields = ("email", "created_at")
    actions_detail = ("remove_second_factor",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """People come by invitation."""
        return False

    @reason_action(
        description=_("Remove the second factor"),
        permission="accounts.change_user",
        consequence=_("The person signs in with the password alone until they set up a new one. Be sure who asks."),
        icon="phonelink_erase",
        variant=ActionVariant.DANGER,
    )
    def remove_second_factor(self, request: HttpRequest, user: User, form: ReasonForm) -> None:
        Authenticator.objects.filter(user=user).delete()
        self.record(request, user, "second_factor_removed", Changes(), form.cleaned_data["why"])
        self.message_user(request, gettext("The second factor was removed."), messages.SUCCESS)
