"""URLs of a brand's host."""

from django.urls import include, path

from apps.accounts import views as accounts

urlpatterns = [
    path("api/", include("apps.api.urls")),
    path("accounts/", include("config.urls_people")),
    path("brand.css", accounts.brand_css, name="brand_css"),
    path("brand/<str:name>", accounts.brand_logo, name="brand_logo"),
    path("", include("apps.portal.urls")),
]
handler404 = "apps.portal.views.not_found"
handler500 = "apps.portal.views.server_error"
