"""From a token to its price: which contract, which tariff, which VAT. One function, one explained answer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby
from zoneinfo import ZoneInfo

from django.utils.formats import date_format
from django.utils.translation import gettext as _

from apps.cards.models import Token, TokenContract
from apps.contracts.models import Contract, ContractVersion
from apps.core.actor import Actor
from apps.installations.models import Location
from apps.tariffs.models import TariffVersion, VatRate


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the explanation: what was asked, and what was found."""

    asked: str
    found: str
    ok: bool = True


@dataclass(frozen=True, slots=True)
class PricePath:
    """How a session on a token is priced, or why it cannot be.

    `missing` is empty, or no_card, no_contract, no_tariff or no_vat: the first thing that lacks. What was found up to
    there is filled in. `vat_rates` are percent by VAT class, of `country` on `supplied_on`.
    """

    missing: str
    steps: tuple[Step, ...]
    contract: Contract | None = None
    contract_version: ContractVersion | None = None
    tariff_version: TariffVersion | None = None
    country: str = ""
    supplied_on: dt.date | None = None
    vat_rates: Mapping[str, Decimal] = field(default_factory=dict)


class PriceBook:
    """All that prices sessions of some tokens of one operator: four queries, whatever their number."""

    def __init__(self, actor: Actor, tokens: Collection[int], countries: Iterable[str]) -> None:
        bindings = (
            TokenContract.objects.visible_to(actor)
            .filter(token__in=tokens)
            .select_related("contract__account__party")
            .order_by("token_id", "valid_from")
        )
        self._bindings = {pk: list(rows) for pk, rows in groupby(bindings, lambda row: row.token_id)}
        contracts = {row.contract_id for rows in self._bindings.values() for row in rows}
        versions = (
            ContractVersion.objects.visible_to(actor)
            .filter(contract__in=contracts)
            .select_related("tariff")
            .order_by("contract_id", "-valid_from", "-number")
        )
        self._versions = {pk: list(rows) for pk, rows in groupby(versions, lambda row: row.contract_id)}
        tariffs = {row.tariff_id for rows in self._versions.values() for row in rows}
        published = (
            TariffVersion.objects.visible_to(actor)
            .published()
            .filter(tariff__in=tariffs)
            .select_related("tariff")
            .order_by("tariff_id", "-valid_from", "-number")
        )
        self._tariffs = {pk: list(rows) for pk, rows in groupby(published, lambda row: row.tariff_id)}
        rates = VatRate.objects.visible_to(actor).filter(country__in=set(countries))
        self._rates = list(rates.order_by("country", "vat_class", "-valid_from"))

    def path(self, token: Token | None, place: Location, started_at: dt.datetime, ended_at: dt.datetime) -> PricePath:
        """Contract and tariff are those of the local date of the start, VAT that of the local date of the end."""
        steps: list[Step] = []
        zone = ZoneInfo(place.time_zone)
        start, end = started_at.astimezone(zone).date(), ended_at.astimezone(zone).date()
        if token is None:
            return _lacking("no_card", steps, _("Card"), _("The card is not known."))
        steps.append(Step(_("Card"), str(token)))
        contract = self._contract(token, start)
        asked = _("Contract of the card on %(day)s") % {"day": date_format(start)}
        version = self._version(contract, start) if contract is not None else None
        if contract is None or version is None:
            return _lacking("no_contract", steps, asked, _("None."))
        steps.append(Step(asked, str(contract)))
        tariff = _in_force(self._tariffs.get(version.tariff_id, []), start)
        asked = _("Tariff of the contract on %(day)s") % {"day": date_format(start)}
        if tariff is None:
            found = _("%(tariff)s, which has no prices for this day.") % {"tariff": version.tariff}
            return _lacking("no_tariff", steps, asked, found, contract=contract, contract_version=version)
        steps.append(Step(asked, str(tariff)))
        rates = self._vat_rates(place.country, end)
        asked = _("VAT in %(country)s on %(day)s") % {"country": place.country, "day": date_format(end)}
        known = {"contract": contract, "contract_version": version, "tariff_version": tariff}
        if not rates:
            return _lacking("no_vat", steps, asked, _("There is no rate."), **known)
        steps.append(Step(asked, ", ".join(f"{percent.normalize():f} %" for percent in rates.values())))
        return PricePath("", tuple(steps), **known, country=place.country, supplied_on=end, vat_rates=rates)

    def _contract(self, token: Token, day: dt.date) -> Contract | None:
        for row in self._bindings.get(token.pk, []):
            contract: Contract = row.contract
            if _covers(row.valid_from, row.valid_to, day) and _covers(contract.starts_on, contract.ends_on, day):
                return contract
        return None

    def _version(self, contract: Contract, day: dt.date) -> ContractVersion | None:
        return _in_force(self._versions.get(contract.pk, []), day)

    def _vat_rates(self, country: str, day: dt.date) -> dict[str, Decimal]:
        found: dict[str, Decimal] = {}
        for rate in self._rates:
            if rate.country == country and rate.valid_from <= day:
                found.setdefault(rate.vat_class, rate.percent)
        return found


def price_path(
    actor: Actor, token: Token | None, place: Location, started_at: dt.datetime, ended_at: dt.datetime
) -> PricePath:
    """The one answer to "what does this card pay here?", for a session of one token."""
    book = PriceBook(actor, [token.pk] if token is not None else [], [place.country])
    return book.path(token, place, started_at, ended_at)


def _lacking(missing: str, steps: list[Step], asked: str, found: str, **known: object) -> PricePath:
    return PricePath(missing, (*steps, Step(asked, found, ok=False)), **known)  # type: ignore[arg-type]


def _in_force[Version: (ContractVersion, TariffVersion)](versions: list[Version], day: dt.date) -> Version | None:
    """Of versions in order of precedence the first that holds on this day."""
    return next((one for one in versions if one.valid_from is not None and one.valid_from <= day), None)


def _covers(first: dt.date, last: dt.date | None, day: dt.date) -> bool:
    return first <= day and (last is None or day <= last)
