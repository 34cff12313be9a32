"""`/api/v1/` on the admin host and on every brand's."""

from __future__ import annotations

from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.routers import SimpleRouter

from apps.api import problems, views

router = SimpleRouter(use_regex_path=False)
for prefix, view in {
    "locations": views.LocationViewSet,
    "stations": views.StationViewSet,
    "tokens": views.TokenViewSet,
    "sessions": views.SessionViewSet,
    "cdrs": views.CdrViewSet,
    "tariffs": views.TariffViewSet,
    "contracts": views.ContractViewSet,
    "invoices": views.InvoiceViewSet,
    "review-items": views.ReviewItemViewSet,
    "handshakes": views.HandshakeViewSet,
    "commands": views.CommandViewSet,
}.items():
    router.register(prefix, view, basename=prefix)

app_name = "api"
urlpatterns = [
    path("v1/schema/", SpectacularAPIView.as_view(authentication_classes=(), permission_classes=()), name="schema"),
    path(
        "v1/docs/",
        SpectacularSwaggerSplitView.as_view(url_name="api:schema", authentication_classes=(), permission_classes=()),
        name="docs",
    ),
    path("v1/", include(router.urls)),
    re_path(r"", problems.not_found, name="nothing"),
]
