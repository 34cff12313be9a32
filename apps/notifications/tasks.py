"""What the task cluster does for notifications."""

from __future__ import annotations

from allauth.account.utils import user_pk_to_url_str
from django.urls import reverse
from django.utils import timezone

from apps.accounts import events as account_events
from apps.accounts.models import Brand, Invitation, User
from apps.accounts.selectors import home_of_account, public_url, reset_tokens
from apps.accounts.services import invitation_token
from apps.core import events
from apps.core.actor import Actor
from apps.core.schedules import every
from apps.notifications import services
from apps.notifications.events import MAIL_QUEUED

RESET_URLS = "config.urls_portal"


@events.on(account_events.INVITATION_MADE)
def mail_invitations(payloads: list[events.Payload]) -> None:
    """Write to the invited, in their own language where they have a role with the operator already, else in the
    inviting side's: the e-mail is in the operator's list, and its language would tell of an account elsewhere."""
    for payload in payloads:
        invitation = (
            Invitation.objects.unscoped("a task writes to the invited")
            .select_related("operator", "organisation", "brand", "invited_by")
            .get(pk=payload["invitation_id"])
        )
        colleagues = User.objects.visible_to(Actor.system(invitation.operator))
        known = colleagues.filter(email=invitation.email).first()
        inviting = invitation.organisation or invitation.operator
        path = reverse("invitation", args=[invitation_token(invitation)], urlconf=RESET_URLS)
        services.queue_mail(
            key=f"invitation.{invitation.pk}",
            kind="invitation",
            operator=invitation.operator,
            recipient=invitation.email,
            language=(known and known.language) or inviting.language,
            brand=invitation.brand,
            context={"invitation": invitation, "inviting": inviting},
            link=public_url(path, brand=invitation.brand),
        )


@events.on(account_events.PASSWORD_RESET_ASKED)
def mail_password_resets(payloads: list[events.Payload]) -> None:
    """Write the link for a new password, to a host and in an operator's list that the person belongs to."""
    for payload in payloads:
        user = User.objects.get(pk=payload["user_id"])
        asked_on = Brand.objects.unscoped("where a user asked").filter(pk=payload["brand_id"]).first()
        operator, brand = home_of_account(user, asked_on=asked_on)
        uid, token = user_pk_to_url_str(user), reset_tokens(brand).make_token(user)
        path = reverse("account_reset_password_from_key", args=[uid, token], urlconf=RESET_URLS)
        language = user.language or (operator.language if operator else "en")
        context, link = {"user": user}, public_url(path, brand=brand)
        if operator is None:
            # Somebody without a role at an operator: no tenant keeps their mail.
            subject, text, html = services.render_mail(
                kind="password_reset", language=language, brand=brand, context=context
            )
            services.deliver(subject=subject, text=text, html=html, link=link, recipient=user.email, brand=brand)
            continue
        services.queue_mail(
            key=f"password_reset.{payload['request_id']}",
            kind="password_reset",
            operator=operator,
            recipient=user.email,
            language=language,
            brand=brand,
            context=context,
            link=link,
        )


@events.on(MAIL_QUEUED)
def send_mails(payloads: list[events.Payload]) -> None:
    """Send what is queued."""
    for payload in payloads:
        services.send_mail(mail_id=payload["mail_id"])


@every(minutes=5)
def requeue_mails() -> None:
    """Try again what could not be sent, and what nobody tried."""
    services.requeue_mails(now=timezone.now())
