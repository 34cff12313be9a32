"""A mail is written once, sent once, and a failure is kept with its reason."""

from __future__ import annotations

import datetime as dt

import pytest
import time_machine
from django.core import mail
from django.core.exceptions import ValidationError
from django.utils import timezone
from django_q.models import OrmQ

from apps.notifications import services
from apps.notifications.models import Mail, MailState
from apps.notifications.selectors import failed_mails
from tests.factories.mail_server import LOCAL, mail_server, no_mail_server
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
def unreachable(settings):
    with no_mail_server() as settings.MAILERS:
        yield


def requeue_after(clock, pause: dt.timedelta) -> int:
    """How many tries the schedule makes after the pause, and none a moment before."""
    clock.shift(pause - dt.timedelta(seconds=5))
    assert services.requeue_mails(now=timezone.now()) == 0
    clock.shift(dt.timedelta(seconds=10))
    requeued = services.requeue_mails(now=timezone.now())
    run_tasks()
    return requeued


@pytest.fixture
def clock():
    with time_machine.travel(timezone.now(), tick=False) as clock:
        yield clock


def test_a_refusal_is_kept_and_the_mail_can_be_sent_again(ours, system, settings):
    queued = queue(ours)
    with mail_server(RCPT="550 no such mailbox") as settings.MAILERS:
        run_tasks()
    queued.refresh_from_db()
    assert queued.state == MailState.FAILED
    assert "550" in queued.error

    settings.MAILERS = LOCAL
    services.resend_mail(actor=system, mail=queued)
    run_tasks()
    queued.refresh_from_db()
    assert (queued.state, len(mail.outbox)) == (MailState.SENT, 1)


def test_a_short_failure_of_the_mail_server_delays_a_mail_and_loses_none(ours, unreachable, settings, clock):
    queued = queue(ours)
    run_tasks()
    queued.refresh_from_db()
    assert queued.state == MailState.QUEUED
    assert "ConnectionRefusedError" in queued.error
    assert requeue_after(clock, services.PAUSES[0]) == 1

    settings.MAILERS = LOCAL
    assert requeue_after(clock, services.PAUSES[1]) == 1
    queued.refresh_from_db()
    assert (queued.state, queued.error, len(mail.outbox)) == (MailState.SENT, "", 1)
    clock.shift(dt.timedelta(days=30))
    assert services.requeue_mails(now=timezone.now()) == 0


def test_after_growing_pauses_a_mail_has_failed(ours, system, unreachable, clock):
    queued = queue(ours)
    run_tasks()
    assert list(services.PAUSES) == sorted(services.PAUSES)
    for pause in services.PAUSES:
        queued.refresh_from_db()
        assert queued.state == MailState.QUEUED
        assert requeue_after(clock, pause) == 1
    queued.refresh_from_db()
    assert queued.state == MailState.FAILED
    assert failed_mails(system, since=timezone.now() - dt.timedelta(minutes=1)) == 1
    assert failed_mails(system, since=timezone.now() + dt.timedelta(minutes=1)) == 0

    services.resend_mail(actor=system, mail=queued)
    run_tasks()
    queued.refresh_from_db()
    assert queued.state == MailState.QUEUED  # all tries once more


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        ({"RCPT": "451 greylisted, come back"}, MailState.QUEUED),
        ({"RCPT": "550 no such mailbox"}, MailState.FAILED),
        ({"MAIL": "452 no space"}, MailState.QUEUED),
        ({"MAIL": "550 not from here"}, MailState.FAILED),
        ({"END": "451 busy"}, MailState.QUEUED),
        ({"END": "554 spam"}, MailState.FAILED),
        ({"EHLO": "421 going down", "HELO": "421 going down"}, MailState.QUEUED),
        ({}, MailState.SENT),
    ],
)
def test_what_the_mail_server_refused_for_good_is_not_repeated(ours, settings, answers, state):
    queued = queue(ours)
    with mail_server(**answers) as settings.MAILERS:
        run_tasks()
    queued.refresh_from_db()
    assert queued.state == state


def test_a_mail_whose_task_was_lost_is_picked_up_again_once(ours, clock):
    queue(ours)
    OrmQ.objects.all().delete()
    assert requeue_after(clock, services.LOST) == 1
    assert services.requeue_mails(now=timezone.now()) == 0
    assert len(mail.outbox) == 1


def test_a_mail_that_waits_in_a_long_queue_is_not_queued_over_and_over(ours, clock):
    queue(ours)
    clock.shift(services.LOST)
    assert [services.requeue_mails(now=timezone.now()) for _ in range(2)] == [1, 0]
    run_tasks()
    assert len(mail.outbox) == 1


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
