"""API keys: `Authorization: Bearer vd_<prefix>_<secret>`. The key decides the operator, the host the brand."""

from __future__ import annotations

import hashlib
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, NotFound
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from apps.accounts import selectors
from apps.core.actor import Actor

SCHEME = "Bearer"


class ApiKeyAuthentication(BaseAuthentication):
    """Puts the key's Actor on the request. A key of another operator opens nothing on a brand's host."""

    def authenticate(self, request: Request) -> tuple[None, Actor] | None:
        scheme, _, secret = get_authorization_header(request).decode("latin-1").partition(" ")
        if not scheme:
            return None
        actor = (
            selectors.actor_of_api_key(secret.strip(), brand=request._request.brand)
            if scheme.lower() == SCHEME.lower()
            else None
        )
        if actor is None:
            if scheme.lower() == SCHEME.lower() and selectors.actor_of_api_key(secret.strip(), brand=None) is not None:
                raise NotFound  # a good key, on another operator's host
            raise AuthenticationFailed("This API key is not known here, has run out or was revoked.")
        request._request.actor = actor
        return None, actor

    def authenticate_header(self, request: Request) -> str:
        return SCHEME


class ApiKeyScheme(OpenApiAuthenticationExtension):
    """How the OpenAPI document describes it."""

    target_class = ApiKeyAuthentication
    name = "ApiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "vd_<prefix>_<secret>"}


class HoldsScope(BasePermission):
    """The key holds the permission that the view names for the action: `scopes = {"list": "app.view_model"}`.

    An action that is not named there is refused; OPTIONS, and methods that the view answers 405, need none.
    """

    message = "This API key does not have the scope for that."

    def has_permission(self, request: Request, view: Any) -> bool:
        if not isinstance(request.auth, Actor):
            return False
        if view.action in (None, "metadata"):
            return True
        return view.scopes.get(view.action) in request.auth.all_permissions


class KeyThrottle(SimpleRateThrottle):
    """So many requests a minute a key."""

    rate = "600/min"
    scope = "api"

    def get_cache_key(self, request: Request, view: Any) -> str | None:
        if not isinstance(request.auth, Actor):
            return None
        name = hashlib.blake2b(request.auth.label.encode(), digest_size=12).hexdigest()
        return f"api-throttle:{request.auth.operator_id}:{name}"
