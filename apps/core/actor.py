"""Who acts. Built once a request from host and membership, passed to every read and every change."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import Model

NOTHING: frozenset[str] = frozenset()


class Kind(enum.StrEnum):
    """How the actor proved who it is."""

    ANONYMOUS = "anonymous"
    SESSION = "session"
    API_KEY = "api_key"
    JOB_LINK = "job_link"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Actor:
    """One tenant's view of the world.

    `permissions` hold for the whole operator (back office, API key, system). `organisations` maps an
    organisation's id to the permissions held inside it: an actor without operator-wide permissions sees
    what belongs to those organisations. `driver_of` are the organisations where the user is a driver only: there
    it sees what hangs on its own cards.
    """

    kind: Kind
    operator_id: int | None = None
    user: AbstractBaseUser | None = None
    permissions: frozenset[str] = NOTHING
    organisations: Mapping[int, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    driver_of: frozenset[int] = frozenset()
    operator_wide: bool = False
    platform: bool = False
    label: str = "anonymous"

    @classmethod
    def system(cls, operator: Model | int, *, why: str = "system") -> Actor:
        """The actor of background work for one operator: it may do everything inside that operator."""
        operator_id = operator if isinstance(operator, int) else operator.pk
        return cls(kind=Kind.SYSTEM, operator_id=operator_id, operator_wide=True, label=why)

    @property
    def user_id(self) -> int | None:
        return self.user.pk if self.user is not None else None

    @property
    def is_anonymous(self) -> bool:
        return self.kind is Kind.ANONYMOUS

    @property
    def all_permissions(self) -> frozenset[str]:
        """Everything held anywhere on this host: enough to show a page, not to act on a row."""
        return self.permissions.union(*self.organisations.values())

    def can(self, permission: str, *, organisation_id: int | None = None) -> bool:
        """Whether the actor holds `app.action_model`, operator-wide or inside the organisation given."""
        if self.kind is Kind.SYSTEM or permission in self.permissions:
            return True
        if organisation_id is None:
            return False
        return permission in self.organisations.get(organisation_id, NOTHING)


ANONYMOUS = Actor(kind=Kind.ANONYMOUS)
