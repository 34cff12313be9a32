"""A mail is written once, sent once, and a failure is kept with its reason."""

from __future__ import annotations

import datetime as dt
import socket

import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from django.utils import timezone

from apps.notifications import services
from apps.notifications.models import Mail, MailState
from tests.factories.tasks import run_tasks


def queue(tenant, key="one", **given):
    given = {"recipient": "reader@example.org", "language": "en", "brand": tenant.brand, "link": "https://x/y", **given}
    return services.queue_mail(
        key=key, kind="password_reset", operator=tenant.operator, context={"user": tenant.driver}, **given
    )


def test_a_queued_mail_is_sent_once_in_the_brand_s_name(ours):
    ours.brand.email_name, ours.brand.email_from = "Amber, Ümlaut", "hello@amber.example"
    ours.brand.save()
    queued = queue(ours)
    run_tasks()
    services.send_mail(mail_id=queued.pk)
    [message] = mail.outbox
    assert message.from_email == '"Amber, Ümlaut" <hello@amber.example>'
    assert "https://x/y" in message.body
    assert "https://x/y" in message.alternatives[0].content
    stored = Mail.everything.get()
    assert (stored.state, stored.error, stored.link) == (MailState.SENT, "", "")
    assert stored.sent_at is not None
    assert Mail.LINK_MARK in stored.text


def test_the_same_occasion_makes_one_mail(ours):
    assert queue(ours).pk == queue(ours).pk
    run_tasks()
    assert len(mail.outbox) == 1


@pytest.fixture
def no_mail_server(settings):
    """A port of this machine on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        settings.MAILERS = {
            "default": {
                "BACKEND": "django.core.mail.backends.smtp.EmailBackend",
                "OPTIONS": {"host": "127.0.0.1", "port": port, "timeout": 5},
            }
        }
        yield


def test_a_failure_is_kept_and_the_mail_can_be_sent_again(ours, system, no_mail_server, settings):
    queued = queue(ours)
    run_tasks()
    queued.refresh_from_db()
    assert queued.state == MailState.FAILED
    assert "ConnectionRefusedError" in queued.error

    settings.MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
    services.resend_mail(actor=system, mail=queued)
    run_tasks()
    queued.refresh_from_db()
    assert (queued.state, len(mail.outbox)) == (MailState.SENT, 1)


def test_a_mail_that_another_worker_sends_right_now_is_left_to_it(ours):
    queued = queue(ours)
    Mail.everything.filter(pk=queued.pk).update(claimed_at=timezone.now())
    services.send_mail(mail_id=queued.pk)
    assert mail.outbox == []
    Mail.everything.filter(pk=queued.pk).update(claimed_at=timezone.now() - services.CLAIM - dt.timedelta(seconds=1))
    services.send_mail(mail_id=queued.pk)
    assert len(mail.outbox) == 1


@pytest.mark.parametrize("recipient", ["a@b.example\nBcc: c@d.example", "nobody", "a@b.example, c@d.example"])
def test_a_recipient_is_one_address(ours, recipient):
    with pytest.raises(ValidationError):
        queue(ours, recipient=recipient)


def test_names_cannot_add_headers(ours):
    ours.brand.name = "Amber\r\nBcc: victim@example.org"
    queue(ours)
    run_tasks()
    sent = mail.outbox[0].message()
    assert sent["Bcc"] is None
    assert "\n" not in sent["From"]
    assert "\n" not in sent["Subject"]


def test_another_operator_s_mail_is_not_sent_again(ours, rival, system):
    theirs = queue(rival)
    Mail.everything.filter(pk=theirs.pk).update(state=MailState.FAILED)
    run_tasks()
    services.resend_mail(actor=system, mail=theirs)
    assert Mail.everything.get(pk=theirs.pk).state == MailState.FAILED


@pytest.mark.parametrize(("language", "word"), [("en", "Your new password"), ("de", "Ihr neues Passwort")])
def test_a_mail_is_written_in_its_reader_s_language(ours, language, word):
    assert queue(ours, language=language).subject == word
