"""What platform staff say about an operator is what its pages can work with."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from apps.accounts.models import Operator
from apps.accounts.permissions import PlatformRole
from tests.factories.accounts import UserFactory
from tests.factories.forms import filled_in


@pytest.fixture
def platform(ours, desk):
    client = desk(UserFactory(platform_role=PlatformRole.OWNER), second_factor=True)
    client.post("/choose-operator/", {"operator": ours.operator.pk})
    return client


@pytest.mark.parametrize(
    ("zone", "kept"), [("Europe/Berlim", "Europe/Berlin"), ("", "Europe/Berlin"), ("America/Sao_Paulo",) * 2]
)
def test_a_time_zone_is_chosen_not_typed(ours, platform, zone, kept):
    page = f"/accounts/operator/{ours.operator.pk}/change/"
    platform.post(page, filled_in(platform.get(page).text) | {"time_zone": zone})
    ours.operator.refresh_from_db()
    assert ours.operator.time_zone == kept
    assert platform.get("/").status_code == 200


def test_no_service_takes_a_time_zone_that_no_clock_knows():
    with pytest.raises(ValidationError, match="no time zone of this name"):
        Operator(name="A", slug="a", time_zone="Europe/Berlim").clean_fields()
