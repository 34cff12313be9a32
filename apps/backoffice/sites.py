"""The AdminSite behind every plain `@admin.register`."""

from unfold.sites import UnfoldAdminSite


class BackofficeSite(UnfoldAdminSite):
    """Voltdesk's back office."""
