"""URLs of the admin host."""

from django.contrib import admin
from django.urls import include, path

from apps.backoffice.entrance import choose_operator

urlpatterns = [
    path("api/", include("apps.api.urls")),
    path("accounts/", include("config.urls_people")),
    path("choose-operator/", choose_operator, name="choose_operator"),
    path("", include("apps.backoffice.urls")),
    path("", include("apps.installations.urls")),
    path("", include("apps.tariffs.urls")),
    path("", admin.site.urls),
]
handler403 = "apps.backoffice.entrance.forbidden"
handler404 = "apps.backoffice.entrance.not_found"
handler500 = "apps.backoffice.entrance.server_error"
