"""Who comes into the back office, and as whom."""

from __future__ import annotations

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    generate_totp_secret,
    hotp_value,
    yield_hotp_counters_from_time,
)
from django.conf import settings
from django.test import Client
from django.utils import timezone

from apps.accounts.models import Membership, Organisation, User
from apps.accounts.permissions import PlatformRole, Role
from apps.installations.models import ChargingStation
from tests.factories.accounts import PASSWORD, MembershipFactory, OperatorFactory
from tests.factories.forms import filled_in

PLATFORM_PAGES = ["/accounts/user/", "/accounts/operator/", "/django_q/schedule/", "/django_q/failure/"]


@pytest.fixture
def platform_owner(ours) -> User:
    ours.owner.platform_role = PlatformRole.OWNER
    ours.owner.save()
    return ours.owner


@pytest.mark.parametrize("path", ["/", "/login/", "/accounts/brand/", "/accounts/brand/1/change/", "/nowhere/"])
def test_a_stranger_is_led_to_the_one_sign_in_form(db, desk, path):
    response = desk().get(path)
    assert response.status_code == 302
    assert response.url.startswith("/accounts/login/?next=/")


def test_the_admins_own_form_takes_no_password(ours, desk):
    client = desk()
    response = client.post("/login/", {"username": ours.owner.email, "password": PASSWORD})
    assert response.status_code == 302
    assert response.url.startswith("/accounts/login/")
    assert "_auth_user_id" not in client.session


def test_a_user_with_a_second_factor_is_asked_for_the_code_before_the_back_office_opens(ours, desk):
    secret = generate_totp_secret()
    TOTP.activate(ours.owner, secret)
    client = desk()
    response = client.post("/accounts/login/?next=/", {"login": ours.owner.email, "password": PASSWORD})
    assert response.url.startswith("/accounts/2fa/authenticate/")
    assert client.get("/").status_code == 302
    code = format_hotp_value(hotp_value(secret, next(iter(yield_hotp_counters_from_time()))))
    assert client.post(response.url, {"code": code}).status_code == 302
    assert client.get("/").status_code == 200


def test_someone_without_a_role_here_is_told_so_and_can_sign_out(ours, desk):
    client = desk(ours.driver)
    response = client.get("/")
    assert response.status_code == 404
    assert "has no role in this back office" in response.content.decode()
    assert client.post("/accounts/logout/").status_code == 302
    assert "_auth_user_id" not in client.session


def test_a_user_who_was_switched_off_is_out_at_once(ours, desk):
    client = desk(ours.owner)
    ours.owner.is_active = False
    ours.owner.save()
    assert client.get("/").status_code == 302


def test_signing_out_of_the_back_office_ends_the_session(ours, desk):
    client = desk(ours.owner)
    assert client.post("/logout/").status_code == 302
    assert "_auth_user_id" not in client.session


# --- several operators ------------------------------------------------------------------------------------------------
def test_with_one_operator_nothing_has_to_be_chosen(ours, desk):
    response = desk(ours.owner).get("/")
    assert response.status_code == 200
    assert str(ours.operator) in response.content.decode()


def test_with_several_operators_one_is_chosen_and_only_that_one_is_seen(ours, rival, desk):
    MembershipFactory(operator=rival.operator, user=ours.owner, role=Role.VIEWER)
    client = desk(ours.owner)
    response = client.get("/accounts/organisation/")
    assert response.status_code == 302
    assert response.url == "/choose-operator/?next=%2Faccounts%2Forganisation%2F"
    chooser = client.get(response.url).content.decode()
    assert str(ours.operator) in chooser
    assert str(rival.operator) in chooser
    response = client.post("/choose-operator/", {"operator": rival.operator.pk, "next": "/accounts/organisation/"})
    assert response.url == "/accounts/organisation/"
    assert client.get("/").status_code == 200
    client.post("/choose-operator/", {"operator": ours.operator.pk})
    listed = client.get("/accounts/organisation/").content.decode()
    assert str(ours.fleet) in listed
    assert str(rival.fleet) not in listed


def test_an_operator_without_a_role_cannot_be_chosen(ours, rival, desk):
    client = desk(ours.owner)
    assert client.post("/choose-operator/", {"operator": rival.operator.pk}).status_code == 404
    assert str(ours.operator) in client.get("/").content.decode()


def test_the_chooser_leads_nowhere_else(ours, desk):
    response = desk(ours.owner).post(
        "/choose-operator/", {"operator": ours.operator.pk, "next": "https://evil.example/"}
    )
    assert response.url == "/"


def test_a_role_that_ended_no_longer_counts(ours, rival, desk):
    membership = MembershipFactory(operator=rival.operator, user=ours.owner, role=Role.VIEWER)
    client = desk(ours.owner)
    client.post("/choose-operator/", {"operator": rival.operator.pk})
    membership.ended_at = membership.created_at
    membership.save()
    assert str(ours.operator) in client.get("/").content.decode()


# --- platform ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", PLATFORM_PAGES)
def test_platform_pages_do_not_exist_for_a_tenants_owner(ours, desk, path):
    assert desk(ours.owner, second_factor=True).get(path).status_code == 404


@pytest.mark.parametrize("path", PLATFORM_PAGES)
def test_without_a_second_factor_platform_staff_are_told_how_to_set_it_up(platform_owner, desk, path):
    response = desk(platform_owner).get(path)
    assert response.status_code == 403
    assert "/accounts/2fa/" in response.content.decode()


@pytest.mark.parametrize("path", PLATFORM_PAGES)
def test_with_a_second_factor_they_open(platform_owner, desk, path):
    assert desk(platform_owner, second_factor=True).get(path).status_code == 200


def test_without_a_second_factor_a_platform_role_reaches_no_other_operator(platform_owner, rival, desk):
    client = desk(platform_owner)
    assert client.post("/choose-operator/", {"operator": rival.operator.pk}).status_code == 404
    assert str(rival.operator) not in client.get("/").content.decode()


def test_without_a_second_factor_platform_staff_choose_among_their_own_operators(platform_owner, rival, desk):
    MembershipFactory(operator=rival.operator, user=platform_owner, role=Role.VIEWER)
    OperatorFactory(name="Quarry")
    client = desk(platform_owner)
    response = client.get("/")
    assert response.url.startswith("/choose-operator/")
    assert "Quarry" not in client.get(response.url).content.decode()


def test_platform_staff_without_any_operator_see_the_way_to_a_second_factor(db, desk):
    alone = User.objects.create_user("alone@example.org", PASSWORD, platform_role=PlatformRole.OWNER)
    response = desk(alone).get("/")
    assert response.status_code == 403
    assert "/accounts/2fa/" in response.content.decode()


def test_platform_staff_who_chose_no_operator_see_platform_pages_only(platform_owner, rival, desk):
    client = desk(platform_owner, second_factor=True)
    home = client.get("/").content.decode()
    assert "No operator chosen" in home
    assert "/accounts/user/" in home
    assert "/accounts/organisation/" not in home
    assert client.get("/accounts/organisation/").url.startswith("/choose-operator/")


def test_what_platform_staff_do_for_an_operator_stands_in_its_audit_trail(platform_owner, rival, desk):
    client = desk(platform_owner, second_factor=True)
    client.post("/choose-operator/", {"operator": rival.operator.pk})
    client.post("/accounts/organisation/add/", {"name": "Quarry", "language": "en"})
    trail = desk(rival.owner).get("/accounts/auditentry/").content.decode()
    assert platform_owner.email in trail
    assert "organisation.added" in trail


def test_what_is_done_to_a_user_stands_in_the_platforms_trail_alone(platform_owner, rival, desk):
    client = desk(platform_owner, second_factor=True)
    client.post("/choose-operator/", {"operator": rival.operator.pk})
    TOTP.activate(rival.driver, generate_totp_secret())
    path = f"/accounts/user/{rival.driver.pk}"
    assert client.post(f"{path}/remove-second-factor/", {"why": "Lost phone, called back."}).status_code == 302
    assert not Authenticator.objects.filter(user=rival.driver).exists()
    assert "Lost phone" in client.get(f"{path}/history/").content.decode()
    assert "Lost phone" not in desk(rival.owner).get("/accounts/auditentry/").content.decode()


def test_the_chooser_is_empty_for_an_operator_without_roles(db, desk):
    OperatorFactory()
    nobody = User.objects.create_user("nobody@example.org", PASSWORD)
    assert desk(nobody).get("/choose-operator/").status_code == 404


@pytest.fixture
def two_tabs(ours, rival) -> Client:
    """A browser of somebody with roles at both operators; as in a browser, each form needs its token."""
    MembershipFactory(operator=rival.operator, user=ours.owner, role=Role.OWNER)
    client = Client(headers={"host": settings.ADMIN_HOST}, enforce_csrf_checks=True)
    client.force_login(ours.owner)
    choose(client, ours)
    return client


def choose(client, tenant):
    form = filled_in(client.get("/choose-operator/").text)
    assert client.post("/choose-operator/", {**form, "operator": tenant.operator.pk}).status_code == 302


@pytest.mark.parametrize(
    ("path", "typed"),
    [
        ("/accounts/organisation/add/", {"name": "Quarry", "language": "en"}),
        ("/chargers/add/", {"identity": "QUARRY-1"}),
    ],
)
def test_a_form_that_was_opened_for_one_operator_saves_nothing_for_another(two_tabs, ours, rival, path, typed):
    form = filled_in(two_tabs.get(path).text) | typed
    choose(two_tabs, rival)
    answer = two_tabs.post(path, form)
    assert answer.status_code == 403
    assert "Nothing was saved" in answer.text
    assert f"You act for {rival.operator} now" in answer.text
    assert not Organisation.everything.filter(name="Quarry").exists()
    assert not ChargingStation.everything.filter(identity="QUARRY-1").exists()


def test_a_form_that_was_opened_after_the_choice_is_saved(two_tabs, rival):
    choose(two_tabs, rival)
    path = "/accounts/organisation/add/"
    form = filled_in(two_tabs.get(path).text) | {"name": "Quarry", "language": "en"}
    assert two_tabs.post(path, form).status_code == 302
    assert Organisation.everything.get(name="Quarry").operator == rival.operator


@pytest.mark.parametrize("looks_first", [False, True])
def test_a_form_saves_nothing_for_the_operator_that_stands_in_when_the_chosen_one_is_gone(
    two_tabs, ours, rival, looks_first
):
    path = "/accounts/organisation/add/"
    form = filled_in(two_tabs.get(path).text) | {"name": "Quarry", "language": "en"}
    own = Membership.everything.filter(user=ours.owner, operator=ours.operator)
    own.update(ended_at=timezone.now())
    if looks_first:
        assert str(rival.operator) in two_tabs.get("/").text
    answer = two_tabs.post(path, form)
    assert (answer.status_code, "Nothing was saved" in answer.text) == (403, True)
    assert not Organisation.everything.filter(name="Quarry").exists()
    form = filled_in(two_tabs.get(path).text) | {"name": "Quarry", "language": "en"}
    assert two_tabs.post(path, form).status_code == 302
