"""The operator's back office: the AdminSite, its navigation, the dashboard, admin pages that join apps. No query.

Beside the usual files: `sites`, `navigation` and `entrance` (the admin's frame; choosing an operator, error pages),
`attention` (what needs somebody, from all apps' selectors), `dashboard` (the first page), `commands` (what may be asked
of a charger, in words and forms).
"""
