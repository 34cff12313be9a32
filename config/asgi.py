"""The ASGI applications: `application` for pages, live hints and, on `/ocpp`, chargers; `chargers` for chargers alone.

They are served by `manage.py serve` and `manage.py gateway`, which own the start and the end of the gateway.
"""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django = get_asgi_application()

from channels.routing import ProtocolTypeRouter  # noqa: E402 - routing imports models, which need the apps ready

from config import routing  # noqa: E402

application = ProtocolTypeRouter({"http": routing.pages(django), "websocket": routing.websockets(routing.WEBSOCKETS)})
chargers = ProtocolTypeRouter(
    {
        "http": routing.health_only(django),
        "websocket": routing.websockets({routing.CHARGERS: routing.WEBSOCKETS[routing.CHARGERS]}),
    }
)
