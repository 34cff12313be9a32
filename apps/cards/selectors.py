"""From a token to its price: which contract, which tariff, which VAT. One function, one explained answer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import groupby
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.utils.translation import gettext_lazy as _

from apps.cards.models import Token, TokenContract
from apps.contracts.models import Contract, ContractVersion
from apps.core.actor import Actor
from apps.installations.models import Location
from apps.tariffs.models import TariffVersion, VatRate


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the explanation: what was asked (`code`, and a country or date in `of`), and what was found."""

    code: str
    found: str
    of: str = ""
    ok: bool = True

    @property
    def asked(self) -> str:
        """The question in the reader's language."""
        return str(_ASKED[self.code])


_ASKED = {
    "card": _("Card"),
    "contract": _("Contract of the card"),
    "tariff": _("Tariff of the contract"),
    "vat": _("VAT"),
}


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

    def found(self, code: str, what: str, of: str, **known: Any) -> PricePath:
        """One step further."""
        return replace(self, steps=(*self.steps, Step(code, what, of)), **known)

    def lacking(self, missing: str, code: str, of: str, what: str = "") -> PricePath:
        """It ends here."""
        return replace(self, missing=missing, steps=(*self.steps, Step(code, what, of, ok=False)))


class Where(NamedTuple):
    """What of a place decides on a price: its country, and the zone of its dates."""

    country: str
    time_zone: str


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

    def path(self, token: Token | None, where: Where, started_at: dt.datetime, ended_at: dt.datetime) -> PricePath:
        """Contract and tariff as they were at the start, by its local date; VAT by the local date of the end."""
        zone = ZoneInfo(where.time_zone)
        start, end = started_at.astimezone(zone).date(), ended_at.astimezone(zone).date()
        if token is None:
            return PricePath("no_card", (Step("card", "", ok=False),))
        path = PricePath("", (Step("card", str(token)),))
        contract = self._contract(token, start)
        version = _in_force(self._versions.get(contract.pk, []), start, started_at) if contract is not None else None
        if version is None:
            return path.lacking("no_contract", "contract", start.isoformat())
        path = path.found("contract", str(contract), start.isoformat(), contract=contract, contract_version=version)
        tariff = _in_force(self._tariffs.get(version.tariff_id, []), start, started_at)
        if tariff is None:
            return path.lacking("no_tariff", "tariff", start.isoformat(), str(version.tariff))
        path = path.found("tariff", f"{tariff.tariff} #{tariff.number}", start.isoformat(), tariff_version=tariff)
        rates, asked = self._vat_rates(where.country, end), f"{where.country} {end.isoformat()}"
        if not rates:
            return path.lacking("no_vat", "vat", asked)
        percents = ", ".join(f"{percent.normalize():f} %" for percent in rates.values())
        return path.found("vat", percents, asked, country=where.country, supplied_on=end, vat_rates=rates)

    def _contract(self, token: Token, day: dt.date) -> Contract | None:
        for row in self._bindings.get(token.pk, []):
            contract: Contract = row.contract
            if row.covers(day) and contract.covers(day):
                return contract
        return None

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
    return book.path(token, Where(place.country, place.time_zone), started_at, ended_at)


def _in_force[Version: (ContractVersion, TariffVersion)](
    versions: list[Version], day: dt.date, started_at: dt.datetime
) -> Version | None:
    """Of versions in order of precedence the first that holds on this day and was there when the session began: a
    version that is written at noon prices nothing that began in the morning. Where none was there yet, the first of the
    oldest date."""
    holding = [one for one in versions if one.valid_from is not None and one.valid_from <= day]
    known = [one for one in holding if _made_at(one) <= started_at]
    return next(iter(known or [one for one in holding if one.valid_from == holding[-1].valid_from]), None)


def _made_at(version: ContractVersion | TariffVersion) -> dt.datetime:
    made = version.published_at if isinstance(version, TariffVersion) else version.created_at
    assert made is not None, "only published versions are read"
    return made
