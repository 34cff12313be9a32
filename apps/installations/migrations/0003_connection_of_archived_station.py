from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("installations", "0002_live_rows")]
    operations = [
        migrations.AlterField(
            model_name="connectioninterval",
            name="reason",
            field=models.CharField(
                blank=True,
                choices=[
                    ("closed", "closed by the charger"),
                    ("lost", "connection lost"),
                    ("replaced", "replaced by a newer connection"),
                    ("gateway lost", "gateway lost"),
                    ("drained", "gateway restarted"),
                    ("protocol", "broke the protocol"),
                    ("database", "database away"),
                    ("archived", "the charger was archived"),
                ],
                max_length=20,
                verbose_name="reason",
            ),
        )
    ]
