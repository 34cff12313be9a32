"""Years that nobody means, at every door where people write a date: refused with words, never stored, never a 500."""

from __future__ import annotations

import datetime as dt

import pytest
from django import forms
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile

from apps.accounts.models import SellerRegistration
from apps.cards.models import Token, TokenContract
from apps.cards.services import create_token
from apps.contracts.models import Contract
from apps.core.models import in_calendar
from apps.core.templatetags.parts import at_place, exact_at_place
from apps.installations.models import ChargingStation, DataImport
from tests.factories.cards import TokenFactory
from tests.factories.contracts import make_contract
from tests.factories.forms import filled_in

pytestmark = pytest.mark.django_db
DAYS = ["0001-01-01", "1899-12-31", "3001-01-01", "9999-12-31"]
YEARS = "Write a date of the years 1900 to 3000."


def post(client, path: str, **given):
    """The form of a page as it stands, with other values."""
    return client.post(path, filled_in(client.get(path).content.decode()) | given)


@pytest.mark.parametrize("day", DAYS)
class TestForms:
    def refused(self, answer) -> None:
        assert answer.status_code == 200
        assert YEARS in answer.content.decode()

    def test_a_card_and_a_charger(self, ours, desk, day):
        client = desk(ours.owner)
        card = f"/cards/token/{ours.token.pk}/change/"
        self.refused(post(client, card, expires_at_0=day, expires_at_1="00:00:00"))
        charger = f"/installations/chargingstation/{ours.station.pk}/change/"
        self.refused(post(client, charger, traced_until_0=day, traced_until_1="23:59:59"))
        assert not Token.everything.exclude(expires_at=None).exists()
        assert not ChargingStation.everything.exclude(traced_until=None).exists()

    def test_hardware(self, ours, desk, day):
        path = f"/installations/chargingstation/{ours.station.pk}/assign-hardware/"
        self.refused(desk(ours.owner).post(path, {"serial": "X", "why": "swap", "at": f"{day} 00:00"}))

    def test_a_card_on_a_contract(self, ours, desk, day):
        contract = make_contract(ours, bind=False)
        card = TokenFactory(operator=ours.operator, organisation=ours.fleet, contract=False)
        client, path = desk(ours.owner), f"/cards/token/{card.pk}/bind/"
        given = {"contract": contract.pk, "valid_from": "2026-11-01", "valid_to": "", "why": "agreed"}
        self.refused(client.post(path, given | {"valid_from": day}))
        self.refused(client.post(path, given | {"valid_to": day}))
        assert not TokenContract.everything.filter(token=card).exists()
        assert client.get(f"/cards/token/{card.pk}/change/?place={ours.location.pk}&on={day}").status_code == 200

    def test_a_contract(self, ours, desk, day):
        contract = make_contract(ours, bind=False)
        client, path = desk(ours.owner), f"/contracts/contract/{contract.pk}"
        self.refused(client.post(f"{path}/end/", {"last_day": day, "why": "over"}))
        self.refused(post(client, "/contracts/contract/add/", starts_on=day))
        assert not Contract.everything.exclude(ends_on=None).exists()

    def test_a_registration(self, ours, desk, day):
        seller = f"/accounts/seller/{ours.location.seller_id}/change/"
        row = {"registrations-0-country": "DE", "registrations-0-vat_id": "DE136695976"}
        row |= {"registrations-TOTAL_FORMS": "1", "registrations-0-valid_from": day}
        self.refused(post(desk(ours.owner), seller, **row))
        assert not SellerRegistration.everything.filter(operator=ours.operator).exists()


@pytest.mark.parametrize("day", [*DAYS, "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
def test_a_file_is_looked_at_and_its_row_refused(ours, desk, day):
    upload = SimpleUploadedFile("cards.csv", f"uid,valid_until\n04AABB,{day}\n".encode())
    answer = desk(ours.owner).post("/import/cards/", {"file": upload})
    assert answer.status_code == 302
    [(_line, _key, reasons)] = DataImport.everything.get().refused
    assert reasons == [f"valid_until: {YEARS}"]


def _kinds(kind: type) -> list[type]:
    return [kind, *(one for child in kind.__subclasses__() for one in _kinds(child))]


def test_no_form_has_a_date_without_bounds():
    ours = [kind for kind in _kinds(forms.Form) if kind.__module__.startswith("apps.")]
    fields = [(kind, name, one) for kind in ours for name, one in kind.base_fields.items()]
    dates = [entry for entry in fields if isinstance(entry[2], forms.DateField | forms.DateTimeField)]
    assert len(dates) > 8
    bare = [(kind.__name__, name) for kind, name, one in dates if in_calendar not in one.validators]
    assert bare == [("ExampleForm", "start")]  # which has narrower ones of its own


def test_a_service_refuses_it_too(system):
    latest = dt.datetime(9999, 12, 31, 23, 59, tzinfo=dt.timezone(-dt.timedelta(hours=14)))
    with pytest.raises(ValidationError, match=YEARS):
        create_token(actor=system, uid="04AABB", expires_at=latest)


@pytest.mark.parametrize(
    "query", ["since=0001-01-01 00:00", "until=9999-12-31 23:59", "before=0001-01-01T00:00%2B14:00"]
)
def test_the_messages_of_a_charger_are_shown(ours, desk, query):
    assert desk(ours.owner).get(f"/chargers/{ours.station.pk}/messages/?{query}").status_code == 200


@pytest.mark.parametrize(
    ("edge", "zone"), [("9999-12-31T23:00Z", "Pacific/Kiritimati"), ("0001-01-01T01:00Z", "America/New_York")]
)
def test_what_is_stored_all_the_same_is_shown(edge, zone):
    at = dt.datetime.fromisoformat(edge)
    assert exact_at_place(at, zone).endswith(":00:00 UTC")
    assert at_place(at, zone).endswith(":00 UTC")
