"""Who has which role in the visitor's organisation, and who was invited."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db.models import QuerySet, Value
from django.db.models.fields import CharField
from django.db.models.functions import Coalesce, NullIf

from apps.accounts.models import Invitation, Membership
from apps.accounts.selectors import grantable_roles, managed_organisations
from apps.core.actor import Actor


@dataclass(frozen=True, slots=True)
class PersonRow:
    """One role of somebody in an organisation; `may_end` tells whether the actor may take it back.
    `zone` is the operator's."""

    public_id: UUID
    name: str
    email: str
    role: str
    organisation: str
    zone: str
    since: dt.datetime
    is_you: bool
    may_end: bool


@dataclass(frozen=True, slots=True)
class InvitationRow:
    """An offer of a role that can still be taken."""

    public_id: UUID
    email: str
    role: str
    organisation: str
    zone: str
    sent_at: dt.datetime
    expires_at: dt.datetime


def visible_people(actor: Actor) -> QuerySet[Membership]:
    """Who has which role in the organisations whose people the actor looks after, by name."""
    rows: QuerySet[Membership] = (
        Membership.objects.visible_to(actor)
        .current()
        .filter(organisation__in=managed_organisations(actor).values("pk"))
        .select_related("user", "organisation", "operator")
        .annotate(shown_name=Coalesce(NullIf("user__name", Value("")), "user__email", output_field=CharField()))
        .order_by("shown_name", "user__email", "pk")
    )
    return rows


def person_rows(actor: Actor, memberships: Iterable[Membership]) -> list[PersonRow]:
    """Typed rows of a page of `visible_people`, without a query of their own."""
    return [
        PersonRow(
            public_id=one.public_id,
            name=one.user.get_full_name(),
            email=one.user.email,
            role=one.get_role_display(),
            organisation=str(one.organisation),
            zone=one.operator.time_zone,
            since=one.created_at,
            is_you=one.user_id == actor.user_id,
            may_end=one.role in grantable_roles(actor, organisation_id=one.organisation_id),
        )
        for one in memberships
    ]


def open_invitations(actor: Actor, *, now: dt.datetime) -> QuerySet[Invitation]:
    """Offers into those organisations that can still be taken, the newest first."""
    rows: QuerySet[Invitation] = (
        Invitation.objects.visible_to(actor)
        .open(now)
        .filter(organisation__in=managed_organisations(actor).values("pk"))
        .select_related("organisation", "operator", "brand")
        .order_by("-created_at", "-pk")
    )
    return rows


def invitation_rows(invitations: Iterable[Invitation]) -> list[InvitationRow]:
    """Typed rows of a page of `open_invitations`, without a query of their own."""
    return [
        InvitationRow(
            public_id=one.public_id,
            email=one.email,
            role=one.get_role_display(),
            organisation=str(one.organisation),
            zone=one.operator.time_zone,
            sent_at=one.created_at,
            expires_at=one.expires_at,
        )
        for one in invitations
    ]
