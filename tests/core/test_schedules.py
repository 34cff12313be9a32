"""The scheduler's rows follow what tasks declare."""

from __future__ import annotations

import importlib

import pytest
from django.core.management import call_command
from django_q.models import Schedule

from apps.core import schedules

pytestmark = pytest.mark.django_db


def test_every_declared_task_has_its_row_after_a_migration_and_can_be_run():
    Schedule.objects.all().delete()
    call_command("migrate", verbosity=0)
    rows = {row.func: row.minutes for row in Schedule.objects.all()}
    assert rows["apps.charging.tasks.open_no_stop_items"] == 10
    assert rows == schedules._minutes
    for path in rows:
        module, _, function = path.rpartition(".")
        getattr(importlib.import_module(module), function)()


def test_a_row_is_brought_up_to_date_one_that_is_gone_removed_and_a_foreign_one_left_alone():
    schedules.write_schedules()
    name = "voltdesk.charging.tasks.open_no_stop_items"
    Schedule.objects.filter(name=name).update(minutes=99)
    Schedule.objects.create(name="voltdesk.gone", func="apps.gone", schedule_type=Schedule.MINUTES, minutes=1)
    Schedule.objects.create(name="by hand", func="apps.gone", schedule_type=Schedule.DAILY)
    before = Schedule.objects.get(name=name).next_run
    schedules.write_schedules()
    row = Schedule.objects.get(name=name)
    assert (row.minutes, row.next_run) == (10, before)
    assert not Schedule.objects.filter(name="voltdesk.gone").exists()
    assert Schedule.objects.filter(name="by hand").exists()
