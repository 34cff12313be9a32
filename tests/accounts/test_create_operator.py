"""`manage.py create_operator`: an installation works without the demo."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import Client
from django_q.models import OrmQ

from apps.accounts import events
from apps.accounts.models import AuditEntry, Brand, Membership, Operator, Seller, User
from apps.accounts.permissions import PlatformRole, Role
from apps.core import events as core_events

PASSWORD = "long enough to be good"


def create(**changed: object) -> None:
    given = {
        "name": "Quarry Power",
        "slug": "quarry",
        "country": "at",
        "owner_email": "Owner@Quarry.example",
        "password": PASSWORD,
    }
    call_command("create_operator", **{**given, **changed})


def test_it_makes_all_that_an_operator_needs(db, capsys):
    create()
    operator = Operator.objects.get(slug="quarry")
    seller = Seller.everything.get(operator=operator)
    assert (seller.legal_name, seller.country, seller.is_default) == ("Quarry Power", "AT", True)
    assert Brand.everything.get(operator=operator).host == "quarry.localhost"
    membership = Membership.everything.get(operator=operator)
    assert (membership.role, membership.organisation, membership.user.email) == (
        Role.OWNER,
        None,
        "owner@quarry.example",
    )
    assert membership.user.platform_role == ""
    actions = set(AuditEntry.everything.filter(operator=operator).values_list("action", flat=True))
    assert {"operator.created", "membership.granted", "brand.saved"} <= actions
    said = capsys.readouterr().out
    assert settings.ADMIN_HOST in said
    assert "quarry.localhost" in said
    assert PASSWORD not in said


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ({}, "its address and a VAT registration"),
        ({"street": "Kai 7", "postal_code": "4020", "city": "Linz"}, "a VAT registration"),
    ],
)
def test_it_says_what_the_seller_needs_before_the_first_invoice(db, capsys, address, wanted):
    create(**address)
    seller = Seller.everything.get(operator__slug="quarry")
    assert {part: getattr(seller, part) for part in address} == address
    said = capsys.readouterr().out
    assert f"the seller needs {wanted}:" in said
    assert f"/accounts/seller/{seller.pk}/change/" in said


def test_the_owner_signs_in_and_sees_the_three_first_steps(db):
    create()
    client = Client(headers={"host": settings.ADMIN_HOST})
    response = client.post("/accounts/login/", {"login": "owner@quarry.example", "password": PASSWORD})
    assert response.status_code == 302
    home = client.get("/")
    assert [(str(step.title), step.state) for step in home.context["steps"]] == [
        ("Add a location", "next"),
        ("Add a charger", "later"),
        ("Add cards", "later"),
    ]


def test_higher_apps_hear_of_it(db):
    create()
    operator = Operator.objects.get(slug="quarry")
    heard = [queued.args()[:2] for queued in OrmQ.objects.all()]
    told = [path for path, payloads in heard if payloads == [{"operator_id": operator.pk}]]
    assert told == core_events._subscribers[events.OPERATOR_CREATED]


def test_the_first_owner_can_be_made_the_platforms_owner(db):
    create(platform=True)
    assert User.objects.get(email="owner@quarry.example").platform_role == PlatformRole.OWNER


def test_a_person_who_is_known_becomes_the_owner_and_keeps_the_password(ours):
    create(owner_email=ours.driver.email, password=None)
    membership = Membership.everything.get(operator__slug="quarry")
    assert membership.user == ours.driver
    assert not ours.driver.check_password(PASSWORD)


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "Amber Power"},
        {"slug": "amber"},
        {"slug": "no good"},
        {"country": "Austria"},
        {"brand_host": "amber.localhost"},
        {"brand_host": settings.ADMIN_HOST},
        {"owner_email": "nobody"},
        {"password": "short"},
    ],
)
def test_what_is_taken_or_wrong_is_refused_and_leaves_nothing(ours, changed):
    before = (Operator.objects.count(), User.objects.count(), Brand.everything.count())
    with pytest.raises(CommandError):
        create(**changed)
    assert (Operator.objects.count(), User.objects.count(), Brand.everything.count()) == before
