"""What a page says that is not there, or that failed."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """The portal's 404, which says as much as that."""
    return render(request, "portal/not_found.html", status=404)


def server_error(request: HttpRequest) -> HttpResponseBase:
    """The portal's 500."""
    return render(request, "portal/server_error.html", status=500)
