"""Reads across tariffs: which version holds, which VAT rates, what an example would cost."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from apps.core.actor import Actor
from apps.tariffs.models import Tariff, TariffVersion, VatRate
from apps.tariffs.rating import Rating, Terms, Usage, rate


@dataclass(frozen=True, slots=True)
class Span:
    """A version that holds from its date to a last day (None: no end), of a tariff or of what else has such versions.
    `holds` is false where another of the same date replaced it: the higher number counts."""

    version: Any
    until: dt.date | None
    holds: bool

    def state(self, today: dt.date) -> str:
        """replaced, past, present or future."""
        if not self.holds:
            return "replaced"
        if self.version.valid_from is not None and self.version.valid_from > today:
            return "future"
        return "past" if self.until is not None and self.until < today else "present"


def spans_of(versions: Iterable[Any], *, until: dt.date | None = None) -> list[Span]:
    """Versions with a date and the period in which each holds, the latest first. The last one holds `until`."""
    spans: list[Span] = []
    dated = [(one.valid_from, one.number, one) for one in versions if one.valid_from is not None]
    later: dt.date | None = None
    for first, _number, version in sorted(dated, key=lambda one: one[:2], reverse=True):
        spans.append(Span(version, until, first != later and (until is None or first <= until)))
        if first != later:
            later, before = first, first - dt.timedelta(days=1)
            until = before if until is None else min(before, until)
    return spans


def version_in_force(actor: Actor, tariff: Tariff, day: dt.date) -> TariffVersion | None:
    """The version of a tariff that holds on a local date; None before its first one."""
    found: TariffVersion | None = (
        TariffVersion.objects.visible_to(actor).filter(tariff=tariff).in_force(day).select_related("tariff").first()
    )
    return found


def versions_of(actor: Actor, tariff: Tariff) -> list[Span]:
    """All versions of a tariff with the period in which each holds, the latest first, a draft before them."""
    versions = list(
        TariffVersion.objects.visible_to(actor).filter(tariff=tariff).select_related("tariff", "published_by")
    )
    drafts = [Span(one, None, holds=False) for one in versions if one.is_draft]
    return [*drafts, *spans_of(one for one in versions if not one.is_draft)]


def draft_of(actor: Actor, tariff: Tariff) -> TariffVersion | None:
    """The version that is being written."""
    found: TariffVersion | None = (
        TariffVersion.objects.visible_to(actor)
        .filter(tariff=tariff, published_at=None)
        .select_related("tariff")
        .first()
    )
    return found


def contract_versions_on(tariff: Tariff | OuterRef, *, today: dt.date, or_later: bool = False) -> QuerySet[Any]:
    """The versions of contracts by which a tariff holds on a local date, or also those by which it will.

    `contracts` stands above this app: its rows are reached through their relation to a tariff that the actor sees.
    """
    terms: Any = Tariff._meta.get_field("contract_versions").related_model
    versions = terms.objects.unscoped("of tariffs that are scoped")
    replacing = versions.filter(contract=OuterRef("contract")).filter(
        Q(valid_from=OuterRef("valid_from"), number__gt=OuterRef("number"))
        | Q(valid_from__gt=OuterRef("valid_from"), valid_from__lte=today)
    )
    goes_on = Q(contract__ends_on=None) | Q(contract__ends_on__gte=today)
    rows: QuerySet[Any] = versions.filter(goes_on, ~Exists(replacing), tariff=tariff)
    return rows if or_later else rows.filter(valid_from__lte=today)


def vat_rates(actor: Actor, *, country: str, day: dt.date) -> dict[str, Decimal]:
    """Percent by VAT class, for a country on a local date. A class without a rate is not in it: that is no 0 %."""
    rates: dict[str, Decimal] = {}
    for rate_ in VatRate.objects.visible_to(actor).in_force(country=country, day=day):
        rates.setdefault(rate_.vat_class, rate_.percent)
    return rates


def price_example(
    terms: Terms,
    *,
    start: dt.datetime,
    zone: str,
    energy_wh: int,
    charging_s: int,
    parked_s: int,
    vat: Mapping[str, Decimal],
) -> Rating:
    """What a session would cost that charges evenly from `start` and then stands there. Raises RatingError."""
    full = start + dt.timedelta(seconds=charging_s)
    usage = Usage(
        started_at=start,
        ended_at=full + dt.timedelta(seconds=parked_s),
        meter_start=0,
        meter_stop=energy_wh,
        zone=zone,
        readings=[(full, energy_wh)],
        statuses=[(start, "Charging"), (full, "SuspendedEV")] if parked_s else [],
    )
    return rate(usage, terms, vat)
