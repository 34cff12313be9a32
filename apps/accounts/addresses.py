"""From which address somebody comes: the one rule for chargers and people, behind a proxy and without one."""

from __future__ import annotations

import ipaddress

from django.conf import settings
from django.http import HttpRequest


def client_address(peer: str, forwarded: str) -> str:
    """The address of who asks, from the connection's other end and the X-Forwarded-For header ("" without one).

    Only a proxy of ours (TRUSTED_PROXIES) is believed, and of its header only the last entry, which it wrote itself:
    what stands before may be made up.
    """
    told = _plain(forwarded.rpartition(",")[2].strip()) if peer in settings.TRUSTED_PROXIES else ""
    return told or peer


def address_of_request(request: HttpRequest) -> str:
    """The same for a request; "" where the server knows none."""
    return client_address(request.META.get("REMOTE_ADDR") or "", request.META.get("HTTP_X_FORWARDED_FOR", ""))


def _plain(entry: str) -> str:
    """An address without the port that some proxies add; "" where it is none."""
    bare = entry[1:].partition("]")[0] if entry.startswith("[") else entry
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return ""
