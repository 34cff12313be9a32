"""The operators that exist get the standard VAT rates; new ones get them as they are made."""

from django.db import migrations

from apps.tariffs import vat


def add_rates(apps, schema_editor):
    operators = apps.get_model("accounts", "Operator").objects.values_list("pk", flat=True)
    rate = apps.get_model("tariffs", "VatRate")
    rate._base_manager.bulk_create(
        rate(operator_id=pk, country=country, vat_class="standard", percent=percent, valid_from=since)
        for pk in operators
        for country, rates in vat.STANDARD.items()
        for since, percent in rates
    )


class Migration(migrations.Migration):
    dependencies = [("tariffs", "0001_initial")]
    operations = [migrations.RunPython(add_rates, migrations.RunPython.noop)]
