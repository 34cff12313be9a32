from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('charging', '0002_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='sessionlive',
            name='register_at',
            field=models.DateTimeField(null=True, verbose_name='meter read at'),
        ),
    ]
