"""`manage.py serve`: pages and chargers on one port (daphne)."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from apps.ocpp.servers import Daphne


class Command(BaseCommand):
    help = "Serve pages and chargers on one port until SIGTERM or Ctrl-C."
    requires_system_checks = ["gateway"]

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        parser.add_argument("--port", type=int, default=settings.PORT, help="port (default: %(default)s)")

    def handle(self, *args: Any, **options: Any) -> None:
        from config.asgi import application

        Daphne(application, host=options["host"], port=options["port"]).run()
