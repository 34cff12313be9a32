"""allauth's hooks: nobody signs up, people are invited; mails go through our own outbox."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from apps.accounts import services
from apps.core.addresses import address_of_request


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
