"""Who sees which tariffs: the operator's people. A customer sees the terms of its own contract through `contracts`."""

from __future__ import annotations

import datetime as dt
from typing import Self

from apps.core.querysets import TenantQuerySet


class TariffQuerySet(TenantQuerySet):
    def active(self) -> Self:
        return self.filter(archived_at=None)


class TariffVersionQuerySet(TenantQuerySet):
    def published(self) -> Self:
        return self.exclude(published_at=None)

    def in_force(self, day: dt.date) -> Self:
        """Published ones that hold on this local date, the one that counts first."""
        return self.published().filter(valid_from__lte=day).order_by("-valid_from", "-number")


class VatRateQuerySet(TenantQuerySet):
    def in_force(self, *, country: str, day: dt.date) -> Self:
        """Rates of a country on a local date, the one that counts first for each class."""
        return self.filter(country=country, valid_from__lte=day).order_by("vat_class", "-valid_from")
