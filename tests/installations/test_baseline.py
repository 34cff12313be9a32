"""The small configuration that every charger gets after a boot."""

from __future__ import annotations

import datetime as dt

import pytest

from apps.core import events
from apps.installations import baseline, services, tasks
from apps.installations.events import STATION_BOOTED
from apps.installations.models import Command, CommandState, ConfigurationValue

NOW = dt.datetime(2026, 11, 21, 12, 0, tzinfo=dt.UTC)
ALL = [value for one in baseline.WANTED.values() for value in one.candidates]
GOOD = {key: one.candidates[0] for key, one in baseline.WANTED.items()}


def minutes(count):
    return NOW + dt.timedelta(minutes=count)


def begin(tenant, now=NOW):
    return services.begin_baseline(station_id=tenant.station.pk, now=now)


def answer(command, state, detail="", *, now=NOW):
    """What the outbox does with an answer."""
    Command.objects.unscoped("test").filter(pk=command.pk).update(state=CommandState.SENT, message_id="m")
    command.message_id = "m"
    assert services.answer_command(command=command, state=state, detail=detail, answer={}, now=now)
    if command.action == "ChangeConfiguration":
        services.note_configuration_change(command=command, state=state, detail=detail, now=now)


def report(command, values, *, readonly=(), unknown=(), now=NOW):
    answer(command, CommandState.DONE, now=now)
    reported = [(key, value, key in readonly) for key, value in values.items()]
    services.store_configuration(command=command, reported=reported, unknown=unknown, now=now)


def changes():
    """Queued ChangeConfigurations: key → value."""
    rows = Command.objects.unscoped("test").filter(action="ChangeConfiguration", state=CommandState.QUEUED)
    return {one.payload["key"]: one.payload["value"] for one in rows}


def change(key):
    return Command.objects.unscoped("test").get(
        action="ChangeConfiguration", state=CommandState.QUEUED, payload__key=key
    )


def kept(key):
    return ConfigurationValue.objects.unscoped("test").get(key=key)


def test_a_boot_asks_for_the_keys_in_the_name_of_the_baseline(ours):
    tasks.begin_baselines([{"station_id": ours.station.pk, "operator_id": ours.operator.pk}])
    command = Command.objects.unscoped("test").get()
    assert (command.action, command.actor, command.user) == ("GetConfiguration", "baseline", None)
    assert set(command.payload["key"]) == set(baseline.KEYS)
    assert len(baseline.KEYS) <= 10


def test_the_event_of_a_boot_leads_there():
    assert "apps.installations.tasks.begin_baselines" in events._subscribers[STATION_BOOTED]


def test_a_charger_that_boots_again_and_again_is_asked_once_in_ten_minutes(ours):
    command = begin(ours)
    assert begin(ours, minutes(60)) is None  # the first still waits for the charger
    report(command, GOOD)
    assert begin(ours, minutes(9)) is None
    assert begin(ours, minutes(10)) is not None


def test_an_archived_charger_is_left_alone(ours, system):
    services.archive_station(actor=system, station=ours.station, now=NOW, why="sold")
    assert begin(ours) is None


def test_a_charger_that_is_right_already_is_not_changed(ours):
    reordered = {
        **GOOD,
        "MeterValuesSampledData": "Temperature, SoC,Voltage,Current.Import,"
        + ",".join(("Power.Active.Import", "Energy.Active.Import.Register")),
    }
    report(begin(ours), reordered)
    assert changes() == {}
    assert kept("MeterValuesSampledData").wanted == GOOD["MeterValuesSampledData"]


def test_what_differs_is_set_and_then_known(ours):
    report(begin(ours), {**GOOD, "MeterValueSampleInterval": "0", "TransactionMessageAttempts": "3"})
    assert changes() == {"MeterValueSampleInterval": "60", "TransactionMessageAttempts": "10"}
    answer(change("MeterValueSampleInterval"), CommandState.DONE, "Accepted")
    row = kept("MeterValueSampleInterval")
    assert (row.value, row.wanted, row.note) == ("60", "60", "")


def test_what_is_read_only_or_unknown_is_only_noted(ours):
    values = {**GOOD, "TransactionMessageAttempts": "3"}
    del values["MeterValuesSampledData"]
    report(begin(ours), values, readonly=["TransactionMessageAttempts"], unknown=["MeterValuesSampledData"])
    assert changes() == {}
    assert kept("TransactionMessageAttempts").note == baseline.READ_ONLY
    assert kept("MeterValuesSampledData").note == baseline.NOT_KNOWN


def test_a_refused_value_is_followed_by_the_next_best_and_then_by_nothing(ours):
    report(begin(ours), {**GOOD, "MeterValuesSampledData": ""})
    tried = []
    while "MeterValuesSampledData" in changes():
        command = change("MeterValuesSampledData")
        tried.append(command.payload["value"])
        answer(command, CommandState.REJECTED, "Rejected")
    assert tuple(tried) == baseline.WANTED["MeterValuesSampledData"].candidates
    assert kept("MeterValuesSampledData").note == baseline.REFUSED
    report(begin(ours, minutes(11)), {**GOOD, "MeterValuesSampledData": ""}, now=minutes(11))
    assert changes() == {}


def test_the_value_that_was_accepted_in_the_end_is_the_one_wanted_after_the_next_boot(ours):
    report(begin(ours), {**GOOD, "MeterValuesSampledData": ""})
    answer(change("MeterValuesSampledData"), CommandState.REJECTED, "Rejected")
    second = change("MeterValuesSampledData").payload["value"]
    answer(change("MeterValuesSampledData"), CommandState.DONE, "Accepted")
    report(begin(ours, minutes(11)), {**GOOD, "MeterValuesSampledData": second}, now=minutes(11))
    assert changes() == {}
    assert kept("MeterValuesSampledData").wanted == second


def test_a_change_that_still_waits_is_not_asked_for_twice(ours):
    report(begin(ours), {**GOOD, "MeterValueSampleInterval": "0"})
    report(begin(ours, minutes(11)), {**GOOD, "MeterValueSampleInterval": "0"}, now=minutes(11))
    assert Command.objects.unscoped("test").filter(action="ChangeConfiguration").count() == 1


def test_what_a_person_set_stays_after_the_next_boot(ours, system):
    report(begin(ours), GOOD)
    command = services.request_command(
        actor=system,
        station=ours.station,
        action="ChangeConfiguration",
        payload={"key": "MeterValueSampleInterval", "value": "10"},
        now=NOW,
    )
    answer(command, CommandState.DONE, "Accepted")
    assert kept("MeterValueSampleInterval").note == baseline.BY_HAND
    report(begin(ours, minutes(11)), {**GOOD, "MeterValueSampleInterval": "10"}, now=minutes(11))
    assert changes() == {}


def test_every_wanted_value_can_be_sent():
    assert all(len(value) <= 500 for value in ALL)
    assert all(len(key) <= 50 for key in baseline.KEYS)


@pytest.mark.parametrize("detail", ["Accepted", "RebootRequired"])
def test_a_value_that_needs_a_restart_says_so(ours, detail):
    report(begin(ours), {**GOOD, "MeterValueSampleInterval": "0"})
    answer(change("MeterValueSampleInterval"), CommandState.DONE, detail)
    expected = baseline.AFTER_RESTART if detail == "RebootRequired" else ""
    assert kept("MeterValueSampleInterval").note == expected


def test_of_a_secret_that_a_charger_reports_nothing_is_kept(ours):
    reported = {
        "AuthorizationKey": "hunter2",
        "Wifi Passphrase": "hunter2",
        "BackendUrl": "wss://AMBER-1:hunter2@ocpp.example.org/",
        "VendorSettings": '{"apn": "iot", "apnPassword": "hunter2"}',
    }
    report(begin(ours), reported)
    assert not any("hunter2" in one.value for one in ConfigurationValue.objects.unscoped("test"))
    assert kept("BackendUrl").value == "wss://•••@ocpp.example.org/"
