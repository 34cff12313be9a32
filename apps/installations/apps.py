from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _


class InstallationsConfig(AppConfig):
    name = "apps.installations"
    verbose_name = _("Installations")

    def ready(self) -> None:
        # What may be imported and exported, of every app.
        autodiscover_modules("kinds")
