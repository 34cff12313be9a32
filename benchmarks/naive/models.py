from __future__ import annotations

from django.db import models


class Charger(models.Model):
    identity = models.CharField(max_length=48, unique=True)
    last_seen_at = models.DateTimeField(null=True)


class Transaction(models.Model):
    charger = models.ForeignKey(Charger, on_delete=models.CASCADE)
    id_tag = models.CharField(max_length=20)
    meter_start = models.BigIntegerField()
    started_at = models.DateTimeField()


class SampledValue(models.Model):
    charger = models.ForeignKey(Charger, on_delete=models.CASCADE)
    transaction = models.ForeignKey(Transaction, on_delete=models.CASCADE)
    at = models.DateTimeField()
    measurand = models.CharField(max_length=60)
    phase = models.CharField(max_length=10, blank=True)
    unit = models.CharField(max_length=20)
    context = models.CharField(max_length=30)
    location = models.CharField(max_length=20)
    value = models.CharField(max_length=60)

    class Meta:
        indexes = [models.Index(fields=["transaction", "at"])]
