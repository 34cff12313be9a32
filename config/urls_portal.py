"""URLs of a brand's host."""

from django.urls import include, path

urlpatterns = [path("accounts/", include("allauth.urls"))]
