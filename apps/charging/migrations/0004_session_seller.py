import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0003_billing"), ("charging", "0003_cdr")]
    operations = [
        migrations.AddField(
            model_name="session",
            name="seller",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="accounts.seller",
                verbose_name="seller",
            ),
        )
    ]
