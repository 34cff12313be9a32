"""The outbox of e-mails: a mail is rendered and stored once, and sent by the task cluster, which tries again for some
hours where the mail server could not be reached or asked for patience."""

from __future__ import annotations

import datetime as dt
import smtplib
from email.headerregistry import Address
from typing import Any

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.db.models import Q
from django.template.loader import render_to_string
from django.utils import timezone, translation

from apps.accounts.models import Brand, Operator
from apps.accounts.selectors import public_url
from apps.accounts.services import record_audit
from apps.core.actor import Actor
from apps.core.events import publish
from apps.notifications import events
from apps.notifications.models import Mail, MailState

# Longer than one attempt can take, shorter than the cluster waits before it repeats a task that died.
CLAIM = dt.timedelta(seconds=150)
# After each try that failed for the time being; after the last one the mail has failed, 17 hours after the first.
PAUSES = tuple(dt.timedelta(minutes=minutes) for minutes in (5, 15, 60, 240, 720))
# A task that was to send a mail and did not for so long is taken for lost.
LOST = dt.timedelta(minutes=15)
REQUEUED_AT_ONCE = 200
SUBJECT_LENGTH = 200


@transaction.atomic
def queue_mail(
    *,
    key: str,
    kind: str,
    operator: Operator,
    recipient: str,
    language: str,
    brand: Brand | None,
    context: dict[str, Any],
    link: str = "",
) -> Mail:
    """Render `mail/<kind>.{subject.txt,txt,html}` in the recipient's language, store it, have it sent.

    `key` names the occasion: the same key makes one mail however often a task is repeated. `link` is a URL that opens
    something for whoever has it.
    """
    existing = Mail.objects.unscoped("the occasion's own mail").filter(operator=operator, key=key).first()
    if existing is not None:
        return existing
    subject, text, html = render_mail(kind=kind, language=language, brand=brand, context=context)
    mail = Mail(
        operator=operator,
        key=key,
        kind=kind,
        recipient=recipient,
        language=language,
        brand=brand,
        subject=subject,
        text=text,
        html=html,
        link=link,
        next_try_at=timezone.now() + LOST,
    )
    mail.full_clean()
    mail.save()
    publish(events.MAIL_QUEUED, mail_id=mail.pk)
    return mail


def render_mail(*, kind: str, language: str, brand: Brand | None, context: dict[str, Any]) -> tuple[str, str, str]:
    """Subject (one line), text and HTML of a mail."""
    full = {
        **context,
        "brand": brand,
        "sender": brand.name if brand else "Voltdesk",
        "home": public_url("/", brand=brand),
        "link": Mail.LINK_MARK,
    }
    with translation.override(language):
        subject, text, html = (
            render_to_string(f"mail/{kind}.{part}", full).strip() for part in ("subject.txt", "txt", "html")
        )
    return " ".join(subject.split())[:SUBJECT_LENGTH], text, html


def send_mail(*, mail_id: int) -> Mail:
    """Send a queued mail once. What the server answered is kept in `error`.

    The mail stays queued for another try where time may help, else it has failed.
    """
    now = timezone.now()
    own = Mail.objects.unscoped("a task sends it").filter(pk=mail_id)
    # A claim instead of a lock: no transaction stays open while a mail server is slow.
    free = Q(claimed_at=None) | Q(claimed_at__lt=now - CLAIM)
    claimed = own.filter(free, state=MailState.QUEUED).update(claimed_at=now)
    mail: Mail = own.select_related("brand").get()
    if not claimed:
        return mail
    try:
        deliver(
            subject=mail.subject,
            text=mail.text,
            html=mail.html,
            link=mail.link,
            recipient=mail.recipient,
            brand=mail.brand,
        )
    except Exception as error:  # whatever the mail server, or the way to it, did
        _note_failure(mail, error)
    else:
        mail.state, mail.error, mail.sent_at, mail.link = MailState.SENT, "", timezone.now(), ""
    mail.save(update_fields=["state", "error", "sent_at", "link", "failures", "next_try_at"])
    return mail


def _note_failure(mail: Mail, error: Exception) -> None:
    mail.error = f"{type(error).__name__}: {error}"[:2000]
    if mail.failures < len(PAUSES) and not is_final(error):
        mail.next_try_at = timezone.now() + PAUSES[mail.failures]
    else:
        mail.state = MailState.FAILED
    mail.failures += 1


def is_final(error: Exception) -> bool:
    """Whether a mail server refused the mail itself for good (5xx), or something is wrong that no pause mends.

    What concerns the way to the server, or us at its door (a refused sign-in too), may be mended before the next try.
    """
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return all(code >= 500 for code, _text in error.recipients.values())
    if isinstance(error, smtplib.SMTPSenderRefused | smtplib.SMTPDataError):
        return error.smtp_code >= 500
    return isinstance(error, smtplib.SMTPNotSupportedError) or not isinstance(error, OSError)


@transaction.atomic
def requeue_mails(*, now: dt.datetime) -> int:
    """Have those sent whose pause is over, and those whose task was lost; returns how many. Once in `LOST` each."""
    due = Mail.objects.unscoped("a task looks after all operators").filter(state=MailState.QUEUED, next_try_at__lte=now)
    ids = list(due.order_by("next_try_at").values_list("pk", flat=True)[:REQUEUED_AT_ONCE])
    due.filter(pk__in=ids).update(next_try_at=now + LOST)
    for mail_id in ids:  # a task each: a slow server would use up the time of one for all
        publish(events.MAIL_QUEUED, mail_id=mail_id)
    return len(ids)


@transaction.atomic
def resend_mail(*, actor: Actor, mail: Mail, why: str = "") -> Mail:
    """Try a failed mail again, as it was rendered."""
    failed = Mail.objects.visible_to(actor).filter(pk=mail.pk, state=MailState.FAILED)
    fresh = {"state": MailState.QUEUED, "failures": 0, "claimed_at": None, "next_try_at": timezone.now() + LOST}
    if failed.update(**fresh):
        record_audit(actor=actor, action="mail.resent", target=mail, before={"error": mail.error}, why=why)
        publish(events.MAIL_QUEUED, mail_id=mail.pk)
    mail.refresh_from_db()
    return mail


def deliver(*, subject: str, text: str, html: str, link: str, recipient: str, brand: Brand | None) -> None:
    """Hand a mail to the mail server, from the brand's sender. Raises what the server or the network raises."""
    message = EmailMultiAlternatives(subject, text.replace(Mail.LINK_MARK, link), sender_of(brand), [recipient])
    message.attach_alternative(html.replace(Mail.LINK_MARK, link), "text/html")
    message.send()


def sender_of(brand: Brand | None) -> str:
    """The From header: the brand's name and address, or the installation's own."""
    address = (brand and brand.email_from) or settings.DEFAULT_FROM_EMAIL
    name = (brand and (brand.email_name or brand.name)) or "Voltdesk"
    return str(Address(" ".join(name.split()), addr_spec=address))
