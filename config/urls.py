"""The root: the host decides which of these answers (`apps.accounts.middleware.HostMiddleware`).

`urls_admin` the back office · `urls_portal` a brand's portal · `urls_health` any host
"""

from config.urls_admin import urlpatterns

__all__ = ["urlpatterns"]
