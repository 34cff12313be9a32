"""Who sees which sessions (design, who owns what)."""

from __future__ import annotations

from typing import Self

from django.apps import apps
from django.db.models import Q

from apps.core.actor import Actor
from apps.core.querysets import TenantQuerySet


class SessionQuerySet(TenantQuerySet):
    def shared_with(self, actor: Actor) -> Q:
        organisations = frozenset(actor.organisations) - actor.driver_of
        return (
            Q(host__in=organisations)
            | Q(organisation__in=organisations)
            | Q(holder=actor.user_id, organisation__in=actor.driver_of)
        )

    def running(self) -> Self:
        return self.filter(state="active")


class OfSessionQuerySet(TenantQuerySet):
    """Rows with a `session`, seen by those who see the session."""

    def shared_with(self, actor: Actor) -> Q:
        organisations = frozenset(actor.organisations) - actor.driver_of
        return (
            Q(session__host__in=organisations)
            | Q(session__organisation__in=organisations)
            | Q(session__holder=actor.user_id, session__organisation__in=actor.driver_of)
        )


class ReadingQuerySet(TenantQuerySet):
    """Readings have no foreign keys: those of the sessions that the actor sees."""

    def shared_with(self, actor: Actor) -> Q:
        sessions = apps.get_model("charging", "Session").objects.visible_to(actor)
        return Q(session_id__in=sessions.values("pk"))


class ReviewItemQuerySet(TenantQuerySet):
    """Review is the operator's work alone."""

    def open(self) -> Self:
        return self.filter(state="open")


class CdrQuerySet(TenantQuerySet):
    """A price is seen by the organisation whose card it was, which pays for it (`Token.refusal_of`), and by the driver,
    not by the host of the place."""

    path = ""

    def shared_with(self, actor: Actor) -> Q:
        owners = Q(**{f"{self.path}organisation__in": frozenset(actor.organisations) - actor.driver_of})
        driver = {f"{self.path}holder": actor.user_id, f"{self.path}organisation__in": actor.driver_of}
        return owners | Q(**driver)

    def standing(self) -> Self:
        """CDRs that no credit took back."""
        return self.filter(kind="cdr", credit=None)


class RatedItemQuerySet(CdrQuerySet):
    path = "cdr__"
