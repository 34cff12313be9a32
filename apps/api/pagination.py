"""Cursor pagination: stable while rows are added, and as fast on page 1,000 as on page 1."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
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


class OldestReading(Newest):
    """The readings of one session, as they were taken."""

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: Any) -> tuple[str, ...]:
        return ("at", "digest")


class InOrder(Newest):
    """The lines of one invoice."""

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: Any) -> tuple[str, ...]:
        return ("position",)
