"""The ASGI application: pages, live hints and, on `/ocpp`, chargers."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
pages = get_asgi_application()

from channels.routing import ProtocolTypeRouter  # noqa: E402 - routing imports models, which need the apps ready

application = ProtocolTypeRouter({"http": pages})
