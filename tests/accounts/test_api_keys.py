"""Machines have keys with a part of their maker's rights."""

from __future__ import annotations

import datetime as dt

import pytest
import time_machine
from django.utils import timezone

from apps.accounts import selectors, services
from apps.accounts.models import ApiKey
from apps.core.actor import Actor, Kind

READ = "installations.view_chargingstation"


@pytest.fixture
def maker(ours) -> Actor:
    return Actor(
        kind=Kind.SESSION,
        operator_id=ours.operator.pk,
        user=ours.owner,
        permissions=frozenset({READ, "cards.view_token"}),
        operator_wide=True,
    )


def make(maker, tenant, scopes=(READ,), **given):
    return services.create_api_key(actor=maker, operator=tenant.operator, name="ERP", scopes=scopes, **given)


def test_a_key_acts_with_its_scopes_for_its_operator(ours, maker):
    key, secret = make(maker, ours)
    actor = selectors.actor_of_api_key(secret, brand=None)
    assert (actor.kind, actor.operator_id, actor.permissions) == (Kind.API_KEY, ours.operator.pk, frozenset({READ}))
    assert actor.operator_wide
    assert secret.startswith(f"vd_{key.prefix}_")
    assert secret.split("_")[2] not in str(ApiKey.everything.filter(pk=key.pk).values().get())


def test_a_key_has_no_right_that_its_maker_lacks(ours, rival, maker):
    with pytest.raises(services.CannotGrantRole):
        make(maker, ours, scopes=["cards.change_token"])
    with pytest.raises(services.CannotGrantRole):
        make(maker, rival)
    with pytest.raises(services.CannotGrantRole):
        make(maker, ours, organisation=rival.fleet)


def test_a_key_of_an_organisation_stays_inside_it(ours, maker):
    _, secret = make(maker, ours, organisation=ours.fleet)
    actor = selectors.actor_of_api_key(secret, brand=None)
    assert not actor.operator_wide
    assert dict(actor.organisations) == {ours.fleet.pk: frozenset({READ})}


def test_a_key_opens_its_operator_s_hosts_alone(ours, rival, maker):
    _, wide = make(maker, ours)
    assert selectors.actor_of_api_key(wide, brand=ours.brand).operator_wide
    assert selectors.actor_of_api_key(wide, brand=rival.brand) is None
    on_fleet = selectors.actor_of_api_key(wide, brand=ours.fleet_brand)
    assert (on_fleet.operator_wide, set(on_fleet.organisations)) == (False, {ours.fleet.pk})


@pytest.mark.parametrize(
    "bend",
    [
        lambda secret: secret[:-1] + ("0" if secret[-1] != "0" else "1"),
        lambda secret: secret.replace("vd_", "xx_"),
        lambda secret: secret[:0],
        lambda secret: secret[:3],
        lambda secret: secret[:3] + "0" * 10 + "_" + "0" * 40,
        lambda secret: secret + "\x00",
        lambda secret: "💥".join(secret),
    ],
)
def test_what_is_not_the_key_opens_nothing(ours, maker, bend):
    _, secret = make(maker, ours)
    assert selectors.actor_of_api_key(bend(secret), brand=None) is None


def test_a_revoked_or_expired_key_opens_nothing(ours, maker):
    key, secret = make(maker, ours)
    services.revoke_api_key(actor=maker, key=key)
    assert selectors.actor_of_api_key(secret, brand=None) is None
    _, brief = make(maker, ours, expires_at=timezone.now() + dt.timedelta(minutes=1))
    with time_machine.travel(timezone.now() + dt.timedelta(minutes=2)):
        assert selectors.actor_of_api_key(brief, brand=None) is None


@pytest.mark.parametrize(("overlap", "old_works"), [(dt.timedelta(), False), (dt.timedelta(hours=1), True)])
def test_a_rotated_key_gives_way_at_once_or_after_the_overlap(ours, maker, overlap, old_works):
    key, old = make(maker, ours)
    fresh, new = services.rotate_api_key(actor=maker, key=key, overlap=overlap)
    assert (fresh.name, fresh.scopes) == (key.name, key.scopes)
    assert selectors.actor_of_api_key(new, brand=None) is not None
    assert (selectors.actor_of_api_key(old, brand=None) is not None) is old_works
    with time_machine.travel(timezone.now() + dt.timedelta(hours=2)):
        assert selectors.actor_of_api_key(old, brand=None) is None


def test_last_use_is_written_once_a_minute(ours, maker, django_assert_num_queries):
    key, secret = make(maker, ours)
    selectors.actor_of_api_key(secret, brand=None)
    first = ApiKey.everything.get(pk=key.pk).last_used_at
    with django_assert_num_queries(1):
        selectors.actor_of_api_key(secret, brand=None)
    with time_machine.travel(timezone.now() + dt.timedelta(seconds=61)):
        selectors.actor_of_api_key(secret, brand=None)
    assert ApiKey.everything.get(pk=key.pk).last_used_at > first
