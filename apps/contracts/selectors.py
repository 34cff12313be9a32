"""Reads across contracts: their terms, and how they came about."""

from __future__ import annotations

import re

from apps.contracts.models import BillingAccount, Contract, ContractVersion
from apps.core.actor import Actor
from apps.tariffs.selectors import Span, spans_of


def history_of_terms(actor: Actor, contract: Contract) -> list[Span]:
    """All versions of a contract with the period in which each holds, the latest first."""
    versions = ContractVersion.objects.visible_to(actor).filter(contract=contract)
    return spans_of(list(versions.select_related("tariff", "created_by")), until=contract.ends_on)


def next_number(actor: Actor, model: type[BillingAccount] | type[Contract]) -> str:
    """A number after the last one that was given, of the same form: V00012 → V00013. Only an offer."""
    last = model.objects.visible_to(actor).order_by("-pk").values_list("number", flat=True).first()
    found = re.fullmatch(r"(.*?)(\d+)", last or "")
    if found is None:
        return ""
    return f"{found[1]}{int(found[2]) + 1:0{len(found[2])}}"
