"""allauth's hooks: nobody signs up, people are invited; mails go through our own outbox; what people change about their
own access is kept."""

from __future__ import annotations

from typing import Any

from allauth.account import signals as account_signals
from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa import signals as mfa_signals
from allauth.mfa.models import Authenticator
from django.core.exceptions import PermissionDenied
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from apps.accounts import services
from apps.accounts.addresses import address_of_request
from apps.accounts.models import User


class AccountAdapter(DefaultAccountAdapter):
    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "too_many_login_attempts": _("Too many attempts to sign in. Wait five minutes, then try again."),
        "email_password_mismatch": _("E-mail or password is wrong. Check both, or ask for a new password."),
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """What attempts are counted by. allauth's own would count everybody behind a proxy as one."""
        address = address_of_request(request)
        if not address:
            raise PermissionDenied("the server knows no address of this client")
        return address

    def get_login_redirect_url(self, request: Any) -> str:
        return "/"

    def send_password_reset_mail(self, user: Any, email: str, context: dict[str, Any]) -> None:
        services.ask_password_reset(user=user, brand=self.request.brand)


# --- what people do to their own access, for the audit trail ----------------------------------------------------------
@receiver(account_signals.password_changed)
@receiver(account_signals.password_set)
def on_password_changed(user: User, **_signal: Any) -> None:
    services.record_own_access(user=user, action="password_changed")


@receiver(account_signals.password_reset)
def on_password_reset(user: User, **_signal: Any) -> None:
    services.record_own_access(user=user, action="password_reset")


@receiver(mfa_signals.authenticator_added)
def on_authenticator_added(user: User, authenticator: Authenticator, **_signal: Any) -> None:
    services.record_own_access(user=user, action="authenticator_added", what=authenticator.type)


@receiver(mfa_signals.authenticator_removed)
def on_authenticator_removed(user: User, authenticator: Authenticator, **_signal: Any) -> None:
    services.record_own_access(user=user, action="authenticator_removed", what=authenticator.type)


@receiver(mfa_signals.authenticator_reset)
def on_authenticator_reset(user: User, authenticator: Authenticator, **_signal: Any) -> None:
    services.record_own_access(user=user, action="authenticator_reset", what=authenticator.type)
