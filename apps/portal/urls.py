"""Pages of a brand's portal."""

from django.urls import path

from apps.portal import views

app_name = "portal"
urlpatterns = [
    path("", views.home, name="home"),
    path("locations/", views.locations, name="locations"),
    path("locations/<uuid:public_id>/", views.location, name="location"),
    path("chargers/", views.stations, name="stations"),
    path("chargers/<uuid:public_id>/", views.station, name="station"),
    path("sessions/", views.sessions, name="sessions"),
    path("sessions/<uuid:public_id>/", views.session, name="session"),
]
