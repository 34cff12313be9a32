"""What may be asked of a charger, by whom, and until when."""

from __future__ import annotations

import datetime as dt
import itertools

import pytest
from django.conf import settings
from django.core.exceptions import PermissionDenied, ValidationError

from apps.accounts.models import AuditEntry
from apps.core.actor import Actor, Kind
from apps.installations.baseline import WANTED
from apps.installations.commands import OWNER_GONE, RULES
from apps.installations.models import Boot, Command, CommandState
from apps.installations.services import (
    answer_command,
    close_overdue_commands,
    finish_resets,
    lose_commands,
    request_command,
)
from tests.factories.charging import make_session
from tests.factories.installations import StationFactory

NOW = dt.datetime(2026, 11, 21, 12, 0, tzinfo=dt.UTC)
EXAMPLES = {
    "RemoteStartTransaction": {"idTag": "04A2B3C4"},
    "RemoteStopTransaction": {"transactionId": 7},
    "Reset": {"type": "Soft"},
    "UnlockConnector": {"connectorId": 1},
    "TriggerMessage": {"requestedMessage": "StatusNotification"},
    "DataTransfer": {"vendorId": "org.example", "data": "x"},
    "ChangeAvailability": {"connectorId": 0, "type": "Inoperative"},
    "ChangeConfiguration": {"key": "HeartbeatInterval", "value": "300"},
    "GetConfiguration": {},
    "ClearCache": {},
}
WAITING = {"ChangeAvailability", "ChangeConfiguration", "GetConfiguration", "ClearCache"}


@pytest.fixture
def ours(ours):
    """With the session that is stopped in the examples."""
    make_session(ours, transaction_id=EXAMPLES["RemoteStopTransaction"]["transactionId"])
    return ours


def ask(tenant, action, payload=None, *, why="because", now=NOW, actor=None, **kwargs):
    return request_command(
        actor=actor or Actor.system(tenant.operator),
        station=tenant.station,
        action=action,
        payload=EXAMPLES[action] if payload is None else payload,
        why=why,
        now=now,
        **kwargs,
    )


def test_every_action_has_an_example_here():
    assert set(EXAMPLES) == set(RULES)


@pytest.mark.parametrize("action", EXAMPLES)
def test_a_command_is_queued_with_its_deadline_counted_from_its_creation(ours, action):
    command = ask(ours, action)
    command.refresh_from_db()
    assert command.state == CommandState.QUEUED
    assert command.payload == EXAMPLES[action]
    assert command.created_at == NOW
    assert command.waits == (action in WAITING)
    if action in WAITING:
        assert command.deadline_at >= NOW + dt.timedelta(days=1)
    else:
        assert command.deadline_at == NOW + dt.timedelta(seconds=30)


def documented(first_cell):
    """Rows of the table in docs/ocpp.md whose header begins with `first_cell`."""
    lines = (settings.BASE_DIR / "docs" / "ocpp.md").read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first_cell} |")) + 2
    table = itertools.takewhile(lambda line: line.startswith("|"), lines[start:])
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in table]


def in_words(time):
    seconds = int(time.total_seconds()) if time else 0
    for unit, size in (("day", 86400), ("min", 60), ("s", 1)):
        if seconds and not seconds % size:
            count = seconds // size
            return f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''}"
    return "at once"


def test_the_documented_rules_are_the_rules():
    rules = {
        action: (
            "yes" if rule.needs_reason else "of people" if rule.needs_reason_of_people else "no",
            "yes" if rule.waits else "no",
            in_words(rule.delivery),
            in_words(rule.effect) + (f" (scheduled: {in_words(rule.scheduled)})" if rule.scheduled else ""),
        )
        for action, rule in RULES.items()
    }
    assert {row[0]: (*row[1:4], row[5]) for row in documented("Command")} == rules
    assert dict(documented("Key")) == {key: wanted.candidates[0] for key, wanted in WANTED.items()}


def test_a_command_says_who_and_why_in_the_audit_trail_of_the_charger(ours):
    actor = Actor(
        kind=Kind.SESSION,
        operator_id=ours.operator.pk,
        user=ours.owner,
        permissions=frozenset({"installations.command_chargingstation"}),
        operator_wide=True,
        label=ours.owner.email,
    )
    command = ask(ours, "Reset", actor=actor, why=" hangs since noon ")
    entry = AuditEntry.objects.unscoped("test").get(action="command.requested")
    assert (entry.object_id, entry.user, entry.why) == (str(ours.station.pk), ours.owner, "hangs since noon")
    assert entry.after == {"command": str(command.public_id), "action": "Reset", "payload": {"type": "Soft"}}
    assert (command.user, command.actor, command.why) == (ours.owner, ours.owner.email, "hangs since noon")


@pytest.mark.parametrize("action", ["Reset", "UnlockConnector", "RemoteStopTransaction"])
def test_reset_unlock_and_remote_stop_need_a_reason(ours, action):
    with pytest.raises(ValidationError) as refusal:
        ask(ours, action, why="  ")
    assert "why" in refusal.value.message_dict
    assert not Command.objects.unscoped("test").exists()


def test_a_person_says_why_a_session_is_started_a_program_does_not(ours):
    rights = frozenset({"installations.command_chargingstation"})
    asker = {"operator_id": ours.operator.pk, "permissions": rights, "operator_wide": True, "label": "x"}
    with pytest.raises(ValidationError) as refusal:
        ask(ours, "RemoteStartTransaction", why="", actor=Actor(kind=Kind.SESSION, user=ours.owner, **asker))
    assert "why" in refusal.value.message_dict
    assert ask(ours, "RemoteStartTransaction", why="", actor=Actor(kind=Kind.API_KEY, **asker)).why == ""


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("Reset", {}),
        ("Reset", {"type": "Warm"}),
        ("Reset", {"type": "Soft", "extra": 1}),
        ("UnlockConnector", {"connectorId": 0}),
        ("UnlockConnector", {"connectorId": "1"}),
        ("ChangeAvailability", {"connectorId": -1, "type": "Operative"}),
        ("RemoteStartTransaction", {"idTag": "X" * 21}),
        ("RemoteStartTransaction", {"idTag": "04\x00"}),
        ("RemoteStartTransaction", {"idTag": "04\ud800"}),
        ("RemoteStopTransaction", {"transactionId": 2**70}),
        ("DataTransfer", {"vendorId": "org.example", "data": "x" * 30_000}),
        ("ChangeConfiguration", {"key": "AuthorizationKey", "value": "0123456789abcdef"}),
        ("ChangeConfiguration", {"key": "WifiPassword", "value": "hunter2"}),
        ("ChangeConfiguration", {"key": "authorization key", "value": ""}),
        ("ChangeConfiguration", {"key": "BackendUrl", "value": "wss://AMBER-1:hunter2@ocpp.example.org"}),
        ("DataTransfer", {"vendorId": "org.example", "data": '{"key": "AuthorizationKey", "value": "hunter2"}'}),
        ("DataTransfer", {"vendorId": "org.example", "data": "ftp://logs:hunter2@files.example.org/"}),
    ],
)
def test_a_payload_that_the_charger_could_only_refuse_is_refused_at_once(ours, action, payload):
    with pytest.raises(ValidationError) as refusal:
        ask(ours, action, payload)
    assert "payload" in refusal.value.message_dict
    assert not AuditEntry.objects.unscoped("test").filter(action="command.requested").exists()


@pytest.mark.parametrize("whose", ["nobody", "neighbour", "rival"])
def test_a_stop_names_a_session_of_that_charger(ours, rival, whose):
    neighbour = StationFactory(operator=ours.operator, location=ours.location)
    make_session(ours, station=neighbour, transaction_id=8)
    make_session(rival, transaction_id=9)
    with pytest.raises(ValidationError) as refusal:
        ask(ours, "RemoteStopTransaction", {"transactionId": {"nobody": 4711, "neighbour": 8, "rival": 9}[whose]})
    assert refusal.value.message_dict == {"payload": ["No session of this charger has this transaction id."]}
    assert not Command.objects.unscoped("test").exists()
    assert not AuditEntry.objects.unscoped("test").filter(action="command.requested").exists()


def test_a_session_that_only_we_hold_for_ended_can_still_be_stopped(ours):
    make_session(ours, transaction_id=8, state="ended")
    assert ask(ours, "RemoteStopTransaction", {"transactionId": 8}).state == CommandState.QUEUED


def test_an_action_nobody_knows_is_refused(ours):
    with pytest.raises(ValidationError) as refusal:
        ask(ours, "SelfDestruct", {})
    assert "action" in refusal.value.message_dict


def test_nobody_commands_without_the_permission_or_another_operators_charger(ours, rival):
    viewer = Actor(kind=Kind.API_KEY, operator_id=ours.operator.pk, operator_wide=True, label="viewer")
    for actor in (viewer, Actor.system(rival.operator), Actor(kind=Kind.SYSTEM)):
        with pytest.raises(PermissionDenied):
            ask(ours, "Reset", actor=actor)


def test_a_manager_of_the_host_commands_only_with_the_permission_there(ours):
    permission = frozenset({"installations.command_chargingstation"})
    host = Actor(kind=Kind.SESSION, operator_id=ours.operator.pk, organisations={ours.fleet.pk: permission})
    assert ask(ours, "Reset", actor=host).state == CommandState.QUEUED
    elsewhere = Actor(kind=Kind.SESSION, operator_id=ours.operator.pk, organisations={ours.fleet.pk + 1: permission})
    with pytest.raises(PermissionDenied):
        ask(ours, "Reset", actor=elsewhere)


def test_an_archived_charger_is_not_asked_anything(ours):
    ours.station.archived_at = NOW
    with pytest.raises(ValidationError) as refusal:
        ask(ours, "ClearCache")
    assert "station" in refusal.value.message_dict


def test_no_more_than_fifty_commands_wait_for_one_charger(ours):
    actor = Actor(
        kind=Kind.API_KEY,
        operator_id=ours.operator.pk,
        permissions=frozenset({"installations.command_chargingstation"}),
        operator_wide=True,
        label="key",
    )
    for _ in range(50):
        ask(ours, "ClearCache", actor=actor)
    with pytest.raises(ValidationError) as refusal:
        ask(ours, "ClearCache", actor=actor)
    assert "station" in refusal.value.message_dict
    assert ask(ours, "ClearCache").state == CommandState.QUEUED  # the system's own work goes on


def test_what_nobody_took_is_not_delivered_after_its_deadline(ours):
    start, cache = ask(ours, "RemoteStartTransaction"), ask(ours, "ClearCache")
    assert close_overdue_commands(now=NOW + dt.timedelta(seconds=29)) == 0
    assert close_overdue_commands(now=NOW + dt.timedelta(seconds=30)) == 1
    start.refresh_from_db()
    cache.refresh_from_db()
    assert (start.state, start.answered_by, start.detail) == (
        CommandState.NOT_DELIVERED,
        Command.By.SYSTEM,
        "the charger was not connected",
    )
    assert cache.state == CommandState.QUEUED


def sent(command, at):
    Command.objects.unscoped("test").filter(pk=command.pk).update(
        state=CommandState.SENT, message_id="m1", generation=1, sent_at=at
    )


def test_what_a_lost_gateway_sent_has_an_unknown_outcome_and_a_read_waits_again(ours):
    reset, read = ask(ours, "Reset"), ask(ours, "GetConfiguration")
    sent(reset, NOW)
    sent(read, NOW)
    assert close_overdue_commands(now=NOW + OWNER_GONE - dt.timedelta(seconds=1)) == 0
    assert close_overdue_commands(now=NOW + OWNER_GONE) == 2
    reset.refresh_from_db()
    read.refresh_from_db()
    assert (reset.state, reset.answered_by) == (CommandState.UNKNOWN, Command.By.SYSTEM)
    assert (read.state, read.message_id, read.generation) == (CommandState.QUEUED, "", None)


def booted(tenant, at):
    Boot.objects.create(
        operator=tenant.operator, station=tenant.station, received_at=at, generation=2, sequence=at.timestamp()
    )
    finish_resets(station_ids={tenant.station.pk}, now=at)


WITHIN = RULES["Reset"].effect


@pytest.mark.parametrize(
    ("after", "state"),
    [(dt.timedelta(seconds=20), "done"), (WITHIN, "done"), (WITHIN + dt.timedelta(seconds=1), "unknown")],
)
def test_a_boot_is_the_effect_of_a_reset_whose_answer_was_lost(ours, rival, after, state):
    reset, unlock, theirs = ask(ours, "Reset"), ask(ours, "UnlockConnector"), ask(rival, "Reset")
    for command in (reset, unlock, theirs):
        sent(command, NOW)
    lose_commands(ids=[reset.pk, unlock.pk, theirs.pk], detail="lost", ask_again=True, now=NOW)
    booted(ours, NOW - dt.timedelta(seconds=1))
    reset.refresh_from_db()
    assert reset.state == CommandState.UNKNOWN
    booted(ours, NOW + after)
    for command in (reset, unlock, theirs):
        command.refresh_from_db()
    assert (reset.state, reset.answered_at, reset.detail) == (state, None, "lost")
    assert (unlock.state, theirs.state) == (CommandState.UNKNOWN, CommandState.UNKNOWN)


def test_a_boot_that_came_before_the_loss_was_noticed_is_the_effect_too(ours):
    reset = ask(ours, "Reset")
    sent(reset, NOW)
    booted(ours, NOW + dt.timedelta(seconds=30))
    close_overdue_commands(now=NOW + OWNER_GONE)
    reset.refresh_from_db()
    assert (reset.state, reset.finished_at) == (CommandState.DONE, NOW + OWNER_GONE)


def test_what_the_charger_answered_is_not_settled_by_a_boot(ours):
    reset = ask(ours, "Reset")
    sent(reset, NOW)
    reset.refresh_from_db()
    answer_command(command=reset, state=CommandState.UNKNOWN, detail="?", answer={"status": "Perhaps"}, now=NOW)
    booted(ours, NOW + dt.timedelta(seconds=30))
    reset.refresh_from_db()
    assert reset.state == CommandState.UNKNOWN


def test_a_read_is_not_asked_again_for_ever(ours):
    read = ask(ours, "GetConfiguration")
    later = NOW + dt.timedelta(minutes=11)
    sent(read, later - OWNER_GONE)
    close_overdue_commands(now=later)
    read.refresh_from_db()
    assert read.state == CommandState.UNKNOWN


def accepted(command, detail="Accepted"):
    Command.objects.unscoped("test").filter(pk=command.pk).update(
        state=CommandState.ACCEPTED, answered_by="station", detail=detail, sent_at=NOW, answered_at=NOW
    )


def test_an_effect_that_never_shows_times_out_by_the_rule_of_its_action(ours):
    start, later = ask(ours, "RemoteStartTransaction"), ask(ours, "ChangeAvailability")
    accepted(start)
    accepted(later, "Scheduled")
    assert close_overdue_commands(now=NOW + dt.timedelta(seconds=119)) == 0
    assert close_overdue_commands(now=NOW + dt.timedelta(seconds=120)) == 1
    start.refresh_from_db()
    assert (start.state, start.answered_by, start.detail) == (CommandState.TIMED_OUT, "station", "Accepted")
    assert close_overdue_commands(now=NOW + dt.timedelta(hours=23)) == 0
    assert close_overdue_commands(now=NOW + dt.timedelta(hours=24)) == 1
