"""The back office's pages of parties, billing accounts and contracts."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse

from apps.accounts.admin import RegistrationFormSet
from apps.accounts.models import AuditEntry, Organisation, SellerRegistration
from apps.accounts.permissions import Role
from apps.accounts.selectors import operator_today
from apps.contracts import services
from apps.contracts.models import BillingAccount, Contract, Party
from tests.factories.accounts import MembershipFactory, OrganisationFactory, UserFactory
from tests.factories.clients import desk_of
from tests.factories.contracts import bind_card, create_contract, make_contract, published_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def today(ours) -> dt.date:
    return operator_today(ours.operator.pk)


@pytest.fixture
def tariff(ours):
    return published_version(ours.operator, name="Depot").tariff


def add_account(desk: Client, system) -> BillingAccount:
    made = desk.post("/contracts/party/add/", {"name": "Elbe Freight GmbH", "kind": "company", "organisation": ""})
    assert made.status_code == 302, made.context["errors"]
    party = Party.objects.visible_to(system).get(name="Elbe Freight GmbH")
    address = {"name": party.name, "street": "Quay 7", "postal_code": "20457", "city": "Hamburg", "country": "DE"}
    data = {"party": party.pk, "number": "K900", "email": "ap@elbe.example", "language": "de", **address}
    made = desk.post("/contracts/billingaccount/add/", data)
    assert made.status_code == 302, made.context["errors"]
    return BillingAccount.objects.visible_to(system).get(number="K900")


def contract_data(account: BillingAccount, tariff, **given) -> dict:
    fields = {"number": "V900", "name": "Vans", "currency": "EUR", "starts_on": "2026-01-01", "ends_on": ""}
    return {"account": account.pk, **fields, "tariff": tariff.pk, "base_fee": "9.90", **given}


def test_from_a_party_to_a_contract_with_its_first_terms(ours, system, desk, tariff):
    account = add_account(desk, system)
    made = desk.post("/contracts/contract/add/", contract_data(account, tariff))
    assert made.status_code == 302
    contract = Contract.objects.visible_to(system).get(number="V900")
    version = contract.versions.get()
    assert (version.tariff, version.base_fee, version.created_by) == (tariff, Decimal("9.90"), ours.owner)
    actions = AuditEntry.objects.visible_to(system).order_by("pk").values_list("action", flat=True)
    assert list(actions) == [
        "party.created",
        "billingaccount.created",
        "contract.created",
        "contract.version_added",
    ]


def test_whose_invoices_an_account_has_is_never_changed(ours, system, desk, tariff):
    account, other = add_account(desk, system), services.create_party(actor=system, name="Alster Taxi")
    url = reverse("admin:contracts_billingaccount_change", args=[account.pk])
    address = {"name": "Elbe AG", "street": "Quay 8", "postal_code": "20457", "city": "Hamburg", "country": "DE"}
    data = {"party": other.pk, "number": "K1", "email": "ap@elbe.example", "language": "de", **address}
    assert desk.post(url, data).status_code == 302
    changed = BillingAccount.objects.visible_to(system).get(pk=account.pk)
    assert (changed.party, changed.number, changed.name) == (account.party, "K900", "Elbe AG")
    [entry] = AuditEntry.objects.visible_to(system).filter(action="billingaccount.changed")
    assert (entry.before["name"], entry.after["name"]) == ("Elbe Freight GmbH", "Elbe AG")
    assert "party" not in entry.after


class TestOrganisationOfAParty:
    """Who sees its invoices in the portal: given once, and not once it has a contract."""

    def give(self, desk: Client, system, party: Party, organisation: Organisation) -> Organisation | None:
        data = {"name": party.name, "kind": "company", "organisation": organisation.pk}
        data |= {"accounts-TOTAL_FORMS": 0, "accounts-INITIAL_FORMS": 0}
        saved = desk.post(reverse("admin:contracts_party_change", args=[party.pk]), data)
        assert saved.status_code == 302, saved.context["errors"]
        found: Party = Party.objects.visible_to(system).get(pk=party.pk)
        return found.organisation

    def test_it_is_given_once(self, ours, desk, system):
        party = add_account(desk, system).party
        other = OrganisationFactory(operator=ours.operator)
        assert self.give(desk, system, party, ours.fleet) == ours.fleet
        [entry] = AuditEntry.objects.visible_to(system).filter(action="party.changed")
        assert str(ours.fleet) in entry.after["organisation"]
        assert self.give(desk, system, party, other) == ours.fleet

    def test_a_party_with_a_contract_stays_without(self, ours, desk, system):
        party = create_contract(ours.operator).account.party
        assert self.give(desk, system, party, ours.fleet) is None


def test_a_refusal_stands_beside_its_field(system, desk, ours):
    francs = published_version(ours.operator, currency="CHF").tariff
    page = desk.post("/contracts/contract/add/", contract_data(add_account(desk, system), francs))
    assert page.status_code == 200
    assert "in CHF, the contract in EUR" in str(page.context["adminform"].form.errors["tariff"])
    assert not Contract.objects.visible_to(system).filter(number="V900").exists()


def test_a_contract_s_page_shows_its_terms_and_cards(ours, desk, system, tariff, today):
    contract = make_contract(ours, base_fee="9.90")
    url = reverse("admin:contracts_contract_change", args=[contract.pk])
    next_year = dt.date(today.year + 1, 1, 1)
    changed = desk.post(
        reverse("admin:contracts_contract_add_version", args=[contract.pk]),
        {"valid_from": next_year.isoformat(), "tariff": tariff.pk, "base_fee": "12", "why": "renegotiated"},
    )
    assert changed.headers["Location"] == url
    page = desk.get(url).content.decode()
    assert [one in page for one in ("€9.90", "€12.00", "in force", "to come", "Amber card")] == [True] * 5
    history = desk.get(reverse("admin:contracts_contract_history", args=[contract.pk])).content.decode()
    assert "renegotiated" in history


def test_only_its_name_is_edited(ours, desk, system):
    contract = make_contract(ours)
    url = reverse("admin:contracts_contract_change", args=[contract.pk])
    desk.post(url, {"name": "Vans of the north", "currency": "CHF", "starts_on": "2020-01-01", "number": "X"})
    contract = Contract.objects.visible_to(system).get(pk=contract.pk)
    assert (contract.name, contract.currency, contract.number[0]) == ("Vans of the north", "EUR", "V")


def test_an_end_is_set_with_a_reason(ours, desk, system, today):
    contract = make_contract(ours)
    url = reverse("admin:contracts_contract_end", args=[contract.pk])
    refused = desk.post(url, {"last_day": (today - dt.timedelta(days=9)).isoformat(), "why": "sold"})
    assert "at the earliest" in refused.content.decode()
    desk.post(url, {"last_day": today.isoformat(), "why": "sold"})
    assert Contract.objects.visible_to(system).get(pk=contract.pk).ends_on == today


def test_the_list_says_what_runs_on_which_tariff_with_how_many_cards(ours, desk, today):
    contract = make_contract(ours)
    page = desk.get("/contracts/contract/", {"show": "running"}).content.decode()
    assert contract.number in page
    assert contract.number not in desk.get("/contracts/contract/", {"show": "ended"}).content.decode()
    assert contract.number not in desk.get("/contracts/contract/", {"show": "future"}).content.decode()
    found = desk.get("/contracts/contract/", {"q": contract.number}).context["cl"].result_list[0]
    assert (found.cards_count, found.tariff_name) == (1, contract.versions.get().tariff.name)


def test_no_card_is_on_a_contract_that_ended(ours, desk, today):
    ended = make_contract(ours, ends_on=today - dt.timedelta(days=1))
    found = desk.get("/contracts/contract/", {"q": ended.number}).context["cl"].result_list[0]
    assert found.cards_count == 0


def test_who_has_a_running_contract_is_not_archived(ours, desk, system):
    party = make_contract(ours).account.party
    page = desk.post(reverse("admin:contracts_party_archive", args=[party.pk]), {"why": "gone"}).content.decode()
    assert "1 contract is not over yet" in page
    assert Party.objects.visible_to(system).get(pk=party.pk).archived_at is None


@pytest.mark.parametrize(("role", "answer"), [(Role.FINANCE, 200), (Role.SUPPORT, 403), (Role.TECHNICIAN, 403)])
def test_contracts_are_made_by_owners_and_finance(ours, role, answer):
    user = UserFactory()
    MembershipFactory(operator=ours.operator, user=user, role=role)
    assert desk_of(user).get("/contracts/contract/add/").status_code == answer
    assert desk_of(user).get("/contracts/contract/").status_code == 200


# --- VAT registrations of a seller ------------------------------------------------------------------------------------
def registrations(seller, *rows: dict) -> dict:
    data = {"legal_name": seller.legal_name, "country": "DE", "tax_number": "27/123/45678", "organisation": ""}
    data |= {"registrations-TOTAL_FORMS": len(rows), "registrations-INITIAL_FORMS": 0}
    for number, row in enumerate(rows):
        row = {"country": "DE", "number_prefix": f"DE{number}", "vat_id": "", "valid_to": "", **row}
        data |= {f"registrations-{number}-{name}": value for name, value in row.items()}
    return data


def test_a_seller_s_registrations_are_kept_on_its_page(ours, desk, system):
    seller = ours.location.seller
    url = reverse("admin:accounts_seller_change", args=[seller.pk])
    saved = desk.post(
        url,
        registrations(
            seller,
            {"valid_from": "2024-01-01", "valid_to": "2025-12-31"},
            {"valid_from": "2026-01-01", "vat_id": "DE136695976"},
            {"valid_from": "2026-01-01", "country": "NL", "number_prefix": "NL"},
        ),
    )
    assert saved.status_code == 302, saved.context["errors"]
    assert SellerRegistration.objects.visible_to(system).filter(seller=seller).count() == 3
    assert desk.get(url).status_code == 200


@pytest.mark.parametrize(
    ("row", "field", "text"),
    [
        ({"valid_from": "2025-06-01"}, "valid_from", "Another registration in this country"),
        ({"valid_from": "2026-01-01", "vat_id": "DE1"}, "vat_id", ""),
        ({"valid_from": "2026-01-01", "valid_to": "2025-01-01"}, "__all__", "end before it starts"),
    ],
)
def test_a_registration_that_cannot_be_is_refused_beside_its_row(ours, desk, system, row, field, text):
    seller = ours.location.seller
    url = reverse("admin:accounts_seller_change", args=[seller.pk])
    data = registrations(seller, {"valid_from": "2024-01-01", "valid_to": "2025-12-31"}, row)
    page = desk.post(url, data)
    assert page.status_code == 200
    [formset] = [one.formset for one in page.context["inline_admin_formsets"]]
    assert text in str(formset.forms[1].errors[field])
    assert not SellerRegistration.objects.visible_to(system).exists()


def test_what_only_the_database_sees_is_told_in_the_form(ours, desk, system, monkeypatch):
    seller = ours.location.seller
    url = reverse("admin:accounts_seller_change", args=[seller.pk])
    monkeypatch.setattr(RegistrationFormSet, "clean", lambda formset: None)  # as if both were typed at once
    data = registrations(seller, {"valid_from": "2024-01-01"}, {"valid_from": "2025-01-01"})
    page = desk.post(url, data)
    assert "would overlap" in page.content.decode()
    assert not SellerRegistration.objects.visible_to(system).exists()


def test_bound_cards_of_a_contract_are_listed_from_there(ours, desk, system):
    contract = make_contract(ours)
    services.create_party(actor=system, name="Nobody")
    page = desk.get("/cards/token/", {"contracts__contract__id__exact": contract.pk}).content.decode()
    assert "Amber card" in page
    other = make_contract(ours, bind=False)
    assert "Amber card" not in desk.get("/cards/token/", {"contracts__contract__id__exact": other.pk}).content.decode()
    bind_card(ours.token, other, dt.date(2020, 1, 1), dt.date(2020, 2, 1))
    assert "Amber card" in desk.get("/cards/token/", {"contracts__contract__id__exact": other.pk}).content.decode()
