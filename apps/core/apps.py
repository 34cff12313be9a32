from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class CoreConfig(AppConfig):
    name = "apps.core"

    def ready(self) -> None:
        # Declared names first, so that a subscriber may name any app's event.
        autodiscover_modules("events")
        autodiscover_modules("tasks")
