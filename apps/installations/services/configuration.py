"""What chargers report of their configuration, and the baseline that they get after a boot."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from django.db import transaction
from django.db.models import Q

from apps.core.actor import Actor
from apps.installations import baseline
from apps.installations.models import ChargingStation, Command, CommandState, ConfigurationValue
from apps.installations.secrets import is_secret_key, mask_text
from apps.installations.services.commands import request_command


def begin_baseline(*, station_id: int, now: dt.datetime) -> Command | None:
    """After a boot: ask for the keys of the baseline. None where that was done a short while ago (a charger that boots
    again and again is asked once in ten minutes) or still waits."""
    station = ChargingStation.objects.unscoped("the charger that booted").select_related("location").get(pk=station_id)
    asked = Command.objects.unscoped("the charger that booted").filter(
        station=station, action="GetConfiguration", actor=baseline.ACTOR
    )
    if (
        station.archived_at is not None
        or asked.filter(Q(state__in=Command.OPEN) | Q(created_at__gt=now - baseline.MIN_INTERVAL)).exists()
    ):
        return None
    return request_command(
        actor=Actor.system(station.operator_id, why=baseline.ACTOR),
        station=station,
        action="GetConfiguration",
        payload={"key": list(baseline.KEYS)},
        now=now,
    )


def store_configuration(
    *, command: Command, reported: Iterable[tuple[str, str, bool]], unknown: Iterable[str], now: dt.datetime
) -> None:
    """Keep what a charger reported: (key, value, read only), and the keys it does not know. Values of secret keys are
    not kept. Where the baseline asked, set what differs."""
    rows = {
        key: ConfigurationValue(
            operator_id=command.operator_id,
            station_id=command.station_id,
            key=key,
            value="" if is_secret_key(key) else mask_text(value),
            readonly=readonly,
            read_at=now,
        )
        for key, value, readonly in reported
    }
    with transaction.atomic():
        ConfigurationValue.objects.bulk_create(
            rows.values(),
            update_conflicts=True,
            unique_fields=["station", "key"],
            update_fields=["value", "readonly", "read_at"],
        )
        if command.actor == baseline.ACTOR:
            _apply_baseline(command, set(unknown), now)


def _apply_baseline(command: Command, unknown: set[str], now: dt.datetime) -> None:
    values = {
        one.key: one
        for one in ConfigurationValue.objects.unscoped("the charger that booted").filter(
            station_id=command.station_id, key__in=baseline.WANTED
        )
    }
    pending = {
        one.payload["key"]
        for one in Command.objects.unscoped("the charger that booted").filter(
            station_id=command.station_id, action="ChangeConfiguration", state__in=Command.OPEN
        )
    }
    for key, wanted in baseline.WANTED.items():
        row = values.get(key) or ConfigurationValue(
            operator_id=command.operator_id, station_id=command.station_id, key=key, read_at=now
        )
        if (
            key in pending
            or row.note == baseline.BY_HAND
            or (row.note == baseline.REFUSED and row.wanted in wanted.candidates)
        ):
            continue
        row.wanted = row.wanted if row.wanted in wanted.candidates else wanted.candidates[0]
        differs = row.pk is not None and key not in unknown and not wanted.is_met(row.value, row.wanted)
        row.note = _baseline_note(row, known=row.pk is not None and key not in unknown, differs=differs)
        row.save()
        if differs and not row.readonly:
            _set_baseline(command.station, key, row.wanted, now)


def _baseline_note(row: ConfigurationValue, *, known: bool, differs: bool) -> str:
    if not known:
        return baseline.NOT_KNOWN
    return baseline.READ_ONLY if differs and row.readonly else ""


def _set_baseline(station: ChargingStation, key: str, value: str, now: dt.datetime) -> None:
    request_command(
        actor=Actor.system(station.operator_id, why=baseline.ACTOR),
        station=station,
        action="ChangeConfiguration",
        payload={"key": key, "value": value},
        now=now,
    )


def note_configuration_change(*, command: Command, state: CommandState, detail: str, now: dt.datetime) -> None:
    """Keep what a ChangeConfiguration came to: the new value, the baseline's next candidate, or that it was refused."""
    key, value = command.payload["key"], command.payload["value"]
    row = ConfigurationValue.objects.unscoped("the charger that answered").filter(
        station_id=command.station_id, key=key
    ).first() or ConfigurationValue(operator_id=command.operator_id, station_id=command.station_id, key=key)
    by_baseline = command.actor == baseline.ACTOR
    if state == CommandState.DONE:
        row.value, row.wanted, row.read_at = value, value, now
        row.note = "" if by_baseline else baseline.BY_HAND
        if detail == "RebootRequired":
            row.note = baseline.AFTER_RESTART if by_baseline else row.note
        row.save()
    elif state == CommandState.REJECTED and by_baseline:
        following = baseline.WANTED[key].after(value) if key in baseline.WANTED else None
        row.wanted, row.note = following or value, "" if following else baseline.REFUSED
        row.save()
        if following:
            _set_baseline(command.station, key, following, now)
