"""A membership has a page in the portal, so it gets an id that may leave the house."""

import uuid
from typing import Any

from django.db import migrations, models

CHUNK = 1000


def give_ids(apps: Any, schema_editor: Any) -> None:
    memberships = apps.get_model("accounts", "Membership")._base_manager
    while rows := list(memberships.filter(public_id=None).only("pk")[:CHUNK]):
        for row in rows:
            row.public_id = uuid.uuid4()
        memberships.bulk_update(rows, ["public_id"])


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]
    operations = [
        migrations.AddField(
            "membership",
            "public_id",
            models.UUIDField(verbose_name="public id", null=True, editable=False),
        ),
        migrations.RunPython(give_ids, migrations.RunPython.noop),
        migrations.AlterField(
            "membership",
            "public_id",
            models.UUIDField(verbose_name="public id", default=uuid.uuid4, unique=True, editable=False),
        ),
    ]
