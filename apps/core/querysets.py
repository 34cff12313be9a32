"""Tenancy: a read that nobody scoped raises, it never leaks (design, rules that hold everywhere)."""

from __future__ import annotations

from typing import Any, Self

from django.db import models
from django.db.models import Q

from apps.core.actor import Actor


class UnscopedRead(RuntimeError):
    """A tenant's table was read without `visible_to(actor)` or `unscoped("reason")`."""


class TenantQuerySet(models.QuerySet[Any]):
    """Rows of one tenant. Every evaluation needs a scope: an actor, or a written reason."""

    _scope: str | None = None

    def visible_to(self, actor: Actor) -> Self:
        """What this actor may see: nothing without an operator, all of it operator-wide, else what is shared."""
        scoped = self._scoped(actor.label or actor.kind)
        if actor.operator_id is None:
            return scoped.none()
        rows = scoped.filter(operator_id=actor.operator_id)
        return rows if actor.operator_wide else rows.filter(self.shared_with(actor))

    def shared_with(self, actor: Actor) -> Q:
        """What an actor without operator-wide sight sees. Nothing, unless the subclass says otherwise."""
        return Q(pk__in=())

    def in_use(self) -> Self:
        """Rows that count for somebody now, so that what they hang on may not go: those that are not archived, unless
        the subclass says otherwise. Rows that tell what was are none."""
        return self.filter(archived_at=None) if hasattr(self.model, "archived_at") else self.none()

    def unscoped(self, reason: str) -> Self:
        """Rows of all tenants, for work that serves no single actor. The reason is for the reader of the code."""
        if not reason:
            raise ValueError("unscoped() needs a reason")
        return self._scoped(reason)

    def _scoped(self, scope: str) -> Self:
        clone: Self = self.all()
        clone._scope = scope
        return clone

    def _clone(self) -> Self:
        clone: Self = super()._clone()  # type: ignore[misc]
        clone._scope = self._scope
        return clone

    def _require_scope(self) -> None:
        if self._scope is None:
            raise UnscopedRead(f"{self.model.__name__}: use visible_to(actor) or unscoped('reason')")

    def _fetch_all(self) -> None:
        self._require_scope()
        super()._fetch_all()

    def iterator(self, *args: Any, **kwargs: Any) -> Any:
        self._require_scope()
        return super().iterator(*args, **kwargs)

    def aiterator(self, *args: Any, **kwargs: Any) -> Any:
        self._require_scope()
        return super().aiterator(*args, **kwargs)

    def count(self) -> int:
        self._require_scope()
        return super().count()

    def exists(self) -> bool:
        self._require_scope()
        return super().exists()

    def aggregate(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        self._require_scope()
        return super().aggregate(*args, **kwargs)

    def update(self, **kwargs: Any) -> int:
        self._require_scope()
        return super().update(**kwargs)

    def delete(self) -> tuple[int, dict[str, int]]:
        self._require_scope()
        return super().delete()

    def resolve_expression(self, *args: Any, **kwargs: Any) -> Any:
        self._require_scope()
        return super().resolve_expression(*args, **kwargs)
