"""Cursor pagination: stable while rows are added, and as fast on page 1,000 as on page 1."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request


class Newest(CursorPagination):
    """Newest first; a view sets `ordering` to an indexed, unique-enough pair."""

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 500
    ordering = ("-id",)

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: Any) -> tuple[str, ...]:
        ordering: tuple[str, ...] = getattr(view, "ordering", self.ordering)
        return ordering

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any] | None:
        """A cursor that names no value of its column is as unknown as one that cannot be read."""
        self.cursor = None
        try:
            page: list[Any] | None = super().paginate_queryset(queryset, request, view)
        except (ValueError, OverflowError, ValidationError) as error:
            if self.cursor is None:
                raise
            raise NotFound(self.invalid_cursor_message) from error
        return page


class OldestReading(Newest):
    """The readings of one session, as they were taken."""

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: Any) -> tuple[str, ...]:
        return ("at", "digest")


class InOrder(Newest):
    """The lines of one invoice."""

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: Any) -> tuple[str, ...]:
        return ("position",)
