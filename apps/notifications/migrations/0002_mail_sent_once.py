from django.db import migrations, models
from django.db.models.functions import Cast


def name_occasions(apps, schema_editor):
    mails = apps.get_model("notifications", "Mail").everything
    mails.update(key=Cast("public_id", models.CharField(max_length=80)))


class Migration(migrations.Migration):
    dependencies = [("notifications", "0001_initial")]

    operations = [
        migrations.AddField("mail", "key", models.CharField(default="", editable=False, max_length=80), preserve_default=False),
        migrations.AddField("mail", "link", models.CharField(blank=True, default="", editable=False, max_length=400), preserve_default=False),
        migrations.AddField("mail", "claimed_at", models.DateTimeField(editable=False, null=True)),
        migrations.AlterField("mail", "sent_at", models.DateTimeField(editable=False, null=True, verbose_name="sent at")),
        migrations.RunPython(name_occasions, migrations.RunPython.noop),
        migrations.AddConstraint("mail", models.UniqueConstraint(fields=["operator", "key"], name="mail_once")),
    ]
