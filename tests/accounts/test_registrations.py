"""A seller's registrations for VAT, on the seller's page: numbers of invoices begin with their prefix."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse

from apps.accounts.permissions import Role
from tests.factories.accounts import MembershipFactory, UserFactory
from tests.factories.billing import make_seller
from tests.factories.clients import desk_of


def page_of(tenant) -> tuple[Client, str]:
    user = UserFactory()
    MembershipFactory(operator=tenant.operator, user=user, role=Role.FINANCE)
    return desk_of(user), reverse(
        "admin:accounts_seller_change", args=[tenant.location.seller_id], urlconf="config.urls_admin"
    )


def posted(page, **changes) -> dict:
    """What a browser would send of the page as it was shown, but for changes to the first registration."""
    forms = [
        page.context["adminform"].form,
        *(
            form
            for one in page.context["inline_admin_formsets"]
            for form in [one.formset.management_form, *one.formset.forms]
        ),
    ]
    data = {form.add_prefix(name): form[name].value() for form in forms for name in form.fields}
    data |= {f"registrations-0-{name}": value for name, value in changes.items()}
    return {name: "" if value is None else value for name, value in data.items() if value is not False}


def test_a_registration_ends_and_keeps_its_prefix(ours):
    registration = make_seller(ours)
    desk, url = page_of(ours)
    answer = desk.post(url, posted(desk.get(url), number_prefix="DEOLD", valid_to="2026-12-31"))
    assert answer.status_code == 302, answer.context["errors"]
    registration.refresh_from_db()
    assert (registration.number_prefix, str(registration.valid_to)) == ("DE", "2026-12-31")


def test_a_prefix_is_chosen_once(ours):
    registration = make_seller(ours)
    registration.full_clean()
    registration.number_prefix = "DEOLD"
    with pytest.raises(ValidationError, match="stays as it is"):
        registration.full_clean()
