"""A link for a new password opens an account: it goes to a host that shows all that the account may do, or to ours."""

from __future__ import annotations

import re

import pytest
from django.core import mail

from apps.accounts.models import Membership
from apps.accounts.permissions import PlatformRole, Role
from apps.notifications.models import Mail
from tests.factories.accounts import BrandFactory, MembershipFactory, OrganisationFactory, UserFactory
from tests.factories.tasks import run_tasks

ADMIN, AMBER, FLEET, RIVAL = "admin.localhost", "amber.localhost", "fleet.amber.localhost", "zugvogel.localhost"


def asked(client, user, host):
    """The answer's place and body, and the link that was mailed."""
    mail.outbox.clear()
    response = client.post("/accounts/password/reset/", {"email": user.email}, headers={"host": host})
    run_tasks()
    [message] = mail.outbox
    assert message.to == [user.email]
    return response, re.search(r"http://([^:/]+):8000(/accounts/password/reset/key/\S+)", message.body)


def host_of_link(client, user, host):
    return asked(client, user, host)[1][1]


def people(ours):
    other = OrganisationFactory(operator=ours.operator, name="Other fleet")
    both = UserFactory()
    for organisation in (ours.fleet, other):
        MembershipFactory(operator=ours.operator, user=both, role=Role.DRIVER, organisation=organisation)
    staff = UserFactory()
    MembershipFactory(operator=ours.operator, user=staff, role=Role.VIEWER)
    MembershipFactory(operator=ours.operator, user=staff, role=Role.DRIVER, organisation=ours.fleet)
    return {
        "owner": ours.owner, "driver": ours.driver, "driver of two fleets": both, "viewer who drives": staff,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("who", "on", "leads_to"),
    [
        ("owner", ADMIN, ADMIN),
        ("owner", AMBER, AMBER),
        ("owner", FLEET, ADMIN),  # an organisation's host does not get what opens the operator
        ("owner", RIVAL, ADMIN),
        ("driver", AMBER, AMBER),
        ("driver", FLEET, FLEET),
        ("driver", RIVAL, FLEET),
        ("driver of two fleets", AMBER, AMBER),
        ("driver of two fleets", FLEET, AMBER),
        ("driver of two fleets", RIVAL, AMBER),
        ("viewer who drives", FLEET, ADMIN),
        ("viewer who drives", AMBER, AMBER),
    ],
)
def test_the_link_leads_to_a_host_that_shows_all_of_the_person_s_roles(client, ours, rival, who, on, leads_to):
    assert host_of_link(client, people(ours)[who], on) == leads_to


@pytest.mark.parametrize("who", ["owner", "driver"])
def test_a_rival_s_host_neither_gets_the_link_nor_learns_of_the_account(client, ours, rival, who):
    victim = getattr(ours, who)
    known, _link = asked(client, victim, RIVAL)
    unknown = client.post("/accounts/password/reset/", {"email": "no@example.org"}, headers={"host": RIVAL})
    run_tasks()
    assert (known.status_code, known.headers["Location"]) == (unknown.status_code, unknown.headers["Location"])
    [message] = mail.outbox
    assert "zugvogel" not in f"{message.from_email} {message.subject} {message.body}".lower()
    assert Mail.everything.get().operator == ours.operator
    for tenant, shown in ((rival, False), (ours, True)):
        client.force_login(tenant.owner)
        assert (victim.email in client.get("/notifications/mail/", headers={"host": ADMIN}).text) is shown


@pytest.mark.parametrize("on", [ADMIN, AMBER, RIVAL])
def test_who_has_roles_at_two_operators_gets_a_link_to_neither_s_host(client, ours, rival, on):
    MembershipFactory(operator=rival.operator, user=ours.driver, role=Role.DRIVER, organisation=rival.fleet)
    assert host_of_link(client, ours.driver, on) == ADMIN


def test_an_ended_role_is_none(client, ours, rival):
    theirs = MembershipFactory(operator=rival.operator, user=ours.driver, role=Role.DRIVER, organisation=rival.fleet)
    theirs.ended_at = theirs.created_at
    theirs.save()
    assert host_of_link(client, ours.driver, RIVAL) == FLEET


@pytest.mark.parametrize("on", [ADMIN, AMBER, RIVAL])
def test_platform_staff_get_the_link_to_the_admin_host(client, ours, rival, on):
    ours.owner.platform_role = PlatformRole.OWNER
    ours.owner.save()
    assert host_of_link(client, ours.owner, on) == ADMIN


@pytest.mark.parametrize("on", [ADMIN, RIVAL])
def test_somebody_without_any_role_stands_in_no_operator_s_list(client, ours, rival, on):
    Membership.everything.filter(user=ours.driver).update(ended_at="2026-01-01T00:00:00Z")
    assert host_of_link(client, ours.driver, on) == ADMIN
    assert not Mail.everything.exists()


def test_without_a_brand_that_shows_all_roles_the_link_leads_to_the_admin_host(client, ours, rival):
    ours.brand.delete()
    driver = people(ours)["driver of two fleets"]
    assert host_of_link(client, driver, RIVAL) == ADMIN
    BrandFactory(operator=ours.operator, host="amber2.localhost")
    assert host_of_link(client, driver, RIVAL) == "amber2.localhost"


def test_a_link_opens_nothing_on_another_host(client, ours, rival):
    path = asked(client, ours.driver, FLEET)[1][2]
    for elsewhere in (ADMIN, AMBER, RIVAL):
        page = client.get(path, headers={"host": elsewhere})
        assert (page.status_code, "password1" in page.text) == (200, False)
    assert client.get(path, headers={"host": FLEET}).status_code == 302
    # Nor once it is kept in a session there.
    form = client.get(path, headers={"host": FLEET}).headers["Location"]
    fresh = {"password1": "another good phrase", "password2": "another good phrase"}
    client.post(form, fresh, headers={"host": RIVAL})
    ours.driver.refresh_from_db()
    assert not ours.driver.check_password("another good phrase")
    client.post(form, fresh, headers={"host": FLEET})
    ours.driver.refresh_from_db()
    assert ours.driver.check_password("another good phrase")
