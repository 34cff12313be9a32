"""The back office's tariff pages: written without knowing JSON, looked at, published, final."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from html import unescape

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from apps.accounts.models import AuditEntry
from apps.accounts.permissions import Role
from apps.accounts.selectors import operator_today
from apps.contracts.models import ContractVersion
from apps.tariffs import services
from apps.tariffs.elements import read
from apps.tariffs.forms import ElementRows, initial_of
from apps.tariffs.models import Tariff, TariffVersion
from apps.tariffs.rating import RatingError
from apps.tariffs.views import fault_of
from tests.factories.accounts import MembershipFactory, UserFactory
from tests.factories.clients import desk_of
from tests.factories.contracts import make_contract, published_version
from tests.factories.forms import filled_in
from tests.tariffs.worlds import element, price

pytestmark = pytest.mark.django_db


EXAMPLE = {"start": "2026-11-23T10:00", "energy_kwh": "30", "charging_min": "90", "parking_min": "10080"}


@pytest.fixture
def today(ours) -> dt.date:
    return operator_today(ours.operator.pk)


@pytest.fixture
def tariff(system) -> Tariff:
    services.add_statutory_rates(operator_id=system.operator_id)
    return services.create_tariff(actor=system, name="Depot", currency="EUR")


def rows(*forms: dict, fee: str = "0", **given) -> dict:
    """What the editor's browser sends."""
    data = {"rows-TOTAL_FORMS": len(forms), "rows-INITIAL_FORMS": 0, "fee_after_minutes": fee, **given}
    for number, form in enumerate(forms):
        vat = {f"{kind}_vat": "standard" for kind in ("energy", "time", "parking", "fee")}
        order = {"ORDER": number + 1}
        data |= {f"rows-{number}-{name}": value for name, value in {**vat, **order, **form}.items()}
    return data


def shown_in(page) -> dict:
    """What its browser would send unchanged; boxes that are not ticked send nothing."""
    sent = filled_in(page.content.decode())
    return {name: "" if values == ["on"] else values for name, values in sent.items()}


def edit(desk: Client, tariff: Tariff, data: dict):
    return desk.post(reverse("tariffs:edit", args=[tariff.pk]), data)


def publish(desk: Client, tariff: Tariff, seen: str | None = None, **given):
    """What the publisher's browser sends after it was shown the draft, or what it was shown before."""
    url = reverse("tariffs:publish", args=[tariff.pk])
    [shown] = filled_in(desk.get(url).content.decode())["seen"]
    return desk.post(url, {"seen": seen or shown, "why": "x", **given})


def draft_of(tariff: Tariff) -> TariffVersion:
    return TariffVersion.everything.get(tariff=tariff, published_at=None)


def test_a_tariff_is_made_written_looked_at_and_published(ours, system, desk):
    services.add_statutory_rates(operator_id=ours.operator.pk)
    made = desk.post("/tariffs/tariff/add/", {"name": "Depot", "currency": "EUR"})
    tariff = Tariff.objects.visible_to(system).get()
    assert made.headers["Location"] == reverse("tariffs:edit", args=[tariff.pk])
    office = {"days": ["MONDAY", "FRIDAY"], "start_time": "08:00", "end_time": "18:00", "energy_price": "0.59"}
    saved = edit(
        desk, tariff, rows(office, {"energy_price": "0.49", "fee_price": "0.5", "energy_step": "0.5"}, fee="3")
    )
    assert saved.status_code == 302
    assert draft_of(tariff).elements == [
        {
            "price_components": [{"type": "ENERGY", "price": "0.59", "step_size": 1, "vat_class": "standard"}],
            "restrictions": {"day_of_week": ["MONDAY", "FRIDAY"], "start_time": "08:00", "end_time": "18:00"},
        },
        {
            "price_components": [
                {"type": "ENERGY", "price": "0.49", "step_size": 500, "vat_class": "standard"},
                {"type": "FLAT", "price": "0.5", "step_size": 1, "vat_class": "standard"},
            ]
        },
    ]
    page = desk.get(saved.headers["Location"]).content.decode()
    assert "Nothing is charged by it before it is published" in page
    assert "€0.59 per kWh" in page
    assert "<svg" in page
    today = timezone.now().date()
    publishing = publish(desk, tariff, valid_from=today.isoformat(), why="first prices")
    assert publishing.status_code == 302
    version = TariffVersion.everything.get(tariff=tariff)
    assert (version.valid_from, version.published_by, version.fee_after_minutes) == (today, ours.owner, 3)
    history = desk.get(reverse("admin:tariffs_tariff_history", args=[tariff.pk])).content.decode()
    assert "first prices" in history


def test_the_example_is_priced_line_by_line_with_vat(desk, tariff, system, ours):
    elements = [element(price("ENERGY", "0.49")), element(price("PARKING_TIME", "6", 900))]
    services.save_draft(actor=system, tariff=tariff, elements=elements)
    asked = {
        "version": "draft",
        "place": ours.location.pk,
        "start": "2026-11-23T10:00",
        "energy_kwh": "30",
        "charging_min": "90",
        "parking_min": "20",
    }
    page = desk.get(reverse("tariffs:tariff", args=[tariff.pk]), asked)
    example = page.context["example"]
    assert [(line.title, line.measured, line.counted, line.exact) for line in example.lines] == [
        ("Energy", "30.00 kWh", "", "€14.70"),
        ("Parking after charging", "20 min", "30 min", "€3.00"),
    ]
    assert [(one.percent, one.net, one.amount) for one in example.vat] == [
        (Decimal(19), Decimal("17.70"), Decimal("3.36"))
    ]
    assert "€21.06" in page.content.decode()


@pytest.mark.parametrize(
    ("form", "field", "text"),
    [
        ({"energy_price": "x"}, "energy_price", "Enter a number"),
        ({"energy_price": "0.1234567"}, "energy_price", "no more than 6 decimal places"),
        ({"start_time": "25:00", "energy_price": "1"}, "start_time", "Enter a valid time"),
        ({"days": ["MONDAY"]}, None, "It has no price."),
        ({"start_time": "08:00", "end_time": "08:00", "energy_price": "1"}, None, "window ends when it begins"),
        ({"first_day": "2026-05-02", "last_day": "2026-05-01", "energy_price": "1"}, None, "last day lies before"),
        ({"after": "30", "until": "10", "energy_price": "1"}, None, "longest duration is not above"),
    ],
)
def test_an_error_stands_beside_its_row(desk, tariff, form, field, text):
    response = edit(desk, tariff, rows({"energy_price": "0.49"}, form))
    first, second = response.context["rows"].forms
    assert not first.errors
    told = second.errors.get(field) if field else second.non_field_errors()
    assert text in str(told)
    assert text in response.content.decode()
    assert not TariffVersion.everything.filter(tariff=tariff).exists()


def test_no_rows_are_refused_with_a_reason(desk, tariff):
    response = edit(desk, tariff, rows())
    assert "A tariff needs at least one price." in response.content.decode()


def test_rows_are_moved_and_removed(desk, tariff):
    last, first = {"energy_price": "0.49", "ORDER": 3}, {"energy_price": "0.3", "days": ["SUNDAY"], "ORDER": 1}
    edit(desk, tariff, rows(last, {"energy_price": "wrong", "DELETE": "on", "ORDER": 2}, first))
    assert [one["price_components"][0]["price"] for one in draft_of(tariff).elements] == ["0.3", "0.49"]


def test_without_javascript_a_row_is_added_by_the_server(desk, tariff):
    page = edit(desk, tariff, rows({"energy_price": "0.4"}, add="1"))
    sent = shown_in(page)
    assert sent["rows-TOTAL_FORMS"] == ["2"]
    assert sent["rows-0-energy_price"] == ["0.4"]
    assert not TariffVersion.everything.filter(tariff=tariff).exists()


def test_what_the_editor_shows_it_saves_unchanged(desk, tariff, system):
    elements = [
        element(
            price("ENERGY", "0.4949", 1),
            price("TIME", "1.2", 90, "reduced"),
            day_of_week=["SATURDAY", "SUNDAY"],
            start_time="22:00",
            end_time="00:00",
            start_date="2026-06-01",
            end_date="2026-09-01",
            min_duration=1800,
            max_duration=7201,
        ),
        element(price("ENERGY", "0", 1333), price("PARKING_TIME", "100", 900), price("FLAT", "0.5")),
    ]
    services.save_draft(actor=system, tariff=tariff, elements=elements, fee_after_minutes=2)
    shown = shown_in(desk.get(reverse("tariffs:edit", args=[tariff.pk])))
    assert edit(desk, tariff, shown).status_code == 302
    assert read(draft_of(tariff).elements) == read(elements)
    assert draft_of(tariff).fee_after_minutes == 2


def test_numbers_are_typed_as_the_language_writes_them(desk, tariff, ours):
    ours.owner.language = "de"
    ours.owner.save()
    edit(desk, tariff, rows({"energy_price": "0,4949"}))
    assert draft_of(tariff).elements[0]["price_components"][0]["price"] == "0.4949"
    shown = shown_in(desk.get(reverse("tariffs:edit", args=[tariff.pk])))
    assert shown["rows-0-energy_price"] == ["0,4949"]
    assert edit(desk, tariff, shown).status_code == 302


@pytest.mark.parametrize("seconds", [1, 10, 59, 60, 61, 90, 3600, 86_399])
def test_steps_and_durations_survive_the_way_through_minutes(seconds):
    wanted = read([element(price("TIME", "1", seconds), min_duration=seconds), element(price("TIME", "1"))])
    data = rows(*({name: "" if value is None else value for name, value in initial_of(one).items()} for one in wanted))
    formset = ElementRows(data, prefix="rows")
    assert formset.is_valid(), formset.errors
    assert read(formset.elements()) == wanted


def test_a_tariff_without_a_price_that_always_holds_is_not_published(desk, tariff):
    edit(desk, tariff, rows({"energy_price": "0.4", "days": ["MONDAY"]}))
    url = reverse("tariffs:publish", args=[tariff.pk])
    page = desk.get(url).content.decode()
    assert "needs a price that always holds" in page
    assert ">Publish</button>" not in page
    refused = publish(desk, tariff, valid_from="2026-12-01")
    assert "needs a price that always holds" in str(refused.context["form"].non_field_errors())
    assert refused.status_code == 200
    assert draft_of(tariff)


def test_odd_prices_are_warned_of_before_they_are_published(desk, tariff):
    edit(desk, tariff, rows({"energy_price": "0.4"}, {"energy_price": "0.3", "days": ["MONDAY"]}))
    page = desk.get(reverse("tariffs:publish", args=[tariff.pk])).content.decode()
    assert "its price of energy never applies" in page


def test_a_version_that_follows_another_begins_today_at_the_earliest(desk, ours):
    tariff = published_version(ours.operator).tariff
    edit(desk, tariff, rows({"energy_price": "0.4"}))
    yesterday = timezone.now().date() - dt.timedelta(days=2)
    page = publish(desk, tariff, valid_from=yesterday.isoformat())
    assert "begins today at the earliest" in str(page.context["form"].errors["valid_from"])


def test_a_draft_is_discarded_with_a_reason(desk, tariff, system):
    edit(desk, tariff, rows({"energy_price": "0.4"}))
    desk.post(reverse("admin:tariffs_tariff_discard_draft", args=[tariff.pk]), {"why": "typo"})
    assert not TariffVersion.everything.filter(tariff=tariff).exists()
    assert AuditEntry.objects.visible_to(system).get(action="tariff.draft_discarded").why == "typo"


def test_it_is_renamed_and_archived(desk, tariff, system):
    desk.post(reverse("admin:tariffs_tariff_rename", args=[tariff.pk]), {"name": "Depot South", "why": "moved"})
    assert Tariff.objects.visible_to(system).get().name == "Depot South"
    desk.post(reverse("admin:tariffs_tariff_archive", args=[tariff.pk]), {"why": "no longer sold"})
    page = desk.get(reverse("tariffs:tariff", args=[tariff.pk])).content.decode()
    assert "Archived on" in page
    assert reverse("tariffs:edit", args=[tariff.pk]) not in page


def on_contract(tenant, tariff: Tariff, *, valid_from: dt.date, contract=None, **given):
    """A contract, or another version of it, by which the tariff holds."""
    contract = contract or make_contract(tenant, bind=False, **given)
    number = contract.versions.count() + 1
    ContractVersion.everything.create(
        operator=tenant.operator, contract=contract, number=number, valid_from=valid_from, tariff=tariff
    )
    return contract


def shown_contracts(desk: Client, tariff: Tariff) -> tuple[int, int]:
    """How many contracts the list of tariffs counts, and how many its link shows."""
    page = desk.get("/tariffs/tariff/?q=Depot").content.decode()
    url, count = re.search(rf'<a href="([^"]+tariff_key={tariff.pk})">(\d+)</a>', page).groups()
    found = desk.get(unescape(url))
    assert found.status_code == 200
    return int(count), found.context["cl"].result_count


def test_the_list_counts_the_contracts_that_have_the_tariff_today_and_leads_to_them(ours, rival, desk, tariff, today):
    assert shown_contracts(desk, tariff) == (0, 0)
    early, other = today - dt.timedelta(days=40), published_version(ours.operator).tariff
    on_contract(ours, tariff, valid_from=early)
    on_contract(ours, tariff, valid_from=today + dt.timedelta(days=1))
    on_contract(ours, tariff, valid_from=early, ends_on=today - dt.timedelta(days=1))
    left = on_contract(ours, tariff, valid_from=early)
    on_contract(ours, other, valid_from=today, contract=left)
    corrected = on_contract(ours, tariff, valid_from=early)
    on_contract(ours, other, valid_from=early, contract=corrected)
    leaves = on_contract(ours, tariff, valid_from=early)
    on_contract(ours, other, valid_from=today + dt.timedelta(days=1), contract=leaves)
    make_contract(rival)
    assert shown_contracts(desk, tariff) == (2, 2)


@pytest.mark.parametrize("days", [-40, 0, 40])
def test_a_tariff_that_a_contract_has_or_will_have_is_not_archived(ours, desk, tariff, today, days):
    contract = on_contract(ours, tariff, valid_from=today + dt.timedelta(days=days))
    url = reverse("admin:tariffs_tariff_archive", args=[tariff.pk])
    assert "1 contract has this tariff." in desk.post(url, {"why": "no longer sold"}).content.decode()
    tariff.refresh_from_db()
    assert tariff.archived_at is None
    other = published_version(ours.operator).tariff
    on_contract(ours, other, valid_from=max(today, today + dt.timedelta(days=days)), contract=contract)
    assert desk.post(url, {"why": "no longer sold"}).status_code == 302
    tariff.refresh_from_db()
    assert tariff.archived_at is not None


def test_an_archived_tariff_takes_no_prices(ours, desk, system, tariff, today):
    edit(desk, tariff, rows({"energy_price": "0.4"}))
    draft = draft_of(tariff)
    desk.post(reverse("admin:tariffs_tariff_archive", args=[tariff.pk]), {"why": "no longer sold"})
    for name in ("edit", "publish"):
        url = reverse(f"tariffs:{name}", args=[tariff.pk])
        told = "The tariff is archived. Restore it first."
        assert told in desk.get(url, follow=True).content.decode()
        assert told in desk.post(url, {"why": "x"}, follow=True).content.decode()
    with pytest.raises(ValidationError):
        services.save_draft(actor=system, tariff=tariff, elements=[element(price("ENERGY", "0.5"))])
    with pytest.raises(ValidationError):
        services.publish_version(actor=system, version=draft, valid_from=today, today=today, why="x")
    assert draft_of(tariff).elements[0]["price_components"][0]["price"] == "0.4"


@pytest.mark.parametrize("change", [rows({"energy_price": "4.00"}), rows({"energy_price": "0.4"}, fee="3")])
def test_what_somebody_else_wrote_since_is_not_published_unseen(desk, tariff, today, change):
    edit(desk, tariff, rows({"energy_price": "0.4"}))
    [seen] = filled_in(desk.get(reverse("tariffs:publish", args=[tariff.pk])).content.decode())["seen"]
    edit(desk, tariff, change)
    refused = publish(desk, tariff, seen, valid_from=today.isoformat())
    assert "Somebody changed the draft since you looked at it." in refused.content.decode()
    [shown_now] = filled_in(refused.content.decode())["seen"]
    assert draft_of(tariff)
    assert publish(desk, tariff, shown_now, valid_from=today.isoformat()).status_code == 302


def test_a_draft_is_not_published_by_a_form_that_does_not_say_what_was_seen(desk, tariff, today):
    edit(desk, tariff, rows({"energy_price": "0.4"}))
    desk.post(reverse("tariffs:publish", args=[tariff.pk]), {"valid_from": today.isoformat(), "why": "x"})
    assert draft_of(tariff)


@pytest.mark.parametrize("start", ["0001-01-01T00:00", "1999-12-31T23:59", "2100-01-01T00:00", "9999-12-31T23:00"])
def test_an_example_at_the_end_of_the_calendar_is_refused(desk, tariff, system, ours, start):
    services.save_draft(actor=system, tariff=tariff, elements=[element(price("ENERGY", "0.49"))])
    page = desk.get(reverse("tariffs:tariff", args=[tariff.pk]), {**EXAMPLE, "place": ours.location.pk, "start": start})
    assert page.status_code == 200
    assert "start" in page.context["example_form"].errors
    assert page.context["example"] is None


def test_an_example_without_a_vat_rate_names_the_class_that_lacks_one(desk, tariff, system, ours):
    elements = [element(price("ENERGY", "0.49"), price("FLAT", "1", vat_class="reduced"))]
    services.save_draft(actor=system, tariff=tariff, elements=elements)
    page = desk.get(reverse("tariffs:tariff", args=[tariff.pk]), {**EXAMPLE, "place": ours.location.pk})
    assert page.context["example"].fault == "There is no VAT rate of the class “reduced” in DE on that day."


@pytest.mark.parametrize(
    ("code", "told"), [("meter", "the meter at its end is below that at its start"), ("time", "ends before it begins")]
)
def test_each_fault_of_an_example_has_its_sentence(code, told):
    assert told in fault_of(RatingError(code, "for the log"), "DE")


@pytest.mark.parametrize("total", ["9" * 5_000, "9" * 4_300, "-5", "x", "²", "99999999"])
def test_a_row_more_than_any_number_of_rows(desk, tariff, total):
    page = edit(desk, tariff, {**rows({"energy_price": "0.4"}, add="1"), "rows-TOTAL_FORMS": total})
    assert page.status_code == 200


def test_prices_that_cannot_be_read_do_not_take_the_page_with_them(desk, tariff):
    TariffVersion.everything.create(operator_id=tariff.operator_id, tariff=tariff, number=1, elements={"a": "<b>"})
    for name in ("tariff", "edit", "publish"):
        assert desk.get(reverse(f"tariffs:{name}", args=[tariff.pk])).status_code == 200


def test_who_may_look_may_not_write(ours, tariff):
    viewer = UserFactory()
    MembershipFactory(operator=ours.operator, user=viewer, role=Role.VIEWER)
    client = desk_of(viewer)
    assert client.get(reverse("tariffs:tariff", args=[tariff.pk])).status_code == 200
    for name in ("edit", "publish"):
        url = reverse(f"tariffs:{name}", args=[tariff.pk])
        assert client.get(url).status_code == client.post(url).status_code == 403


def test_a_tariff_s_page_costs_the_same_with_many_versions(ours, desk):
    tariff = published_version(ours.operator).tariff
    url = reverse("tariffs:tariff", args=[tariff.pk])

    def queries() -> int:
        with CaptureQueriesContext(connection) as context:
            assert desk.get(url).status_code == 200
        return len(context)

    queries()
    few = queries()
    for number in range(2, 12):
        TariffVersion.everything.create(
            operator=ours.operator,
            tariff=tariff,
            number=number,
            elements=[element(price("ENERGY", "0.4"))],
            valid_from=dt.date(2026, 1, number),
            published_at=timezone.now(),
            published_by=ours.owner,
            sha256="0" * 64,
        )
    assert queries() <= few + 1
