"""A fleet manager looks after the people of the own organisation, and of no other."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re

import pytest
from django.core import mail
from django.utils import timezone

from apps.accounts import services
from apps.accounts.models import AuditEntry, Invitation, Membership
from apps.accounts.permissions import Role
from apps.core.actor import Actor
from apps.core.csv import BOM
from tests.factories.accounts import MembershipFactory, OrganisationFactory, UserFactory
from tests.factories.cast import CANARY, Tenant
from tests.factories.tasks import run_tasks

FLEET, OPERATOR = {"host": "fleet.amber.localhost"}, {"host": "amber.localhost"}
PAGES = ["/people/", "/people/invite/", "/people/invitations/"]
HOME_LINK = 'href="/people/"'


def member(tenant: Tenant, role: str, name: str = "Kim", organisation=None) -> Membership:
    user = UserFactory(name=name)
    return MembershipFactory(operator=tenant.operator, user=user, role=role, organisation=organisation or tenant.fleet)


def invited(tenant: Tenant, email: str = "new@example.org", organisation=None) -> Invitation:
    return services.invite_person(
        actor=Actor.system(tenant.operator),
        operator=tenant.operator,
        email=email,
        role=Role.DRIVER,
        organisation=organisation or tenant.fleet,
    )


def role_of(tenant: Tenant, user) -> Membership:
    return Membership.everything.get(operator=tenant.operator, user=user)


def pages_of(membership: Membership, invitation: Invitation) -> list[str]:
    """The pages on which something is done to these two."""
    return [
        f"/people/{membership.public_id}/end/",
        f"/people/invitations/{invitation.public_id}/send-again/",
        f"/people/invitations/{invitation.public_id}/take-back/",
    ]


# --- who sees it ------------------------------------------------------------------------------------------------------
def test_a_manager_sees_who_belongs_to_the_organisation(manager, ours):
    member(ours, Role.ORG_VIEWER, "Kim Colleague")
    other = OrganisationFactory(operator=ours.operator)
    member(ours, Role.DRIVER, "Somebody Else", other)
    gone = member(ours, Role.DRIVER, "Long Gone")
    Membership.everything.filter(pk=gone.pk).update(ended_at=timezone.now())
    page = manager.get("/people/", headers=FLEET).text
    assert "3 people with a role" in page
    assert "Kim Colleague" in page
    assert "viewer (organisation)" in page
    assert re.search(r"Amber manager\s*<span[^>]*>\(you\)", page)
    assert not re.search("Somebody Else|Long Gone|owner@amber", page)
    assert HOME_LINK in manager.get("/", headers=FLEET).text
    assert HOME_LINK in manager.get("/accounts/profile/", headers=FLEET).text


@pytest.mark.parametrize("role", [Role.DRIVER, Role.ORG_VIEWER, Role.ORG_FINANCE])
def test_who_may_not_manage_people_sees_neither_page_nor_link(client, ours, role):
    somebody, invitation = member(ours, role), invited(ours)
    client.force_login(somebody.user)
    for path in [*PAGES, *pages_of(role_of(ours, ours.driver), invitation)]:
        assert client.get(path, headers=FLEET).status_code == 404
        assert client.post(path, {"why": "Because."}, headers=FLEET).status_code in (404, 405)
    for path in ("/", "/accounts/profile/"):
        assert HOME_LINK not in client.get(path, headers=FLEET).text
    assert not Membership.everything.exclude(ended_at=None).exists()


def test_the_operator_s_people_have_the_back_office_for_that(client, ours):
    client.force_login(ours.owner)
    assert client.get("/people/", headers=OPERATOR).status_code == 404
    assert HOME_LINK not in client.get("/", headers=OPERATOR).text
    profile = client.get("/accounts/profile/", headers={"host": "admin.localhost"})
    assert (profile.status_code, HOME_LINK in profile.text) == (200, False)


def test_who_is_not_signed_in_is_asked_to(client, ours):
    for path in [*PAGES, *pages_of(role_of(ours, ours.driver), invited(ours))]:
        assert client.post(path, headers=FLEET).status_code in (302, 405)
        assert client.get(path, headers=FLEET).headers["Location"] == f"/accounts/login/?next={path}"


def test_a_rival_s_people_are_not_found_and_not_touched(client, ours, rival):
    theirs, waiting = role_of(rival, rival.driver), invited(rival, f"{CANARY}@example.org")
    client.force_login(ours.manager)
    for headers in (FLEET, OPERATOR):
        for path in PAGES:
            assert CANARY.lower() not in client.get(path, headers=headers).text.lower()
        for path in pages_of(theirs, waiting):
            assert client.get(path, headers=headers).status_code == 404
            assert client.post(path, {"why": "Because."}, headers=headers).status_code == 404
    client.force_login(rival.manager)
    for path in [*PAGES, *pages_of(role_of(ours, ours.driver), invited(ours))]:
        assert client.get(path, headers=FLEET).status_code == 404
    theirs.refresh_from_db()
    waiting.refresh_from_db()
    assert theirs.ended_at is waiting.revoked_at is None


def test_another_organisation_of_the_same_operator_is_foreign_too(manager, ours):
    other = OrganisationFactory(operator=ours.operator)
    theirs, waiting = member(ours, Role.DRIVER, organisation=other), invited(ours, organisation=other)
    for headers in (FLEET, OPERATOR):
        for path in pages_of(theirs, waiting):
            assert manager.post(path, {"why": "Because."}, headers=headers).status_code == 404
        form = {"email": "new@example.org", "role": Role.DRIVER, "organisation": str(other.public_id)}
        manager.post("/people/invite/", form, headers=headers)
    assert Invitation.everything.filter(organisation=other).count() == 1


# --- inviting ---------------------------------------------------------------------------------------------------------
def test_a_manager_invites_somebody_who_then_belongs(manager, ours):
    shown = manager.get("/people/invite/", headers=FLEET).text
    assert "fleet manager – sees everything" in shown
    assert "Organisation" not in shown
    form = {"email": " New@Example.org ", "role": Role.ORG_VIEWER}
    sent = manager.post("/people/invite/", form, headers=FLEET, follow=True)
    assert "The invitation to new@example.org was sent." in sent.text
    assert "1 open invitation" in sent.text
    assert "1 invitation waits for an answer" in manager.get("/people/", headers=FLEET).text
    run_tasks()
    link = re.search(r"/accounts/invited/\S+", mail.outbox[0].body)[0]
    manager.logout()
    manager.post(link, {"name": "Kim New", "password": "a long enough phrase"}, headers=FLEET)
    manager.force_login(ours.manager)
    page = manager.get("/people/", headers=FLEET).text
    assert "Kim New" in page
    assert "waits for an answer" not in page
    made = AuditEntry.everything.get(action="invitation.made")
    assert (made.operator, made.user, made.after["role"]) == (ours.operator, ours.manager, Role.ORG_VIEWER)


@pytest.mark.parametrize("role", [Role.OWNER, Role.VIEWER, "", "nonsense"])
def test_a_manager_offers_no_role_of_the_operator(manager, ours, role):
    page = manager.post("/people/invite/", {"email": "new@example.org", "role": role}, headers=FLEET)
    assert "error-text" in page.text
    assert not Invitation.everything.exists()


@pytest.mark.parametrize(
    ("email", "problem"),
    [("nobody", "Enter a valid email address"), ("driver@amber.example", "This person has the role already")],
)
def test_the_form_says_what_is_wrong(manager, ours, email, problem):
    page = manager.post("/people/invite/", {"email": email, "role": Role.DRIVER}, headers=FLEET)
    assert problem in page.text
    assert not Invitation.everything.exists()


def test_only_so_many_invitations_an_hour(manager, ours, monkeypatch):
    monkeypatch.setattr(services, "INVITATIONS_AN_HOUR", 0)
    page = manager.post("/people/invite/", {"email": "new@example.org", "role": Role.DRIVER}, headers=FLEET)
    assert "Too many invitations" in page.text


def test_a_manager_of_two_organisations_chooses(manager, ours):
    other = OrganisationFactory(operator=ours.operator, name="Amber Town")
    MembershipFactory(operator=ours.operator, user=ours.manager, role=Role.MANAGER, organisation=other)
    third = OrganisationFactory(operator=ours.operator, name="Amber Port")
    MembershipFactory(operator=ours.operator, user=ours.manager, role=Role.DRIVER, organisation=third)
    foreign = member(ours, Role.DRIVER, "Port worker", third)
    page = manager.get("/people/", headers=OPERATOR).text
    assert "Amber Town" in page
    assert "Port worker" not in page
    assert manager.get(f"/people/{foreign.public_id}/end/", headers=OPERATOR).status_code == 404
    shown = manager.get("/people/invite/", headers=OPERATOR).text
    assert "Amber Town" in shown
    assert "Amber Port" not in shown
    form = {"email": "new@example.org", "role": Role.DRIVER, "organisation": str(other.public_id)}
    assert manager.post("/people/invite/", form, headers=OPERATOR).status_code == 302
    assert Invitation.everything.get().organisation == other
    manager.post("/people/invite/", {**form, "organisation": str(third.public_id)}, headers=OPERATOR)
    assert Invitation.everything.count() == 1


# --- open invitations -------------------------------------------------------------------------------------------------
def test_an_invitation_is_sent_again_after_a_question(manager, ours):
    first = invited(ours)
    path = f"/people/invitations/{first.public_id}/send-again/"
    assert path in manager.get("/people/invitations/", headers=FLEET).text
    assert "The old link stops working." in manager.get(path, headers=FLEET).text
    assert not Invitation.everything.exclude(revoked_at=None).exists()
    done = manager.post(path, headers=FLEET, follow=True)
    assert "was sent again" in done.text
    assert "1 open invitation" in done.text
    assert manager.post(path, headers=FLEET).status_code == 404
    assert AuditEntry.everything.filter(action="invitation.resent", user=ours.manager).exists()


def test_an_invitation_is_taken_back_with_a_reason(manager, ours):
    first = invited(ours)
    path = f"/people/invitations/{first.public_id}/take-back/"
    assert "stops working at once" in manager.get(path, headers=FLEET).text
    assert "error-text" in manager.post(path, headers=FLEET).text
    assert Invitation.everything.get().revoked_at is None
    done = manager.post(path, {"why": "Wrong address."}, headers=FLEET, follow=True)
    assert "was taken back" in done.text
    assert "No invitation waits for an answer" in done.text
    assert AuditEntry.everything.get(action="invitation.revoked").why == "Wrong address."


@pytest.mark.parametrize("closed", ["accepted_at", "revoked_at", "expires_at"])
def test_a_closed_invitation_is_not_there(manager, ours, closed):
    first = invited(ours)
    Invitation.everything.update(**{closed: timezone.now() - dt.timedelta(seconds=1)})
    assert "new@example.org" not in manager.get("/people/invitations/", headers=FLEET).text
    for path in pages_of(role_of(ours, ours.driver), first)[1:]:
        assert manager.post(path, {"why": "Because."}, headers=FLEET).status_code == 404


# --- ending access ----------------------------------------------------------------------------------------------------
def test_access_ends_at_once_after_a_question_and_with_a_reason(manager, client, ours):
    colleague = member(ours, Role.ORG_VIEWER, "Kim Colleague")
    path = f"/people/{colleague.public_id}/end/"
    shown = manager.get(path, headers=FLEET).text
    assert re.search(r"Kim Colleague<.*>viewer \(organisation\) · Amber Logistics<", shown)
    assert "loses the role at once" in shown
    assert "error-text" in manager.post(path, {"why": ""}, headers=FLEET).text
    colleague.refresh_from_db()
    assert colleague.ended_at is None
    done = manager.post(path, {"why": "Left the company."}, headers=FLEET, follow=True)
    assert "Kim Colleague no longer has this role." in done.text
    assert manager.get(path, headers=FLEET).status_code == 404
    entry = AuditEntry.everything.get(action="membership.ended")
    assert (entry.user, entry.why, entry.object_id) == (ours.manager, "Left the company.", str(colleague.pk))
    client.force_login(colleague.user)
    assert client.get("/", headers=FLEET).status_code == 404


def test_the_last_manager_cannot_leave_unless_the_operator_says_so(manager, ours):
    own = role_of(ours, ours.manager)
    path = f"/people/{own.public_id}/end/"
    assert "You lose this role at once" in manager.get(path, headers=FLEET).text
    refused = manager.post(path, {"why": "Bye."}, headers=FLEET)
    assert "This is the last fleet manager" in refused.text
    own.refresh_from_db()
    assert own.ended_at is None
    services.end_membership(actor=Actor.system(ours.operator), membership=own)
    own.refresh_from_db()
    assert own.ended_at is not None


def test_one_of_two_managers_may_leave(manager, ours):
    member(ours, Role.MANAGER)
    own = role_of(ours, ours.manager)
    done = manager.post(f"/people/{own.public_id}/end/", {"why": "Bye."}, headers=FLEET, follow=True)
    assert done.redirect_chain == [("/", 302)]
    assert "You have no access here" in done.text
    assert manager.get("/people/", headers=FLEET).status_code == 404


# --- the lists --------------------------------------------------------------------------------------------------------
def test_people_are_searched_filtered_and_saved(manager, ours):
    member(ours, Role.ORG_VIEWER, "=cmd()")
    invited(ours)
    assert "1 person with a role" in manager.get("/people/?role=org_viewer", headers=FLEET).text
    assert "1 person with a role" in manager.get("/people/?q=DRIVER@amber", headers=FLEET).text
    assert "0 open invitations" in manager.get("/people/invitations/?q=other", headers=FLEET).text
    response = manager.get("/people/?export=csv&role=org_viewer", headers=FLEET)
    text = b"".join(response.streaming_content).decode().removeprefix(BOM)
    [head, row] = csv.reader(io.StringIO(text))
    assert head == ["Name", "E-mail", "Role", "Since"]
    assert row[0] == "'=cmd()"


@pytest.mark.parametrize("path", ["/people/", "/people/invitations/"])
@pytest.mark.parametrize("sort", ["name", "-email", "role", "since", "user__password", "'"])
def test_many_rows_need_no_more_queries(manager, ours, path, sort, django_assert_max_num_queries):
    for number in range(30):
        member(ours, Role.DRIVER, f"Driver {number:02}")
        invited(ours, f"new{number}@example.org")
    with django_assert_max_num_queries(10):
        page = manager.get(path, {"sort": sort}, headers=FLEET)
    assert "Page 1 of 2" in page.text


def test_the_page_is_in_the_reader_s_language(manager, ours):
    german = {**FLEET, "accept-language": "de"}
    assert "Personen" in manager.get("/people/", headers=german).text
    page = manager.get("/people/invite/", headers=german).text
    assert "Flottenleitung – " in page
    assert "Send the invitation" not in page
