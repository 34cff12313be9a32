"""Is the process alive; can it work."""

from __future__ import annotations

from django.core.cache import cache
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse

from apps.ocpp import gateway


def live(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


def ready(request: HttpRequest) -> JsonResponse:
    """200 when the database and the cache answer and chargers are taken, else 503 with the reason. `dropped`: frames
    that this process could not use, by kind, since it started."""
    checks = {"database": _database(), "cache": _cache(), "gateway": "ok" if gateway.is_ready() else "closed"}
    good = all(answer == "ok" for answer in checks.values())
    told = {"status": "ok" if good else "unavailable", **checks, "dropped": gateway.dropped()}
    return JsonResponse(told, status=200 if good else 503)


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return "no answer"
    return "ok"


def _cache() -> str:
    try:
        cache.set("readyz", 1, 10)
    except Exception:  # the cache's library has no common error class
        return "no answer"
    return "ok"
