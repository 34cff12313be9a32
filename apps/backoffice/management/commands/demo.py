"""`manage.py demo`: the demo data, loaded into an empty embedded database over real websockets, priced and billed."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from apps.accounts.models import Operator
from apps.billing.services import continue_drafting, continue_finalising, finalise_run, start_run
from apps.charging import services as charging
from apps.core.actor import Actor
from apps.ocpp.demo import loading_mark, make_tenants, replay_month
from apps.ocpp.models import GatewayLease, OperatorKey
from apps.ocpp.services import is_dead

READY_S = 30.0
WHY = "demo data"


class Command(BaseCommand):
    help = "Load the demo data into the embedded database, which must have no operator yet."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reset", action="store_true", help="make the embedded database anew first")
        parser.add_argument(
            "--days", type=int, help="how long the chargers have lived, by default all of last month and since"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        file = _embedded_file()
        mark = loading_mark()
        if mark.exists():
            self._say("The demo was not loaded to its end; it is made anew")
        if options["reset"] or mark.exists():
            self._make_anew(file)
        if Operator.objects.exists():
            raise CommandError("There is data already. `make demo` makes the demo anew, and deletes what is there.")
        mark.touch()
        began, now = time.monotonic(), dt.datetime.now(dt.UTC)
        make_tenants(now, self._say)
        keys = OperatorKey.objects.unscoped("both operators of the demo").select_related("operator")
        url_keys = {key.operator.slug: key.key for key in keys}
        connection.close()
        secret = settings.EMBEDDED_SECRETS["DEMO_STATION_KEY"]
        with _gateway() as port:
            url = f"ws://127.0.0.1:{port}/ocpp"
            asyncio.run(replay_month(url, url_keys, secret, now, self._progress, days=options["days"]))
        self._bill()
        mark.unlink()
        self._say(f"The demo is loaded after {time.monotonic() - began:.0f} s")

    def _bill(self) -> None:
        """Price all of it and bill the last calendar month, by what does it every day."""
        now = dt.datetime.now(dt.UTC)
        while charging.find_unsettled(now=now, patience=dt.timedelta(0)):
            self._say("Pricing the sessions")
            charging.settle_due(now=now)
        for operator in Operator.objects.order_by("pk"):
            self._say(f"Billing the last month of {operator}")
            actor = Actor.system(operator, why=WHY)
            run = start_run(actor=actor, period=(now.date().replace(day=1) - dt.timedelta(days=1)).replace(day=1))
            continue_drafting(run_id=run.pk)
            finalise_run(actor=actor, run=run, why=WHY)
            continue_finalising(run_id=run.pk)

    def _make_anew(self, file: Path) -> None:
        connection.ensure_connection()
        if "ocpp_gatewaylease" in connection.introspection.table_names():
            now, host = dt.datetime.now(dt.UTC), socket.gethostname()
            if not all(is_dead(lease, now, host) for lease in GatewayLease.objects.all()):
                raise CommandError("Voltdesk is running on this database. End it first (Ctrl-C), then try again.")
        connection.close()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{file}{suffix}").unlink(missing_ok=True)
        cache.clear()
        self._say("Preparing the database")
        call_command("migrate", interactive=False, verbosity=0)

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()

    def _progress(self, done: int, total: int) -> None:
        """A line that is written over in a terminal; elsewhere one a tenth."""
        text = f"A month of messages: {done:,} of {total:,}"
        if self.stdout.isatty():
            self.stdout.write(f"\r{text}", ending="\n" if done == total else "")
            self.stdout.flush()
        elif (tenth := done * 10 // total) > self._tenth:
            self._tenth = tenth
            self._say(text)

    _tenth = 0


def _embedded_file() -> Path:
    """The embedded installation's database file. Raises CommandError where the settings name any other database."""
    name = str(settings.DATABASES["default"]["NAME"])
    file = Path(settings.VAR_DIR) / "voltdesk.sqlite3"
    if settings.PRODUCTION or connection.vendor != "sqlite" or Path(name) != file:
        raise CommandError("Demo data go into the embedded database alone, never into another one.")
    return file


@contextlib.contextmanager
def _gateway() -> Iterator[int]:
    """A gateway of this command's own on a free loopback port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "manage.py", "gateway", "--port", str(port)]
    process = subprocess.Popen(command, cwd=settings.BASE_DIR)  # noqa: S603 - no word of it comes from outside
    try:
        _wait_until_ready(process, port)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise CommandError("The gateway did not start.")
