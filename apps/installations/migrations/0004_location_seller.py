"""A location without a seller gets the operator's default one."""

from django.db import migrations, models


def take_default_seller(apps, schema_editor):
    seller = apps.get_model("accounts", "Seller")._base_manager
    default = seller.filter(operator=models.OuterRef("operator"), is_default=True, archived_at=None)
    places = apps.get_model("installations", "Location")._base_manager.filter(seller=None)
    places.update(seller=models.Subquery(default.values("pk")[:1]))


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial"), ("installations", "0003_connection_of_archived_station")]
    operations = [migrations.RunPython(take_default_seller, migrations.RunPython.noop)]
