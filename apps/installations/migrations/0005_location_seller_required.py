import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("installations", "0004_location_seller")]
    operations = [
        migrations.AlterField(
            model_name="location",
            name="seller",
            field=models.ForeignKey(
                help_text="Who sells what is charged here: its VAT registration and name are on the invoices.",
                on_delete=django.db.models.deletion.PROTECT,
                related_name="locations",
                to="accounts.seller",
                verbose_name="seller",
            ),
        ),
    ]
