import django.db.models.deletion
import django.db.models.manager
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0001_initial'),
        ('installations', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='ProgressReport',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('about', models.CharField(choices=[('firmware', 'firmware update'), ('diagnostics', 'diagnostics')], max_length=20, verbose_name='about')),
                ('status', models.CharField(max_length=40, verbose_name='status')),
                ('received_at', models.DateTimeField(verbose_name='received at')),
                ('generation', models.BigIntegerField(verbose_name='connection number')),
                ('sequence', models.BigIntegerField()),
                ('operator', models.ForeignKey(editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.operator', verbose_name='operator')),
                ('station', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='progress_reports', to='installations.chargingstation', verbose_name='charger')),
            ],
            options={
                'verbose_name': 'progress report',
                'verbose_name_plural': 'progress reports',
                'abstract': False,
                'default_manager_name': 'everything',
                'indexes': [models.Index(fields=['station', '-received_at'], name='progress_report_station')],
                'constraints': [
                    models.UniqueConstraint(fields=('station', 'generation', 'sequence'), name='progress_report_once'),
                    models.CheckConstraint(condition=models.Q(('about__in', ['firmware', 'diagnostics'])), name='progress_report_about'),
                ],
            },
            managers=[
                ('everything', django.db.models.manager.Manager()),
            ],
        ),
    ]
