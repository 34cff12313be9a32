"""A tariff's own pages: what it says, its editor, publishing."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from apps.tariffs import views

app_name = "tariffs"
guarded = admin.site.admin_view

urlpatterns = [
    path("tariffs/<int:tariff_id>/", guarded(views.tariff_page), name="tariff"),
    path("tariffs/<int:tariff_id>/edit/", guarded(views.edit_draft), name="edit"),
    path("tariffs/<int:tariff_id>/publish/", guarded(views.publish), name="publish"),
]
