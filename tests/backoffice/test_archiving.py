"""An organisation goes when nothing of it counts for anybody any more."""

from __future__ import annotations

import datetime as dt
import re

import pytest
from django.utils import timezone

from apps.accounts import services
from apps.accounts.models import ApiKey, Brand, Invitation, Membership, Organisation, Seller
from apps.accounts.permissions import Role
from apps.cards.models import Token
from apps.contracts.models import Party
from apps.installations.models import Location
from tests.factories.accounts import SellerFactory
from tests.factories.cards import TokenFactory


@pytest.fixture
def busy(ours, system) -> Organisation:
    """A fleet of which there is one of everything, and two members; and what tells of the past only."""
    fleet, mine = ours.fleet, {"operator": ours.operator, "organisation": ours.fleet}
    scopes = ["cards.view_token"]
    services.create_api_key(actor=system, operator=ours.operator, name="Books", scopes=scopes, organisation=fleet)
    services.invite_person(
        actor=system, operator=ours.operator, email="new@example.org", role=Role.DRIVER, organisation=fleet
    )
    SellerFactory(**mine)
    Party.objects.create(**mine, name="Amber Logistics GmbH")
    TokenFactory(**mine, state=Token.State.LOST)
    TokenFactory(**mine, expires_at=timezone.now() - dt.timedelta(days=1))
    return fleet


def archive(client, organisation) -> str:
    answer = client.post(f"/accounts/organisation/{organisation.pk}/archive/", {"why": "They left."}, follow=True)
    organisation.refresh_from_db()
    return answer.text


def test_what_still_counts_is_named_and_one_click_away(desk, ours, busy):
    client = desk(ours.owner)
    told = archive(client, busy)
    assert busy.archived_at is None
    links = dict(re.findall(r'<a class="underline" href="([^"]+)">([^<]+)</a>', told))
    assert sorted(links.values()) == [
        "1 API key", "1 brand", "1 card", "1 invitation", "1 location", "1 party", "1 seller", "2 memberships",
    ]  # fmt: skip
    for link, text in links.items():
        assert client.get(link.replace("&amp;", "&")).status_code == 200, text


def test_it_goes_when_all_that_has_ended(desk, ours, busy):
    now = timezone.now()
    Membership.everything.filter(organisation=busy).update(ended_at=now)
    ApiKey.everything.filter(organisation=busy).update(revoked_at=now)
    Invitation.everything.filter(organisation=busy).update(revoked_at=now)
    for model, name in ((Seller, "organisation"), (Party, "organisation"), (Location, "host")):
        model.everything.filter(**{name: busy}).update(archived_at=now)
    Token.everything.filter(organisation=busy).update(state=Token.State.BLOCKED)
    client = desk(ours.owner)
    assert "1 brand" in archive(client, busy)
    Brand.everything.filter(organisation=busy).update(organisation=None)
    assert "Archived." in archive(client, busy)
    assert busy.archived_at is not None


def test_what_others_have_is_in_nobody_s_way(desk, ours, rival, busy):
    free = Organisation.objects.create(operator=ours.operator, name="Left long ago")
    archive(desk(ours.owner), free)
    assert free.archived_at is not None
