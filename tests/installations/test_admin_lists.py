"""Lists of the back office: every filter answers, and finds what it says."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.utils import timezone

from apps.core.models import TenantModel
from apps.installations import services
from apps.installations.models import Command, Connector, ConnectorState, HardwareAssignment, HardwareUnit, StationState
from apps.ocpp.models import HandshakeRefusal
from tests.factories.installations import ConnectorFactory, StationFactory

pytestmark = pytest.mark.django_db
SIMPLE_FILTERS = sorted(
    (
        (model._meta.label_lower, one)
        for model, model_admin in admin.site._registry.items()
        if issubclass(model, TenantModel)
        for one in model_admin.list_filter
        if isinstance(one, type) and issubclass(one, admin.SimpleListFilter)
    ),
    key=lambda pair: (pair[0], pair[1].__name__),
)


def shown(desk, query: str) -> set[str]:
    page = desk.get(f"/installations/chargingstation/?{query}").content.decode()
    return {identity for identity in ("NEVER", "AWAY", "HERE") if f">{identity}</a>" in page}


@pytest.fixture
def three(ours):
    now = timezone.now()
    ours.station.archived_at = now
    ours.station.save()
    for identity in ("NEVER", "AWAY", "HERE"):
        station = StationFactory(operator=ours.operator, location=ours.location, identity=identity)
        connector = ConnectorFactory(operator=ours.operator, station=station)
        if identity != "NEVER":
            StationState.everything.filter(station=station).update(online=identity == "HERE", connected_at=now)
            ConnectorState.everything.filter(connector=connector).update(status="Faulted")
    return ours


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"NEVER", "AWAY", "HERE"}),
        ("online=yes", {"HERE"}),
        ("online=no", {"AWAY"}),
        ("online=never", {"NEVER"}),
        ("status=Faulted", {"AWAY", "HERE"}),
        ("online=yes&status=Faulted", {"HERE"}),
        ("archived=yes", set()),
        ("q=awa", {"AWAY"}),
    ],
)
def test_chargers_are_found_by_connection_status_and_name(three, desk, query, expected):
    assert shown(desk, query) == expected


def test_a_charger_is_found_by_the_serial_number_that_hangs_there(three, desk):
    unit = HardwareUnit.objects.create(operator=three.operator, serial="SN-4711")
    station = StationFactory._meta.model.everything.get(identity="AWAY")
    HardwareAssignment.objects.create(operator=three.operator, unit=unit, station=station, installed_at=timezone.now())
    assert shown(desk, "q=4711") == {"AWAY"}


def test_chargers_of_a_location_are_one_click_away(three, desk):
    page = desk.get("/installations/location/").content.decode()
    link = f"/installations/chargingstation/?location__id__exact={three.location.pk}"
    assert f'href="{link}">3</a>' in page
    assert shown(desk, link.partition("?")[2]) == {"NEVER", "AWAY", "HERE"}


@pytest.mark.parametrize(("label", "filter_class"), SIMPLE_FILTERS, ids=lambda one: getattr(one, "__name__", one))
def test_every_choice_of_a_filter_answers(ours, desk, label, filter_class):
    model = label.replace(".", "/")
    page = desk.get(f"/{model}/")
    spec = next(one for one in page.context["cl"].filter_specs if isinstance(one, filter_class))
    assert spec.lookup_choices
    for value, _word in spec.lookup_choices:
        assert desk.get(f"/{model}/?{filter_class.parameter_name}={value}").status_code == 200


def test_commands_are_filtered_by_action(ours, desk):
    for action in ("Reset", "ClearCache"):
        Command.objects.create(
            operator=ours.operator,
            station=ours.station,
            action=action,
            actor="somebody",
            created_at=timezone.now(),
            deadline_at=timezone.now(),
        )
    page = desk.get("/installations/command/?command=Reset")
    assert page.context["cl"].result_count == 1
    assert "Reset<br><small>Reset</small>" in page.content.decode()
    assert ">Clear card cache</option>" in page.content.decode()


def test_a_unit_is_hung_at_a_charger_by_its_serial_number(ours, rival, desk):
    HardwareUnit.objects.create(operator=rival.operator, serial="THEIRS")
    unit = HardwareUnit.objects.create(operator=ours.operator, serial="OURS")
    where = f"/installations/chargingstation/{ours.station.pk}/assign-hardware/"
    answer = desk.post(where, {"serial": "THEIRS", "why": "swap"})
    assert "There is no hardware unit of this serial number." in answer.content.decode()
    assert desk.post(where, {"serial": "OURS", "why": "swap"}).status_code == 302
    assert HardwareAssignment.objects.unscoped("test").get().unit == unit
    again = desk.post(where, {"serial": "OURS", "why": "swap"})
    assert "This unit hangs at this charger already." in again.content.decode()
    earlier = desk.post(where, {"serial": "OURS", "at": "2020-01-01 00:00", "why": "swap"})
    assert earlier.status_code == 200


def test_a_connector_is_added_once(ours, desk):
    where = f"/installations/chargingstation/{ours.station.pk}/add-connector/"
    values = {"standard": "IEC_62196_T2", "format": "SOCKET", "power_type": "AC_3_PHASE", "max_power_w": "11000"}
    posted = {**values, "number": "2", "why": "Second plug was fitted"}
    assert desk.post(where, posted).status_code == 302
    found = Connector.objects.unscoped("test").get(station=ours.station, number=2)
    assert (found.max_power_w, found.evse.number, found.state.status) == (11_000, 2, "Unknown")
    again = desk.post(where, posted)
    assert again.status_code == 200
    assert Connector.objects.unscoped("test").filter(station=ours.station, number=2).count() == 1


def test_a_found_connector_is_corrected_and_confirmed(ours, desk):
    ours.connector.found_at = timezone.now()
    ours.connector.save()
    where = f"/installations/connector/{ours.connector.pk}/"
    assert "confirm" in desk.get(f"{where}change/").content.decode()
    assert desk.post(f"{where}confirm/", {"why": "Read from the plate"}).status_code == 302
    ours.connector.refresh_from_db()
    assert ours.connector.found_at is None


def test_a_location_refuses_a_zone_and_hours_that_do_not_exist(ours, desk):
    where = f"/installations/location/{ours.location.pk}/change/"
    form = desk.get(where).context["adminform"].form
    values = {name: form.initial.get(name) or "" for name in form.fields}
    inlines = {"contacts-TOTAL_FORMS": 0, "contacts-INITIAL_FORMS": 0, "stations-TOTAL_FORMS": 0}
    posted = {**values, **inlines, "stations-INITIAL_FORMS": 0, "country": "de", "opening_hours": ""}
    page = desk.post(where, {**posted, "time_zone": "Mars/Base", "opening_hours": "always"}).content.decode()
    assert "Mars/Base is not one of the available choices" in page
    assert "“always” is not understood." in page
    answer = desk.post(where, {**posted, "time_zone": "Europe/Paris", "opening_hours": "24/7"})
    assert answer.status_code == 302
    ours.location.refresh_from_db()
    assert (ours.location.time_zone, ours.location.country) == ("Europe/Paris", "DE")
    assert ours.location.opening_hours == {"twentyfourseven": True}


def test_a_refusal_of_a_known_charger_leads_to_a_new_key(ours, desk):
    refusal = HandshakeRefusal.objects.create(
        operator=ours.operator,
        identity=ours.station.identity,
        station=ours.station,
        address="10.0.0.1",
        reason="wrong_password",
        first_at=timezone.now(),
        last_at=timezone.now(),
    )
    page = desk.get(f"/ocpp/handshakerefusal/{refusal.pk}/change/").content.decode()
    assert "/renew-key/" in page
    assert "/adopt/" not in page
    assert (
        desk.get(f"/ocpp/handshakerefusal/{refusal.pk}/renew-key/")["Location"] == f"/chargers/{ours.station.pk}/key/"
    )


def test_an_archived_charger_leaves_the_list(ours, system, desk):
    services.archive_station(actor=system, station=ours.station, now=timezone.now(), why="gone")
    assert desk.get("/installations/chargingstation/").context["cl"].result_count == 0
