"""What answers on every host."""

from django.urls import path

from apps.api import health

urlpatterns = [path("healthz", health.live), path("readyz", health.ready)]
