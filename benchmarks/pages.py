"""Prices 100,000 sessions, then opens list pages of them, their CDRs and 2,000 stations, and counts the queries.

    python -m benchmarks.pages

The database that the settings name must be migrated and empty; `make bench ONLY=pages` sees to that.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import django

from benchmarks import fleet

STATIONS = 2_000
SESSIONS = 100_000
MOST_QUERIES = 50  # a page shows 50 to 100 rows: a query a row would be more
LONGEST_S = 2.0
EMAIL = "owner@bench.example"
HOST = "bench.localhost"


@dataclass
class Page:
    name: str
    url: str
    host: str
    headers: dict[str, str]


def make_sessions() -> None:
    from apps.cards.models import Token
    from apps.charging.models import Counter, Session, SessionLive
    from apps.installations.models import Connector

    now = dt.datetime.now(dt.UTC)
    tokens = list(Token.objects.unscoped("a benchmark").order_by("pk"))
    connectors = list(Connector.objects.unscoped("a benchmark").select_related("station"))
    rows = []
    for number in range(1, SESSIONS + 1):
        connector = connectors[number % len(connectors)]
        token = tokens[number % len(tokens)]
        started = now - dt.timedelta(minutes=number)
        rows.append(
            Session(
                id=number,
                operator_id=connector.operator_id,
                station=connector.station,
                connector=connector,
                connector_number=1,
                location_id=connector.station.location_id,
                token=token,
                uid=token.uid,
                transaction_id=number,
                start_key=f"bench-{number}",
                state="ended",
                started_at=started,
                start_received_at=started,
                meter_start_wh=1000,
                ended_at=started + dt.timedelta(hours=1),
                stop_received_at=started + dt.timedelta(hours=1),
                meter_stop_wh=12_000,
            )
        )
    Session.objects.bulk_create(rows, batch_size=1000)
    SessionLive.objects.bulk_create(
        (SessionLive(operator_id=one.operator_id, session=one, energy_wh=11_000) for one in rows), batch_size=1000
    )
    Counter.objects.update_or_create(name="session", defaults={"last": SESSIONS})


def settle() -> None:
    """A CDR for each session, by what makes them every minute."""
    from apps.charging import services

    began, now = time.perf_counter(), dt.datetime.now(dt.UTC)
    while services.find_unsettled(now=now, patience=dt.timedelta(0)):
        analyse()
        services.settle_due(now=now)
    rate = SESSIONS / (time.perf_counter() - began)
    print(f"  {SESSIONS:,} sessions priced, {rate:,.0f} a second", flush=True)


def analyse() -> None:
    """What autovacuum does every minute, where it runs."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def make_people() -> str:
    """An owner with a portal of its own; gives an API key."""
    from allauth.account.models import EmailAddress

    from apps.accounts.models import Brand, Operator, User
    from apps.accounts.permissions import API_SCOPES, Role
    from apps.accounts.services import create_api_key, grant_role, save_brand
    from apps.core.actor import Actor

    operator = Operator.objects.get()
    actor = Actor.system(operator)
    owner = User.objects.create_user(EMAIL)
    EmailAddress.objects.create(user=owner, email=EMAIL, verified=True, primary=True)
    grant_role(actor=actor, user=owner, operator=operator, role=Role.OWNER)
    save_brand(brand=Brand(operator=operator, host=HOST, name="Bench"), actor=actor)
    return create_api_key(actor=actor, operator=operator, name="Bench", scopes=sorted(API_SCOPES))[1]


def pages(api_key: str) -> Iterator[Page]:
    from django.conf import settings

    admin, keyed = settings.ADMIN_HOST, {"authorization": f"Bearer {api_key}"}
    yield Page("back office: dashboard", "/", admin, {})
    for model in (
        "charging/session",
        "charging/reviewitem",
        "charging/cdr",
        "charging/settlement",
        "contracts/contract",
        "tariffs/tariff",
        "billing/invoice",
        "installations/chargingstation",
        "installations/location",
        "cards/token",
    ):
        yield Page(f"back office: {model}", f"/{model}/", admin, {})
    yield Page("back office: session search", "/charging/session/?q=BENCH-77", admin, {})
    yield Page("back office: station search", "/installations/chargingstation/?q=BENCH-77", admin, {})
    for name in ("", "locations/", "chargers/", "sessions/", "cards/", "invoices/", "report/"):
        yield Page(f"portal: /{name}", f"/{name}", HOST, {})
    for name in ("stations", "sessions", "tokens", "review-items", "locations", "cdrs", "contracts", "invoices"):
        yield Page(f"API: {name}", f"/api/v1/{name}/", admin, keyed)


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    fleet.make(STATIONS)
    make_sessions()
    settle()
    api_key = make_people()
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from apps.accounts.models import User

    analyse()
    owner = User.objects.get(email=EMAIL)
    slow = 0
    for page in pages(api_key):
        client = Client(headers={"host": page.host, **page.headers})
        if not page.headers:
            client.force_login(owner, backend="allauth.account.auth_backends.AuthenticationBackend")
        answer: Any = client.get(page.url)  # the first one fills caches
        began = time.perf_counter()
        with CaptureQueriesContext(
            connection,
        ) as queries:
            answer = client.get(page.url)
        seconds = time.perf_counter() - began
        bad = answer.status_code != 200 or len(queries) > MOST_QUERIES or seconds > LONGEST_S
        slow += bad
        verdict = "NOT MET" if bad else "met"
        print(f"  {page.name:36}{answer.status_code:5}{len(queries):5} queries{seconds:8.2f} s   {verdict}", flush=True)
    print(f"  bars: 200, at most {MOST_QUERIES} queries and {LONGEST_S:g} s")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
