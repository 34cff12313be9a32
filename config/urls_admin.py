"""URLs of the admin host."""

from django.contrib import admin
from django.urls import include, path

from apps.backoffice.views import choose_operator

urlpatterns = [
    path("api/", include("apps.api.urls")),
    path("accounts/", include("config.urls_people")),
    path("choose-operator/", choose_operator, name="choose_operator"),
    path("", admin.site.urls),
]
handler403 = "apps.backoffice.views.forbidden"
handler404 = "apps.backoffice.views.not_found"
handler500 = "apps.backoffice.views.server_error"
