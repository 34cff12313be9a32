"""Browsers without a screen."""

from __future__ import annotations

from django.conf import settings
from django.test import Client

from apps.accounts.models import User


def desk_of(user: User | None) -> Client:
    """At the back office, signed in as somebody, or as nobody yet."""
    client = Client(headers={"host": settings.ADMIN_HOST})
    if user is not None:
        client.force_login(user)
    return client
