from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules

from apps.core.schedules import write_schedules


class CoreConfig(AppConfig):
    name = "apps.core"

    def ready(self) -> None:
        # Declared names first, so that a subscriber may name any app's event.
        autodiscover_modules("events")
        autodiscover_modules("tasks")
        post_migrate.connect(write_schedules, sender=self, dispatch_uid="schedules")
