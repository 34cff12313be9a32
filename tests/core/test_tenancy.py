"""Tenancy holds by construction: unscoped reads raise, scoped ones see one tenant."""

from __future__ import annotations

import pytest
from django.apps import apps

from apps.core.actor import Actor
from apps.core.models import TenantModel
from apps.core.querysets import UnscopedRead
from apps.installations.models import Location
from tests.factories.cast import CANARY

TENANT_MODELS = [model for model in apps.get_models() if issubclass(model, TenantModel)]

READS = [
    list,
    lambda rows: rows.count(),
    lambda rows: rows.exists(),
    lambda rows: rows.first(),
    lambda rows: rows.update(pk=1),
    lambda rows: rows.delete(),
    lambda rows: list(rows.values("pk")),
    lambda rows: list(rows.iterator()),
    lambda rows: rows.aggregate(),
    lambda rows: list(Location.objects.unscoped("outer").filter(pk__in=rows)),
]


@pytest.mark.parametrize("model", TENANT_MODELS, ids=lambda model: model._meta.label)
def test_an_unscoped_read_raises(db, model):
    for read in READS:
        with pytest.raises(UnscopedRead):
            read(model.objects.all())


def test_an_operator_sees_its_own_rows_only(ours, rival):
    names = [str(location) for location in Location.objects.visible_to(Actor.system(ours.operator))]
    assert names == ["Amber Depot"]
    assert CANARY not in "".join(names)
