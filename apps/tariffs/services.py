"""Changes to tariffs and VAT rates. What is published is final: a change is a new version from a date."""

from __future__ import annotations

import datetime as dt
import hashlib
from decimal import Decimal
from typing import Any

import orjson
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Max
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apps.accounts.services import record_audit
from apps.core.actor import Actor, Kind
from apps.core.guards import require_reason
from apps.tariffs import elements as ocpi
from apps.tariffs import selectors, vat
from apps.tariffs.elements import VatClass
from apps.tariffs.models import Tariff, TariffVersion, VatRate


def create_tariff(*, actor: Actor, name: str, currency: str) -> Tariff:
    """An empty tariff. Raises ValidationError, PermissionDenied."""
    if actor.operator_id is None or not actor.can("tariffs.add_tariff"):
        raise PermissionDenied
    tariff = Tariff(operator_id=actor.operator_id, name=name, currency=currency)
    with transaction.atomic():
        tariff.full_clean()
        tariff.save(force_insert=True)
        record_audit(actor=actor, action="tariff.created", target=tariff, after={"name": name, "currency": currency})
    return tariff


def rename_tariff(*, actor: Actor, tariff: Tariff, name: str, why: str) -> Tariff:
    """Another name for the same prices. Raises ValidationError, PermissionDenied."""
    if not actor.can("tariffs.change_tariff"):
        raise PermissionDenied
    before, tariff.name = {"name": tariff.name}, name.strip()
    with transaction.atomic():
        tariff.full_clean()
        tariff.save(update_fields=["name"])
        after = {"name": tariff.name}
        record_audit(actor=actor, action="tariff.renamed", target=tariff, before=before, after=after, why=why)
    return tariff


def save_draft(*, actor: Actor, tariff: Tariff, elements: list[Any], fee_after_minutes: int = 0) -> TariffVersion:
    """Write the tariff's draft, the version after its last one. Raises ValidationError where the elements cannot be
    read; what only forbids publishing them is not asked yet."""
    if not actor.can("tariffs.change_tariff"):
        raise PermissionDenied
    ocpi.read(elements)
    with transaction.atomic():
        versions = _lock(actor, tariff)
        draft: TariffVersion | None = versions.filter(published_at=None).first()
        if draft is None:
            last = versions.aggregate(last=Max("number"))["last"] or 0
            draft = TariffVersion(operator_id=tariff.operator_id, tariff=tariff, number=last + 1)
        before = {"elements": draft.elements, "fee_after_minutes": draft.fee_after_minutes}
        draft.elements, draft.fee_after_minutes = elements, fee_after_minutes
        draft.full_clean()
        draft.save()
        after = {"version": draft.number, "elements": elements, "fee_after_minutes": fee_after_minutes}
        record_audit(actor=actor, action="tariff.draft_saved", target=tariff, before=before, after=after)
    return draft


def publish_version(
    *, actor: Actor, version: TariffVersion, valid_from: dt.date, today: dt.date, why: str, seen: str | None = None
) -> TariffVersion:
    """Make a draft final, valid from a local date. It may lie in the past only for a tariff's first version: what was
    charged by another one is priced already. `seen` is `fingerprint_of_draft` of what somebody looked at: a draft that
    says something else by now is refused. Raises ValidationError, PermissionDenied."""
    if not actor.can("tariffs.publish_tariff"):
        raise PermissionDenied
    require_reason(why)
    with transaction.atomic():
        versions = _lock(actor, version.tariff)
        draft: TariffVersion | None = versions.filter(pk=version.pk, published_at=None).first()
        if draft is None:
            raise ValidationError(_("This version is published already."))
        if seen is not None and seen != fingerprint_of_draft(draft):
            raise ValidationError(_("Somebody changed the draft since you looked at it. Look at it again first."))
        if valid_from < today and versions.published().exists():
            raise ValidationError({"valid_from": _("A new version begins today at the earliest.")})
        if faults := ocpi.faults_of_publication(ocpi.read(draft.elements)):
            raise ValidationError(faults)
        draft.valid_from, draft.published_at = valid_from, timezone.now()
        draft.published_by_id = actor.user_id if actor.kind is Kind.SESSION else None
        draft.sha256 = fingerprint(draft.elements)
        draft.save()
        after = {"version": draft.number, "valid_from": valid_from.isoformat(), "sha256": draft.sha256}
        record_audit(actor=actor, action="tariff.published", target=draft.tariff, after=after, why=why.strip())
    return draft


def discard_draft(*, actor: Actor, version: TariffVersion, why: str = "") -> None:
    """Throw a draft away; its number becomes free. Raises ValidationError where it is published."""
    if not actor.can("tariffs.change_tariff"):
        raise PermissionDenied
    with transaction.atomic():
        draft = _lock(actor, version.tariff).filter(pk=version.pk, published_at=None).first()
        if draft is None:
            raise ValidationError(_("This version is published already."))
        before = {"version": draft.number, "elements": draft.elements}
        record_audit(
            actor=actor, action="tariff.draft_discarded", target=version.tariff, before=before, why=why.strip()
        )
        draft.delete()


def archive_tariff(*, actor: Actor, tariff: Tariff, today: dt.date, why: str) -> Tariff:
    """Take a tariff out of use. Raises ValidationError while a contract that is not over has it, or will have it."""
    if not actor.can("tariffs.change_tariff"):
        raise PermissionDenied
    require_reason(why)
    with transaction.atomic():
        _lock(actor, tariff)
        contracts = selectors.contract_versions_on(tariff, today=today, or_later=True).values("contract").distinct()
        if count := contracts.count():
            text = ngettext(
                "%(count)d contract has this tariff. Change its terms or end it first.",
                "%(count)d contracts have this tariff. Change their terms or end them first.",
                count,
            )
            raise ValidationError(text % {"count": count})
        tariff.archived_at = timezone.now()
        tariff.save(update_fields=["archived_at"])
        after = {"archived_at": tariff.archived_at.isoformat(timespec="seconds")}
        record_audit(actor=actor, action="tariff.archived", target=tariff, after=after, why=why.strip())
    return tariff


def fingerprint_of_draft(draft: TariffVersion) -> str:
    """SHA-256 of all that publishing would make final."""
    told = [draft.elements, draft.fee_after_minutes, draft.valid_from]
    return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()


def fingerprint(elements: list[Any]) -> str:
    """SHA-256 of the canonical JSON: by it, anybody can prove which prices were meant."""
    return hashlib.sha256(orjson.dumps(elements, option=orjson.OPT_SORT_KEYS)).hexdigest()


def add_statutory_rates(*, operator_id: int) -> int:
    """Give an operator the standard VAT rates of `vat.STANDARD` that it lacks. Returns how many."""
    rows = [
        VatRate(
            operator_id=operator_id,
            country=country,
            vat_class=VatClass.STANDARD,
            percent=Decimal(percent),
            valid_from=dt.date.fromisoformat(since),
        )
        for country, rates in vat.STANDARD.items()
        for since, percent in rates
    ]
    return len(VatRate.objects.bulk_create(rows, ignore_conflicts=True))


def _lock(actor: Actor, tariff: Tariff) -> Any:
    """The versions of a tariff in use, with the tariff locked: two who publish at once wait for each other."""
    if Tariff.objects.visible_to(actor).select_for_update(no_key=True).get(pk=tariff.pk).archived_at is not None:
        raise ValidationError(_("The tariff is archived. Restore it first."))
    return TariffVersion.objects.visible_to(actor).filter(tariff=tariff).select_related("tariff")
