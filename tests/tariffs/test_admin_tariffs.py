"""The back office's tariff pages: written without knowing JSON, looked at, published, final."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from apps.accounts.models import AuditEntry
from apps.accounts.permissions import Role
from apps.tariffs import services
from apps.tariffs.elements import read
from apps.tariffs.forms import ElementRows, initial_of
from apps.tariffs.models import Tariff, TariffVersion
from tests.factories.accounts import MembershipFactory, UserFactory
from tests.factories.contracts import published_version
from tests.factories.forms import filled_in
from tests.tariffs.worlds import element, price

pytestmark = pytest.mark.django_db


def desk_of(user) -> Client:
    client = Client(headers={"host": settings.ADMIN_HOST})
    client.force_login(user)
    return client


@pytest.fixture
def desk(ours) -> Client:
    return desk_of(ours.owner)


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
    publishing = desk.post(
        reverse("tariffs:publish", args=[tariff.pk]), {"valid_from": today.isoformat(), "why": "first prices"}
    )
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
    refused = desk.post(url, {"valid_from": "2026-12-01", "why": "x"})
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
    page = desk.post(reverse("tariffs:publish", args=[tariff.pk]), {"valid_from": yesterday.isoformat(), "why": "x"})
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
