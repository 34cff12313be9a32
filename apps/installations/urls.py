"""CSV in and out."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from apps.installations import views

app_name = "installations"
guarded = admin.site.admin_view

urlpatterns = [
    path("import/<slug:kind>/", guarded(views.import_page), name="import"),
    path("imports/<int:import_id>/", guarded(views.import_result), name="import_result"),
    path("export/<slug:kind>/", guarded(views.export), name="export"),
]
