"""People, invitations and keys, as an owner handles them."""

from __future__ import annotations

import re

import pytest

from apps.accounts import selectors
from apps.accounts.models import ApiKey, AuditEntry, Invitation, Membership
from apps.accounts.permissions import Role
from tests.factories.accounts import MembershipFactory, UserFactory


@pytest.fixture
def colleague(ours) -> Membership:
    return MembershipFactory(operator=ours.operator, user=UserFactory(name="Colleague"), role=Role.VIEWER)


def why_of_last(ours) -> tuple[str, str]:
    entry = AuditEntry.everything.filter(operator=ours.operator).order_by("pk").last()
    return entry.action, entry.why


def test_a_membership_ends_with_a_reason(ours, desk, colleague):
    path = f"/accounts/membership/{colleague.pk}"
    assert desk(ours.owner).post(f"{path}/end/", {"why": "Left the company."}).status_code == 302
    colleague.refresh_from_db()
    assert colleague.ended_at is not None
    assert why_of_last(ours) == ("membership.ended", "Left the company.")


def test_the_last_owner_stays(ours, desk):
    membership = Membership.everything.get(user=ours.owner)
    response = desk(ours.owner).post(f"/accounts/membership/{membership.pk}/end/", {"why": "Bye."})
    assert "last owner" in response.content.decode()
    membership.refresh_from_db()
    assert membership.ended_at is None


def test_another_role_is_given_with_a_reason(ours, desk, colleague):
    path = f"/accounts/membership/{colleague.pk}/give-role/"
    desk(ours.owner).post(path, {"role": Role.SUPPORT, "why": "Joins the hotline."})
    held = Membership.everything.filter(user=colleague.user, ended_at=None).values_list("role", flat=True)
    assert set(held) == {Role.VIEWER, Role.SUPPORT}
    assert why_of_last(ours) == ("membership.granted", "Joins the hotline.")


@pytest.mark.parametrize("path", ["end", "give-role"])
def test_who_may_not_change_people_has_no_such_button(ours, desk, colleague, path):
    operations = MembershipFactory(operator=ours.operator, role=Role.OPERATIONS).user
    client = desk(operations)
    url = f"/accounts/membership/{colleague.pk}"
    assert f"{url}/{path}/" not in client.get(f"{url}/change/").content.decode()
    assert client.post(f"{url}/{path}/", {"why": "Because.", "role": Role.OWNER}).status_code == 403
    assert Membership.everything.filter(user=colleague.user, ended_at=None).count() == 1


def test_an_invitation_is_sent_and_revoked(ours, desk):
    client = desk(ours.owner)
    data = {"email": "New@Quarry.example", "role": Role.VIEWER, "organisation": "", "brand": ""}
    assert client.post("/accounts/invitation/add/", data).status_code == 302
    invitation = Invitation.everything.get(operator=ours.operator)
    assert (invitation.email, invitation.invited_by) == ("new@quarry.example", ours.owner)
    assert client.get(f"/accounts/invitation/{invitation.pk}/change/").status_code == 200
    client.post(f"/accounts/invitation/{invitation.pk}/revoke/", {"why": "Wrong address."})
    invitation.refresh_from_db()
    assert invitation.revoked_at is not None
    assert why_of_last(ours) == ("invitation.revoked", "Wrong address.")


def test_what_a_service_refuses_stands_in_the_form(ours, desk):
    data = {"email": "new@quarry.example", "role": Role.DRIVER, "organisation": "", "brand": ""}
    response = desk(ours.owner).post("/accounts/invitation/add/", data)
    assert response.status_code == 200
    assert "This role counts inside one organisation. Choose which." in response.content.decode()
    assert not Invitation.everything.exists()


def test_a_brand_that_cannot_be_read_is_refused_with_the_nearest_shade(ours, desk):
    path = f"/accounts/brand/{ours.brand.pk}/change/"
    data = {"name": "Amber", "host": ours.brand.host, "accent_light": "#ffee00", "accent_dark": "#93b4ff"}
    response = desk(ours.owner).post(path, data)
    assert response.status_code == 200
    assert "The nearest shade that works is #" in response.content.decode()
    ours.brand.refresh_from_db()
    assert ours.brand.accent_light != "#ffee00"


# --- API keys ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def key_page(ours, desk):
    data = {"name": "Parking", "organisation": "", "scopes": ["installations.view_location"]}
    return desk(ours.owner).post("/accounts/apikey/add/", {**data, "expires_at_0": "", "expires_at_1": ""})


def test_a_keys_secret_is_shown_once_and_works(ours, desk, key_page):
    assert key_page.status_code == 200
    assert "no-store" in key_page.headers["Cache-Control"]
    secret = re.search(r"vd_[0-9a-f]+_[0-9a-f]+", key_page.content.decode())[0]
    actor = selectors.actor_of_api_key(secret, brand=None)
    assert (actor.operator_id, actor.permissions) == (ours.operator.pk, {"installations.view_location"})
    key = ApiKey.everything.get()
    client = desk(ours.owner)
    for page in ("change", "history"):
        shown = client.get(f"/accounts/apikey/{key.pk}/{page}/").content.decode()
        assert secret not in shown
        assert key.secret_hash not in shown


def test_a_rotated_keys_old_secret_is_dead(ours, desk, key_page):
    secret = re.search(r"vd_[0-9a-f]+_[0-9a-f]+", key_page.content.decode())[0]
    key = ApiKey.everything.get()
    page = desk(ours.owner).post(f"/accounts/apikey/{key.pk}/rotate/", {"why": "Yearly."}).content.decode()
    fresh = re.search(r"vd_[0-9a-f]+_[0-9a-f]+", page)[0]
    assert selectors.actor_of_api_key(secret, brand=None) is None
    assert selectors.actor_of_api_key(fresh, brand=None) is not None


def test_a_revoked_key_opens_nothing(ours, desk, key_page):
    secret = re.search(r"vd_[0-9a-f]+_[0-9a-f]+", key_page.content.decode())[0]
    desk(ours.owner).post(f"/accounts/apikey/{ApiKey.everything.get().pk}/revoke/", {"why": "Leaked."})
    assert selectors.actor_of_api_key(secret, brand=None) is None


def test_a_secrets_hash_cannot_be_guessed_by_filters(ours, desk, key_page):
    key = ApiKey.everything.get()
    for query in (f"secret_hash__startswith={key.secret_hash[:3]}", "user__password__startswith=md5"):
        assert desk(ours.owner).get(f"/accounts/apikey/?{query}").status_code in (302, 400)
