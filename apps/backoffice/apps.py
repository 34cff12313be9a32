from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps
from django.utils.translation import gettext_lazy as _


class BackofficeConfig(AppConfig):
    name = "apps.backoffice"
    verbose_name = _("Back office")


class SiteConfig(admin_apps.AdminConfig):
    """Django's admin with our site behind every plain `@admin.register`."""

    default = False
    default_site = "apps.backoffice.sites.BackofficeSite"
