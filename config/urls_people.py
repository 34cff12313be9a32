"""Signing in, second factor, invitations, one's own settings: the same on the admin host and on a brand's."""

from django.urls import include, path, re_path

from apps.accounts import views

urlpatterns = [
    path("invited/<str:token>/", views.invitation, name="invitation"),
    path("profile/", views.profile, name="profile"),
    # An address is proven by an invitation; nobody gives themselves another one.
    re_path(r"^(?:confirm-)?email/", views.closed),
    path("", include("allauth.urls")),
]
