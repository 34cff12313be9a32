"""The operator's back office: the AdminSite, its navigation, the dashboard, and admin pages that join apps. Holds no query."""
