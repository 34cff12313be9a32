"""Pages that every host has: accepting an invitation, one's own settings, a brand's colours and logo."""

from __future__ import annotations

import hashlib
from typing import cast

from allauth.account.internal.flows.login import record_authentication
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import get_conditional_response
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_safe

from apps.accounts import selectors, services
from apps.accounts.forms import NewPersonForm, ProfileForm
from apps.accounts.models import User

ASSET_SECONDS = 300


@never_cache
@sensitive_post_parameters("password")
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Accept an offered role: as who is signed in, as somebody who signs in first, or as a new person."""
    offer = selectors.invitation_of_token(token)
    if offer is None or not selectors.answers_here(offer, brand=request.brand):
        raise Http404("invitation")
    signed_in = request.user if request.user.is_authenticated else None
    form = NewPersonForm(request.POST if request.method == "POST" and signed_in is None else None)
    problem = ""
    if request.method == "POST" and (signed_in is not None or form.is_valid()):
        try:
            user = services.accept_invitation(
                token=token, user=signed_in, **(form.cleaned_data if not signed_in else {})
            )
        except ValidationError as error:
            problem = " ".join(error.messages)
        else:
            return _welcome(request, user, fresh=signed_in is None)
    context = {
        "invitation": offer,
        "inviting": offer.organisation or offer.operator,
        "open": selectors.is_open(offer),
        "form": form,
        "problem": problem,
        "known": User.objects.filter(email=offer.email).exists(),
        "fits": signed_in is not None and signed_in.email.lower() == offer.email,
        "here": request.get_full_path(),
    }
    return render(request, "account/invitation.html", context, status=200 if context["open"] else 410)


def _welcome(request: HttpRequest, user: User, *, fresh: bool) -> HttpResponse:
    if fresh:
        login(request, user, backend="allauth.account.auth_backends.AuthenticationBackend")
        record_authentication(request, user, method="password", email=user.email)
    messages.success(request, _("Welcome. Your access is ready."))
    return HttpResponseRedirect("/")


@login_required
def profile(request: HttpRequest) -> HttpResponse:
    """One's own name and language; ways to password and second factor."""
    user = cast("User", request.user)
    form = ProfileForm(
        request.POST if request.method == "POST" else None, initial={"name": user.name, "language": user.language}
    )
    if request.method == "POST" and form.is_valid():
        services.save_profile(user=user, **form.cleaned_data)
        messages.success(request, _("Saved."))
        return HttpResponseRedirect(reverse("profile"))
    manages = selectors.manages_people(request.actor)
    return render(request, "account/profile.html", {"form": form, "manages_people": manages})


def closed(request: HttpRequest) -> HttpResponse:
    """A page of allauth's that is no page of ours."""
    raise Http404(request.path)


@require_safe
def brand_css(request: HttpRequest) -> HttpResponse:
    """The brand's accents as custom properties; every other colour is in tokens.css."""
    brand = request.brand
    body = f":root {{ --accent: light-dark({brand.accent_light}, {brand.accent_dark}); }}\n"
    etag = f'"{hashlib.sha256(body.encode()).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": f"public, max-age={ASSET_SECONDS}", "Vary": "Host"}
    fresh = HttpResponse(body, content_type="text/css; charset=utf-8", headers=headers)
    response = get_conditional_response(request, etag=etag, response=fresh)
    assert isinstance(response, HttpResponse)
    return response


@require_safe
def brand_logo(request: HttpRequest, name: str) -> FileResponse:
    """A logo of this host's brand, by the random name under which it is stored."""
    for logo in (request.brand.logo_light, request.brand.logo_dark):
        if logo and logo.name == f"brands/{name}":
            headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
            return FileResponse(logo.open("rb"), content_type="image/png", headers=headers)
    raise Http404("logo")
