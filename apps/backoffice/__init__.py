"""The operator's back office: the AdminSite, its navigation, the dashboard, admin pages that join apps. No query."""
