"""What a customer's bookkeeping reads: tariffs, contracts, CDRs, invoices."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.billing import services
from tests.api.test_resources import Api, key_of
from tests.factories.billing import finalised, make_cdr_elsewhere, make_cdrs, make_customer
from tests.factories.contracts import bind_card, published_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def api(ours):
    return Api(key_of(ours), settings.ADMIN_HOST)


@pytest.fixture
def contract(ours):
    return make_customer(ours, base_fee="9.90")


def results(response) -> list[dict]:
    assert response.status_code == 200, response.content
    return response.json()["results"]


def test_a_tariff_is_told_with_its_published_versions(api, ours, contract):
    version = published_version(ours.operator, name="Night")
    type(version).everything.create(operator=ours.operator, tariff=version.tariff, number=2)
    told = next(one for one in results(api.get("tariffs/")) if one["name"] == "Night")
    assert [one["number"] for one in told["versions"]] == [1]
    assert told["versions"][0]["elements"] == version.elements
    assert told["versions"][0]["price_basis"] == "net"


def test_a_contract_is_told_with_its_versions_and_a_card_with_its_contract(api, ours, contract):
    (told,) = results(api.get("contracts/", number=contract.number))
    assert (told["account"], told["currency"]) == (contract.account.number, "EUR")
    assert [Decimal(one["base_fee"]) for one in told["versions"]] == [Decimal("9.90")]
    card = api.get(f"tokens/{ours.token.public_id}/").json()
    assert card["contract"] == told["id"]


def test_a_card_without_a_contract_today_has_none(api, ours, contract):
    binding = ours.token.contracts.get()
    binding.valid_to = binding.valid_from
    binding.save()
    assert api.get(f"tokens/{ours.token.public_id}/").json()["contract"] is None
    bind_card(ours.token, contract, valid_from=binding.valid_to.replace(day=2))
    assert api.get(f"tokens/{ours.token.public_id}/").json()["contract"] == str(contract.public_id)


def test_an_invoice_adds_up_to_its_cdrs(api, ours, contract):
    cdrs = make_cdrs(ours, contract, ["5.43", "1.20"])
    finalised(ours)
    told = results(api.get("cdrs/"))
    assert {one["id"] for one in told} == {str(cdr.public_id) for cdr in cdrs}
    assert sum(Decimal(one["total"]) for one in told) == Decimal("6.63")
    (invoice,) = results(api.get("invoices/"))
    assert Decimal(invoice["net"]) == Decimal("16.53")
    lines = results(api.get(f"invoices/{invoice['id']}/lines/"))
    assert sum(Decimal(one["net"]) for one in lines) == Decimal("16.53")
    assert {one["cdr"] for one in lines} == {None, *(str(cdr.public_id) for cdr in cdrs)}


def test_an_invoice_s_lines_keep_the_charger_of_another_host_to_themselves(ours, contract):
    make_cdr_elsewhere(ours, contract, "Quay Seven")
    [invoice] = finalised(ours)
    fleet = Api(key_of(ours, organisation=ours.fleet), settings.ADMIN_HOST)
    told = fleet.get(f"invoices/{invoice.public_id}/lines/")
    assert [one["text"].get("place") for one in results(told)] == ["Harbour Quay", None]
    assert "Quay Seven" not in told.content.decode()


@pytest.mark.parametrize("path", ["cdrs/", "contracts/", "tariffs/", "invoices/"])
def test_a_page_costs_no_query_a_row(api, ours, contract, path):
    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            assert api.get(path).status_code == 200
        return len(found)

    make_cdrs(ours, contract, ["1.00"])
    finalised(ours)
    api.get(path)
    alone = queries()
    for _ in range(3):
        make_cdrs(ours, make_customer(ours), ["1.00", "2.00"])
    finalised(ours)
    assert queries() <= alone


def test_a_page_of_invoices_leaves_their_snapshots_where_they_are(api, ours, contract, system):
    make_cdrs(ours, contract, ["1.00"])
    [invoice] = finalised(ours)
    services.cancel_invoice(actor=system, invoice=invoice, why="x")
    with CaptureQueriesContext(connection) as found:
        assert len(results(api.get("invoices/"))) == 2
    assert not [one["sql"] for one in found if '"snapshot"' in one["sql"]]


@pytest.mark.parametrize("path", ["cdrs/", "contracts/", "tariffs/", "invoices/"])
def test_a_rival_sees_nothing_of_it(rival, ours, contract, path):
    make_cdrs(ours, contract, ["1.00"])
    finalised(ours)
    ids = {one["id"] for one in results(Api(key_of(ours), settings.ADMIN_HOST).get(path))}
    theirs = Api(key_of(rival), settings.ADMIN_HOST)
    assert ids
    assert not ids & {one["id"] for one in results(theirs.get(path))}
    assert all(theirs.get(f"{path}{pk}/").status_code == 404 for pk in ids)


def test_a_draft_is_no_invoice_yet(api, ours, contract):
    make_cdrs(ours, contract, ["1.00"])
    assert results(api.get("invoices/")) == []
