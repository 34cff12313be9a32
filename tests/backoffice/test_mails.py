"""A mail that the mail server refused is seen, and sent again by a button."""

from __future__ import annotations

import datetime as dt

import pytest
from django.urls import reverse
from django.utils import timezone

from apps.accounts.models import AuditEntry
from apps.accounts.permissions import Role
from apps.core.actor import Actor
from apps.notifications.models import Mail, MailState
from tests.factories.accounts import MembershipFactory

URLS = "config.urls_admin"


@pytest.fixture
def failed(ours) -> Mail:
    return Mail.objects.create(
        operator=ours.operator, kind="invitation", recipient="a@example.org", language="en", subject="Come in",
        text="…", state=MailState.FAILED, error="SMTP: 550 no such mailbox",
    )  # fmt: skip


def test_a_refused_mail_is_sent_again_with_a_reason(desk, ours, failed):
    page = reverse("admin:notifications_mail_change", args=[failed.pk], urlconf=URLS)
    client = desk(ours.owner)
    shown = client.get(page).content.decode()
    assert "550 no such mailbox" in shown
    button = reverse("admin:notifications_mail_send_again", args=[failed.pk], urlconf=URLS)
    assert button in shown
    assert client.post(button, {"why": ""}).status_code == 200
    failed.refresh_from_db()
    assert failed.state == MailState.FAILED
    client.post(button, {"why": "mailbox exists now"})
    failed.refresh_from_db()
    assert failed.state == MailState.QUEUED
    assert button not in client.get(page).content.decode()
    entry = AuditEntry.objects.visible_to(Actor.system(ours.operator)).get(action="mail.resent")
    assert (entry.why, entry.before) == ("mailbox exists now", {"error": "SMTP: 550 no such mailbox"})


def test_a_rival_cannot_send_it(desk, rival, failed):
    button = reverse("admin:notifications_mail_send_again", args=[failed.pk], urlconf=URLS)
    assert desk(rival.owner).post(button, {"why": "x"}).status_code == 404


def test_operations_see_what_failed_after_a_weekend_and_how_often_it_was_tried(desk, ours):
    person = MembershipFactory(operator=ours.operator, role=Role.OPERATIONS).user
    now = timezone.now()
    mail = Mail.objects.create(
        operator=ours.operator, kind="invitation", recipient="a@example.org", language="en", subject="Come in",
        text="…", state=MailState.FAILED, error="ConnectionRefusedError: …", failures=6,
        claimed_at=now - dt.timedelta(days=3),
    )  # fmt: skip
    Mail.everything.filter(pk=mail.pk).update(created_at=now - dt.timedelta(days=30))
    client = desk(person)
    assert "1 e-mail could not be sent" in client.get("/").text
    shown = client.get(reverse("admin:notifications_mail_change", args=[mail.pk], urlconf=URLS)).text
    assert "Failed tries" in shown
    assert reverse("admin:notifications_mail_send_again", args=[mail.pk], urlconf=URLS) in shown
