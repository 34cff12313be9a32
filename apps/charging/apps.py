from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ChargingConfig(AppConfig):
    name = "apps.charging"
    verbose_name = _("Charging")

    def ready(self) -> None:
        from apps.charging import commands  # noqa: F401 - registers itself
