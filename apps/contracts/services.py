"""Changes to parties, billing accounts and contracts. What was agreed is final: a change is a version from a date."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Max
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apps.accounts.services import record_audit
from apps.contracts.models import BillingAccount, Contract, ContractVersion, Party
from apps.core.actor import Actor, Kind
from apps.core.guards import require_reason
from apps.tariffs.models import Tariff


def create_party(*, actor: Actor, name: str, **fields: Any) -> Party:
    """A legal entity or a person that buys; `fields` are further columns. Raises ValidationError, PermissionDenied."""
    party = Party(operator_id=_operator_of(actor, "contracts.add_party"), name=name, **fields)
    with transaction.atomic():
        party.full_clean()
        party.save(force_insert=True)
        record_audit(actor=actor, action="party.created", target=party, after={"name": name, "kind": party.kind})
    return party


def create_account(*, actor: Actor, party: Party, number: str, **fields: Any) -> BillingAccount:
    """Where a party's invoices go; `fields` are further columns. Raises ValidationError, PermissionDenied."""
    operator_id = _operator_of(actor, "contracts.add_billingaccount")
    account = BillingAccount(operator_id=operator_id, party=party, number=number, **fields)
    with transaction.atomic():
        account.full_clean()
        account.save(force_insert=True)
        after = {"number": number, "name": account.name, "email": account.email, "vat_id": account.vat_id}
        record_audit(actor=actor, action="billingaccount.created", target=account, after=after)
    return account


def create_contract(
    *,
    actor: Actor,
    account: BillingAccount,
    number: str,
    currency: str,
    starts_on: dt.date,
    tariff: Tariff,
    base_fee: Decimal | int = 0,
    name: str = "",
    ends_on: dt.date | None = None,
) -> Contract:
    """A contract with its first version, which holds from the contract's start. Raises ValidationError,
    PermissionDenied."""
    contract = Contract(
        operator_id=_operator_of(actor, "contracts.add_contract"),
        account=account,
        number=number,
        name=name,
        currency=currency,
        starts_on=starts_on,
        ends_on=ends_on,
    )
    with transaction.atomic():
        contract.full_clean()
        contract.save(force_insert=True)
        after = {"number": number, "account": str(account), "currency": currency, "starts_on": str(starts_on)}
        record_audit(actor=actor, action="contract.created", target=contract, after=after)
        _write_version(actor, contract, valid_from=starts_on, tariff=tariff, base_fee=base_fee, why="")
    return contract


def add_version(
    *,
    actor: Actor,
    contract: Contract,
    valid_from: dt.date,
    tariff: Tariff,
    base_fee: Decimal | int,
    today: dt.date,
    why: str,
) -> ContractVersion:
    """Other terms from a date on, today at the earliest: what was charged before is priced by the terms of its day.
    Raises ValidationError, PermissionDenied."""
    _require(actor, "contracts.change_contract")
    why = require_reason(why)
    with transaction.atomic():
        contract = _lock(actor, contract)
        if valid_from < today and contract.versions.exists():
            raise ValidationError({"valid_from": _("New terms begin today at the earliest.")})
        if contract.ends_on is not None and valid_from > contract.ends_on:
            ended = {"day": date_format(contract.ends_on)}
            raise ValidationError({"valid_from": _("The contract ends on %(day)s.") % ended})
        return _write_version(actor, contract, valid_from=valid_from, tariff=tariff, base_fee=base_fee, why=why)


def end_contract(*, actor: Actor, contract: Contract, last_day: dt.date | None, today: dt.date, why: str) -> Contract:
    """Set the contract's last day, today at the earliest, or take its end back (None). Cards on it are accepted no
    more after that day. Raises ValidationError, PermissionDenied."""
    _require(actor, "contracts.change_contract")
    why = require_reason(why)
    with transaction.atomic():
        contract = _lock(actor, contract)
        if contract.ends_on is not None and contract.ends_on < today:
            raise ValidationError(_("The contract has ended. Make a new one."))
        if last_day is not None and last_day < max(today, contract.starts_on):
            earliest = {"day": date_format(max(today, contract.starts_on))}
            raise ValidationError({"last_day": _("Its last day is %(day)s at the earliest.") % earliest})
        before, contract.ends_on = {"ends_on": _day(contract.ends_on)}, last_day
        contract.full_clean()
        contract.save(update_fields=["ends_on"])
        after = {"ends_on": _day(last_day)}
        record_audit(actor=actor, action="contract.ended", target=contract, before=before, after=after, why=why)
    return contract


def archive_party(*, actor: Actor, party: Party, today: dt.date, why: str) -> Party:
    """Take a party with its accounts out of use. Raises ValidationError while a contract of it runs."""
    _require(actor, "contracts.change_party")
    with transaction.atomic():
        accounts = BillingAccount.objects.visible_to(actor).filter(party=party).active()
        _refuse_running(actor, accounts.values_list("pk", flat=True), today)
        for account in accounts:
            _archive(actor, account, "billingaccount.archived", why)
        _archive(actor, party, "party.archived", why)
    return party


def archive_account(*, actor: Actor, account: BillingAccount, today: dt.date, why: str) -> BillingAccount:
    """Take a billing account out of use. Raises ValidationError while a contract of it runs."""
    _require(actor, "contracts.change_billingaccount")
    with transaction.atomic():
        _refuse_running(actor, [account.pk], today)
        _archive(actor, account, "billingaccount.archived", why)
    return account


def _refuse_running(actor: Actor, accounts: Any, today: dt.date) -> None:
    running = Contract.objects.visible_to(actor).filter(account__in=list(accounts)).ends_after(today).count()
    if running:
        text = ngettext(
            "%(count)d contract is not over yet. End it first.",
            "%(count)d contracts are not over yet. End them first.",
            running,
        )
        raise ValidationError(text % {"count": running})


def _archive(actor: Actor, row: Party | BillingAccount, action: str, why: str) -> None:
    row.archived_at = timezone.now()
    row.save(update_fields=["archived_at"])
    after = {"archived_at": row.archived_at.isoformat(timespec="seconds")}
    record_audit(actor=actor, action=action, target=row, after=after, why=require_reason(why))


def _write_version(
    actor: Actor, contract: Contract, *, valid_from: dt.date, tariff: Tariff, base_fee: Decimal | int, why: str
) -> ContractVersion:
    last = contract.versions.aggregate(last=Max("number"))["last"] or 0
    version = ContractVersion(
        operator_id=contract.operator_id,
        contract=contract,
        number=last + 1,
        valid_from=valid_from,
        tariff=tariff,
        base_fee=base_fee,
        created_by_id=actor.user_id if actor.kind is Kind.SESSION else None,
    )
    version.full_clean(exclude=["created_by"])
    if tariff.archived_at is not None:
        raise ValidationError({"tariff": _("This tariff is archived.")})
    version.save(force_insert=True)
    after = {
        "version": version.number,
        "valid_from": valid_from.isoformat(),
        "tariff": str(tariff),
        "base_fee": str(version.base_fee),
    }
    record_audit(actor=actor, action="contract.version_added", target=contract, after=after, why=why)
    return version


def _lock(actor: Actor, contract: Contract) -> Contract:
    """Two who change a contract at once wait for each other."""
    found: Contract = Contract.objects.visible_to(actor).select_for_update(no_key=True).get(pk=contract.pk)
    return found


def _operator_of(actor: Actor, permission: str) -> int:
    _require(actor, permission)
    if actor.operator_id is None:
        raise PermissionDenied
    return actor.operator_id


def _require(actor: Actor, permission: str) -> None:
    if not actor.can(permission):
        raise PermissionDenied


def _day(day: dt.date | None) -> str | None:
    return day.isoformat() if day is not None else None
