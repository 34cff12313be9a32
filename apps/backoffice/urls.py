"""Pages of the back office that join several apps, beside the admin's own."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from apps.backoffice import views

app_name = "backoffice"
guarded = admin.site.admin_view

urlpatterns = [
    path("chargers/add/", guarded(views.add_station), name="add_station"),
    path("chargers/<int:station_id>/", guarded(views.station_page), name="station"),
    path("chargers/<int:station_id>/messages/", guarded(views.station_messages), name="station_messages"),
    path(
        "chargers/<int:station_id>/configuration/", guarded(views.station_configuration), name="station_configuration"
    ),
    path("chargers/<int:station_id>/history/", guarded(views.station_history), name="station_history"),
    path("chargers/<int:station_id>/connect/", guarded(views.station_connecting), name="station_connecting"),
    path("chargers/<int:station_id>/key/", guarded(views.station_key), name="station_key"),
    path("chargers/<int:station_id>/trace/", guarded(views.station_trace), name="station_trace"),
    path("chargers/<int:station_id>/commands/<slug:action>/", guarded(views.station_command), name="station_command"),
    path("sessions/<int:session_id>/", guarded(views.session_page), name="session"),
]
