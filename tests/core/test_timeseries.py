"""Monthly partitions are made ahead; what waited in the default partition moves into its month."""

from __future__ import annotations

import datetime as dt

import pytest
from django.db import connection

from apps.charging.models import Reading
from apps.core import timeseries

FAR = dt.date(2031, 5, 14)


def reading_at(at: dt.datetime, **fields) -> Reading:
    key = {"station_id": 1, "connector_number": 1, "digest": fields.pop("digest", 1)}
    return Reading.objects.create(
        at=at, operator_id=1, received_at=at, generation=1, sequence=1, register_wh=5, **key, **fields
    )


def partition_of(reading: Reading) -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tableoid::regclass::text FROM charging_reading WHERE at = %s AND digest = %s",
            [reading.at, reading.digest],
        )
        return cursor.fetchone()[0]


def test_every_time_series_has_its_partition_column_in_its_key():
    models = timeseries.time_series_models()
    assert {model._meta.label for model in models} >= {"charging.Reading", "ocpp.Frame", "installations.StatusInterval"}
    for model in models:
        assert model.partition_by in [field.name for field in model._meta.pk_fields]
        assert not [field for field in model._meta.fields if field.is_relation]


@pytest.mark.django_db
def test_months_are_made_ahead_and_rows_that_waited_move_into_theirs():
    waiting = reading_at(dt.datetime(2031, 6, 30, 23, 59, 59, tzinfo=dt.UTC))
    next_month = reading_at(dt.datetime(2031, 7, 1, tzinfo=dt.UTC), digest=2)
    made = timeseries.ensure_months(today=FAR, ahead=1)
    if connection.vendor != "postgresql":
        assert made == []
        assert Reading.objects.unscoped("test").count() == 2
        return
    assert {"charging_reading_203105", "charging_reading_203106"} <= set(made)
    assert partition_of(waiting) == "charging_reading_203106"
    assert partition_of(next_month) == "charging_reading_default"
    assert timeseries.ensure_months(today=FAR, ahead=1) == []
    timeseries.ensure_months(today=FAR, ahead=2)
    assert partition_of(next_month) == "charging_reading_203107"
    assert Reading.objects.unscoped("test").count() == 2


@pytest.mark.django_db
def test_a_new_database_has_this_month_and_the_next_three():
    if connection.vendor != "postgresql":
        assert timeseries.ensure_months(today=FAR) == []
        return
    today = dt.datetime.now(dt.UTC).date()
    assert timeseries.ensure_months(today=today) == []
    assert partition_of(reading_at(dt.datetime.now(dt.UTC), digest=3)) == f"charging_reading_{today:%Y%m}"
