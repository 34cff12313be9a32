"""A session that has no seller gets the one that its location has: a few rows a transaction, for gateways go on."""

from typing import Any

from django.db import migrations, models

CHUNK = 1000


def take_sellers_of_locations(apps: Any, schema_editor: Any) -> None:
    sessions = apps.get_model("charging", "Session")._base_manager
    place = apps.get_model("installations", "Location")._base_manager.filter(pk=models.OuterRef("location"))
    last = sessions.aggregate(last=models.Max("pk"))["last"] or 0
    for first in range(0, last + 1, CHUNK):
        chunk = sessions.filter(pk__gte=first, pk__lt=first + CHUNK, seller=None)
        chunk.update(seller=models.Subquery(place.values("seller")))


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("charging", "0004_session_seller"), ("installations", "0005_location_seller_required")]
    operations = [migrations.RunPython(take_sellers_of_locations, migrations.RunPython.noop)]
