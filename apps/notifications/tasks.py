"""What the task cluster does for notifications."""

from __future__ import annotations

from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from django.urls import reverse

from apps.accounts import events as account_events
from apps.accounts.models import Brand, Invitation, Membership, Operator, User
from apps.accounts.selectors import public_url
from apps.accounts.services import invitation_token
from apps.core import events
from apps.notifications import services
from apps.notifications.events import MAIL_QUEUED

RESET_URLS = "config.urls_portal"


@events.on(account_events.INVITATION_MADE)
def mail_invitations(payloads: list[events.Payload]) -> None:
    """Write to the invited, in their own language where they have an account, else in the inviting side's."""
    for payload in payloads:
        invitation = (
            Invitation.objects.unscoped("a task writes to the invited")
            .select_related("operator", "organisation", "brand", "invited_by")
            .get(pk=payload["invitation_id"])
        )
        known = User.objects.filter(email=invitation.email).first()
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
    """Write the link for a new password."""
    for payload in payloads:
        user = User.objects.get(pk=payload["user_id"])
        brand = Brand.objects.unscoped("a task writes to a user").filter(pk=payload["brand_id"]).first()
        operator = brand.operator if brand else _operator_of(user)
        uid, token = user_pk_to_url_str(user), default_token_generator.make_token(user)
        path = reverse("account_reset_password_from_key", args=[uid, token], urlconf=RESET_URLS)
        language = user.language or (operator.language if operator else "en")
        context, link = {"user": user}, public_url(path, brand=brand)
        if operator is None:
            # Platform staff without a role at an operator: no tenant keeps their mail.
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


def _operator_of(user: User) -> Operator | None:
    roles = Membership.objects.unscoped("a task writes to a user").current().filter(user=user)
    first = roles.select_related("operator").order_by("pk").first()
    return first.operator if first else None
