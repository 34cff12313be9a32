"""What people change about the ways into their own account stands in the platform's audit trail."""

from __future__ import annotations

import re

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    generate_totp_secret,
    hotp_value,
    yield_hotp_counters_from_time,
)
from django.core import mail

from apps.accounts.models import AuditEntry
from apps.accounts.selectors import history_of
from apps.core.actor import Actor, Kind
from tests.factories.accounts import PASSWORD
from tests.factories.tasks import run_tasks

HOST = {"host": "fleet.amber.localhost"}
FRESH = {"password1": "another good phrase", "password2": "another good phrase"}


@pytest.fixture
def post(client, ours, django_capture_on_commit_callbacks):
    """Posts as the driver, on the fleet's host, and lets what waits for the commit happen."""
    client.post("/accounts/login/", {"login": ours.driver.email, "password": PASSWORD}, headers=HOST)
    client.post("/accounts/reauthenticate/", {"password": PASSWORD}, headers=HOST)

    def send(path, data=None):
        with django_capture_on_commit_callbacks(execute=True):
            return client.post(path, data or {}, headers=HOST)

    return send


def trail(user):
    platform = Actor(kind=Kind.SESSION, platform=True)
    entries = history_of(target=user, actor=platform)
    assert {(entry.operator_id, entry.user_id, entry.actor) for entry in entries} <= {(None, user.pk, user.email)}
    return [(entry.action, entry.after.get("what", "")) for entry in reversed(entries)]


def code_of(secret):
    return format_hotp_value(hotp_value(secret, next(yield_hotp_counters_from_time())))


def test_a_changed_password(client, post, ours):
    assert post("/accounts/password/change/", {"oldpassword": PASSWORD, **FRESH}).status_code == 302
    assert trail(ours.driver) == [("user.password_changed", "")]
    assert post("/accounts/password/change/", {"oldpassword": "wrong", **FRESH}).status_code == 200
    assert len(trail(ours.driver)) == 1


def test_a_password_chosen_through_a_link(client, ours):
    client.post("/accounts/password/reset/", {"email": ours.driver.email}, headers=HOST)
    run_tasks()
    path = re.search(r"http://[^/]+(\S+)", mail.outbox[0].body)[1]
    client.post(client.get(path, headers=HOST).headers["Location"], FRESH, headers=HOST)
    assert trail(ours.driver) == [("user.password_reset", "")]


def test_a_second_factor_added_and_removed(client, post, ours):
    page = client.get("/accounts/2fa/totp/activate/", headers=HOST)
    secret = re.search(r'value="([A-Z2-7]{32})"', page.text)[1]
    post("/accounts/2fa/totp/activate/", {"code": code_of(secret)})
    added = {("user.authenticator_added", "totp"), ("user.authenticator_added", "recovery_codes")}
    assert set(trail(ours.driver)) == added
    assert secret not in str(list(AuditEntry.everything.values()))
    post("/accounts/2fa/totp/deactivate/")
    assert not Authenticator.objects.filter(user=ours.driver).exists()
    removed = {("user.authenticator_removed", "totp"), ("user.authenticator_removed", "recovery_codes")}
    assert set(trail(ours.driver)) == added | removed


def test_new_recovery_codes(client, post, ours):
    TOTP.activate(ours.driver, generate_totp_secret())
    post("/accounts/2fa/recovery-codes/generate/")
    assert trail(ours.driver) == [("user.authenticator_reset", "recovery_codes")]
