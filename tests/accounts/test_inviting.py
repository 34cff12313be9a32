"""Roles are given by those who hold them, to people who follow a link."""

from __future__ import annotations

import datetime as dt
import re

import pytest
import time_machine
from django.core import mail
from django.core.exceptions import PermissionDenied, ValidationError
from django.utils import timezone
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from apps.accounts import permissions, services
from apps.accounts.models import AuditEntry, Invitation, Membership, User
from apps.accounts.permissions import Role
from apps.core.actor import Actor, Kind
from apps.notifications.models import Mail
from tests.factories.accounts import BrandFactory, MembershipFactory, OrganisationFactory, UserFactory
from tests.factories.tasks import run_tasks


def actor_of(tenant, user, *roles, organisation=None) -> Actor:
    held = frozenset().union(*(permissions.of_role(role) for role in roles))
    if organisation is None:
        return Actor(kind=Kind.SESSION, operator_id=tenant.operator.pk, user=user, permissions=held, operator_wide=True)
    return Actor(kind=Kind.SESSION, operator_id=tenant.operator.pk, user=user, organisations={organisation.pk: held})


@pytest.fixture
def owner(ours) -> Actor:
    return actor_of(ours, ours.owner, Role.OWNER)


@pytest.fixture
def manager(ours) -> Actor:
    return actor_of(ours, ours.manager, Role.MANAGER, organisation=ours.fleet)


def invite(actor, tenant, email="new@example.org", role=Role.DRIVER, **given):
    given.setdefault("organisation", tenant.fleet if role in permissions.ORGANISATION_ROLES else None)
    return services.invite_person(actor=actor, operator=tenant.operator, email=email, role=role, **given)


def link_of_last_mail() -> str:
    run_tasks()
    return re.search(r"http\S+/accounts/invited/\S+", mail.outbox[-1].body)[0]


@pytest.mark.parametrize("role", [Role.OWNER, Role.VIEWER, Role.OPERATIONS])
def test_an_owner_gives_every_role_of_the_operator(ours, owner, role):
    user = UserFactory()
    membership = services.grant_role(actor=owner, user=user, operator=ours.operator, role=role)
    assert (membership.role, membership.organisation) == (role, None)
    assert services.grant_role(actor=owner, user=user, operator=ours.operator, role=role) == membership


@pytest.mark.parametrize("role", [Role.OWNER, Role.VIEWER])
def test_a_fleet_manager_gives_no_role_of_the_operator(ours, manager, role):
    with pytest.raises(services.CannotGrantRole):
        services.grant_role(actor=manager, user=UserFactory(), operator=ours.operator, role=role)


def test_operations_cannot_make_an_owner(ours):
    operations = actor_of(ours, ours.owner, Role.OPERATIONS)
    with pytest.raises(services.CannotGrantRole):
        services.grant_role(actor=operations, user=UserFactory(), operator=ours.operator, role=Role.OWNER)


def test_a_role_does_not_fit_where_it_does_not_belong(ours, owner):
    with pytest.raises(services.CannotGrantRole):
        services.grant_role(actor=owner, user=UserFactory(), operator=ours.operator, role=Role.DRIVER)
    with pytest.raises(services.CannotGrantRole):
        invite(owner, ours, role=Role.VIEWER, organisation=ours.fleet)


@pytest.mark.parametrize(
    ("role", "inside", "says"),
    [(Role.DRIVER, False, "inside one organisation. Choose which"), (Role.VIEWER, True, "Choose no organisation")],
)
def test_a_role_at_the_wrong_place_is_told_its_place(ours, owner, role, inside, says):
    with pytest.raises(services.CannotGrantRole, match=says) as refused:
        invite(owner, ours, role=role, organisation=ours.fleet if inside else None)
    assert "organisation" in refused.value.message_dict


def test_nobody_gives_roles_in_another_operator_s_organisation(ours, rival, owner, manager):
    for actor in (owner, manager):
        with pytest.raises((services.CannotGrantRole, PermissionDenied)):
            services.invite_person(
                actor=actor, operator=rival.operator, email="a@b.example", role=Role.DRIVER, organisation=rival.fleet
            )
        with pytest.raises((services.CannotGrantRole, PermissionDenied)):
            invite(actor, ours, organisation=rival.fleet)
    assert not Invitation.everything.exists()


def test_the_last_owner_keeps_the_role(ours, owner):
    own = Membership.everything.get(user=ours.owner)
    with pytest.raises(ValidationError, match="last owner"):
        services.end_membership(actor=owner, membership=own)
    second = services.grant_role(actor=owner, user=UserFactory(), operator=ours.operator, role=Role.OWNER)
    services.end_membership(actor=owner, membership=own)
    assert Membership.everything.get(pk=own.pk).ended_at is not None
    assert Membership.everything.get(pk=second.pk).ended_at is None


def test_the_invited_open_an_account_on_the_brand_s_host(client, ours, manager):
    invitation = invite(manager, ours, email="  New@Example.org ")
    link = link_of_last_mail()
    assert link.startswith("http://fleet.amber.localhost:8000/accounts/invited/")
    assert mail.outbox[0].to == ["new@example.org"]

    path = link.removeprefix("http://fleet.amber.localhost:8000")
    host = {"host": "fleet.amber.localhost"}
    assert "Invitation from Amber Logistics" in client.get(path, headers=host).text
    form = {"name": "Kim", "password": "a long enough phrase", "language": "de"}
    assert client.post(path, form, headers=host).headers["Location"] == "/"
    assert client.get("/", headers=host).status_code == 200

    user = User.objects.get(email="new@example.org")
    membership = Membership.everything.get(user=user)
    assert (membership.role, membership.organisation, user.language) == (Role.DRIVER, ours.fleet, "de")
    invitation.refresh_from_db()
    assert invitation.accepted_at is not None
    actions = list(AuditEntry.everything.filter(operator=ours.operator).values_list("action", flat=True))
    assert {"invitation.made", "invitation.accepted", "membership.granted"} <= set(actions)


def test_operator_roles_are_accepted_on_the_admin_host_alone(client, ours, owner):
    invite(owner, ours, role=Role.FINANCE)
    link = link_of_last_mail()
    assert link.startswith("http://admin.localhost:8000/accounts/invited/")
    path = link.removeprefix("http://admin.localhost:8000")
    assert client.get(path, headers={"host": "admin.localhost"}).status_code == 200
    assert client.get(path, headers={"host": "amber.localhost"}).status_code == 404


def test_a_link_works_once(client, ours, manager):
    invite(manager, ours)
    path = link_of_last_mail().removeprefix("http://fleet.amber.localhost:8000")
    form = {"name": "", "password": "a long enough phrase"}
    client.post(path, form, headers={"host": "fleet.amber.localhost"})
    client.logout()
    again = client.get(path, headers={"host": "fleet.amber.localhost"})
    assert again.status_code == 410
    assert "no longer valid" in again.text
    with pytest.raises(ValidationError):
        services.accept_invitation(token=path.rstrip("/").rpartition("/")[2], password="a long enough phrase")


def test_a_weak_password_is_refused_and_leaves_the_link_open(client, ours, manager):
    invitation = invite(manager, ours)
    path = link_of_last_mail().removeprefix("http://fleet.amber.localhost:8000")
    page = client.post(path, {"password": "short"}, headers={"host": "fleet.amber.localhost"})
    assert "too short" in page.text
    invitation.refresh_from_db()
    assert invitation.accepted_at is None
    assert not User.objects.filter(email="new@example.org").exists()


def test_who_has_an_account_signs_in_to_accept(client, ours, rival, manager):
    invite(manager, ours, email=rival.driver.email)
    path = link_of_last_mail().removeprefix("http://fleet.amber.localhost:8000")
    host = {"host": "fleet.amber.localhost"}
    assert "has an account already" in client.get(path, headers=host).text
    with pytest.raises(ValidationError):
        services.accept_invitation(token=path.split("/")[-2], password="a long enough phrase")

    client.force_login(rival.driver)
    client.post(path, headers=host)
    assert Membership.everything.filter(user=rival.driver, operator=ours.operator, ended_at=None).exists()


def test_somebody_else_s_link_gives_nothing(client, ours, rival, manager):
    invite(manager, ours)
    path = link_of_last_mail().removeprefix("http://fleet.amber.localhost:8000")
    client.force_login(rival.driver)
    page = client.post(path, headers={"host": "fleet.amber.localhost"})
    assert "for another e-mail address" in page.text
    assert not Membership.everything.filter(user=rival.driver, operator=ours.operator).exists()


def test_an_invitation_ends_after_a_week_or_when_taken_back(client, ours, manager):
    invitation = invite(manager, ours)
    path = link_of_last_mail().removeprefix("http://fleet.amber.localhost:8000")
    with time_machine.travel(timezone.now() + dt.timedelta(days=services.INVITATION_DAYS, seconds=1)):
        assert client.get(path, headers={"host": "fleet.amber.localhost"}).status_code == 410
    services.revoke_invitation(actor=manager, invitation=invitation)
    assert client.get(path, headers={"host": "fleet.amber.localhost"}).status_code == 410


def test_sending_again_ends_the_old_link(client, ours, manager):
    first = invite(manager, ours)
    old = link_of_last_mail()
    services.resend_invitation(actor=manager, invitation=first)
    new = link_of_last_mail()
    assert old != new
    prefix = "http://fleet.amber.localhost:8000"
    statuses = [
        client.get(link.removeprefix(prefix), headers={"host": "fleet.amber.localhost"}).status_code
        for link in (old, new)
    ]
    assert statuses == [410, 200]


def test_only_so_many_invitations_an_hour(ours, owner, monkeypatch):
    monkeypatch.setattr(services, "INVITATIONS_AN_HOUR", 2)
    invite(owner, ours, email="one@example.org")
    invite(owner, ours, email="two@example.org")
    with pytest.raises(ValidationError, match="Too many invitations"):
        invite(owner, ours, email="three@example.org")


def test_the_secret_is_in_no_column_and_no_task(ours, owner):
    invitation = invite(owner, ours)
    token = services.invitation_token(invitation)
    row = Invitation.everything.filter(pk=invitation.pk).values().get()
    assert token not in str(row)
    assert token not in str([SignedPackage.loads(task.payload) for task in OrmQ.objects.all()])
    run_tasks()
    sent = Mail.everything.get()
    assert token in mail.outbox[0].body
    assert token not in str(Mail.everything.filter(pk=sent.pk).values().get())


@pytest.mark.parametrize(("language", "subject"), [("en", "Invitation from"), ("de", "Einladung von")])
def test_the_mail_is_in_the_language_of_who_reads_it(ours, manager, language, subject):
    known = UserFactory(email="new@example.org", language=language)
    MembershipFactory(operator=ours.operator, user=known, role=Role.VIEWER)
    invite(manager, ours)
    run_tasks()
    assert mail.outbox[0].subject.startswith(subject)


def test_the_mail_does_not_tell_the_inviting_side_of_an_account_elsewhere(ours, rival, manager):
    rival.driver.language = "de"
    rival.driver.save()
    invite(manager, ours, email=rival.driver.email)
    run_tasks()
    assert Mail.everything.get().language == "en"


@pytest.mark.parametrize("role", [Role.OWNER, Role.DRIVER])
def test_a_link_leads_to_no_host_on_which_the_role_does_not_count(ours, rival, owner, role):
    other = BrandFactory(
        operator=ours.operator, organisation=OrganisationFactory(operator=ours.operator), host="other.localhost"
    )
    for brand in (other, rival.brand):
        with pytest.raises(ValidationError, match="does not count"):
            invite(owner, ours, role=role, brand=brand)
    assert not Invitation.everything.exists()


def test_an_invitation_sent_again_leads_where_the_role_counts_by_now(ours, owner):
    first = invite(owner, ours, brand=ours.fleet_brand)
    ours.fleet_brand.organisation = OrganisationFactory(operator=ours.operator)
    ours.fleet_brand.save()
    assert services.resend_invitation(actor=owner, invitation=first).brand == ours.brand
