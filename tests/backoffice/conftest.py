from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from allauth.account.authentication import AUTHENTICATION_METHODS_SESSION_KEY
from allauth.account.internal.flows.login import record_authentication
from django.test import Client, RequestFactory

from apps.accounts.models import User
from tests.factories.clients import desk_of

Desk = Callable[..., Client]


@pytest.fixture
def desk() -> Desk:
    """A browser at the back office, signed in as the user; `second_factor` as if a code had been asked for."""

    def sign_in(user: User | None = None, *, second_factor: bool = False) -> Client:
        client = desk_of(user)
        if user is not None and second_factor:
            request = RequestFactory().get("/")
            request.user, request.session = user, client.session
            record_authentication(request, user, "mfa", type="totp")
            assert request.session[AUTHENTICATION_METHODS_SESSION_KEY][0]["at"] <= time.time()
            request.session.save()
        return client

    return sign_in
