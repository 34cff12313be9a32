"""CSV files: looked at first, carried out in the background, exported so that they come back as they were."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from apps.accounts.models import AuditEntry
from apps.accounts.permissions import Role, of_role
from apps.cards.models import Token
from apps.core.actor import Actor, Kind
from apps.core.csv import plain_cell, rows_as_csv, safe_cell
from apps.installations import services
from apps.installations.hours import from_text
from apps.installations.imports import KINDS, UnusableFile, judge_rows, read_file
from apps.installations.models import EVSE, ChargingStation, Connector, DataImport, Location, StationModel, StationState
from apps.installations.services import ConnectorSpec
from tests.factories.accounts import MembershipFactory, OperatorFactory, OrganisationFactory, SellerFactory, UserFactory
from tests.factories.cards import TokenFactory
from tests.factories.installations import LocationFactory
from tests.factories.tasks import run_tasks

pytestmark = pytest.mark.django_db
NOW = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)


@pytest.fixture
def owner(ours) -> Actor:
    return Actor(
        kind=Kind.SESSION,
        operator_id=ours.operator.pk,
        user=ours.owner,
        permissions=of_role(Role.OWNER),
        operator_wide=True,
        label=ours.owner.email,
    )


def preview(actor: Actor, kind: str, text: str) -> DataImport:
    return services.preview_import(actor=actor, kind=kind, file_name="file.csv", content=text.encode())


def carry_out(actor: Actor, found: DataImport) -> DataImport:
    services.start_import(actor=actor, data_import=found)
    run_tasks()
    return DataImport.objects.visible_to(actor).get(pk=found.pk)


def told(found: DataImport) -> tuple[int, int, int, int]:
    return found.created, found.changed, found.unchanged, found.refused_count


def test_a_preview_says_what_would_happen_and_does_nothing(ours, owner):
    found = preview(
        owner,
        "locations",
        "name,street,city,country,time_zone\n"
        "New Depot,Quay 1,Bremen,de,Europe/Berlin\n"
        f"{ours.location.name.upper()},Quay 2,,,\n"
        f"{ours.location.name},,,,\n"
        "Nowhere,Quay 3,Bremen,DE,Mars/Base\n"
        "Half,,,DE,\n",
    )
    assert told(found) == (1, 1, 0, 3)
    assert [line for line, _key, _reasons in found.refused] == [4, 5, 6]
    assert "twice" in found.refused[0][2][0]
    assert "Mars/Base" in found.refused[1][2][0]
    assert "street, city" in found.refused[2][2][0]
    assert Location.objects.visible_to(owner).count() == 1


def test_a_confirmed_import_runs_in_the_background_and_is_audited(ours, owner):
    found = preview(
        owner,
        "chargers",
        f"identity,location,name\nNEW-1,{ours.location.name},Bay 1\n{ours.station.identity},,Old one\n",
    )
    done = carry_out(owner, found)
    assert (done.state, done.position, told(done)) == ("done", 2, (1, 1, 0, 0))
    station = ChargingStation.objects.visible_to(owner).get(identity="NEW-1")
    assert station.location == ours.location
    assert StationState.objects.visible_to(owner).filter(station=station).exists()
    ours.station.refresh_from_db()
    assert ours.station.name == "Old one"
    entry = AuditEntry.objects.visible_to(owner).get(action="chargingstation.imported")
    assert (entry.actor, entry.before, entry.after) == (
        ours.owner.email,
        {"name": "Amber Charger"},
        {"name": "Old one"},
    )


def test_an_import_that_is_done_again_changes_nothing(ours, owner):
    text = f"identity,number,max_power_w\n{ours.station.identity},2,11000\n{ours.station.identity},1,7400\n"
    assert told(carry_out(owner, preview(owner, "connectors", text))) == (1, 1, 0, 0)
    assert told(carry_out(owner, preview(owner, "connectors", text))) == (0, 0, 2, 0)
    assert Connector.objects.visible_to(owner).filter(max_power_w=7400, number=1).count() == 1


def test_what_became_wrong_since_the_preview_is_refused_then(ours, owner):
    found = preview(owner, "chargers", f"identity,location\nNEW-1,{ours.location.name}\n")
    ours.location.archived_at = NOW
    ours.location.save()
    done = carry_out(owner, found)
    assert told(done) == (0, 0, 0, 1)
    assert ours.location.name in done.refused[0][2][0]


class TestManyRows:
    """More than are done at once: 120, and the last says the key of the first again."""

    @pytest.fixture
    def found(self, owner) -> DataImport:
        rows = "".join(f"04AA{number:04X},Van {number}\n" for number in range(119))
        return preview(owner, "cards", f"uid,label\n{rows}04:aa:00:00,Another van\n")

    def labels(self, owner) -> dict[str, str]:
        return dict(Token.objects.visible_to(owner).filter(uid__startswith="04AA").values_list("uid", "label"))

    def test_what_the_preview_refused_is_not_carried_out(self, owner, found):
        assert told(found) == (119, 0, 0, 1)
        done = carry_out(owner, found)
        assert (told(done), done.position, done.state) == ((119, 0, 0, 1), 120, "done")
        assert [(line, key) for line, key, _reasons in done.refused] == [(121, "04AA0000")]
        assert self.labels(owner)["04AA0000"] == "Van 0"

    def test_what_was_refused_stays_so_whatever_was_made_meanwhile(self, ours, owner):
        found = preview(owner, "chargers", f"identity,location\nA-1,Later\nA-2,{ours.location.name}\n")
        LocationFactory(operator=ours.operator, name="Later")
        done = carry_out(owner, found)
        assert (told(done), done.refused) == ((1, 0, 0, 1), found.refused)
        assert not ChargingStation.objects.visible_to(owner).filter(identity="A-1").exists()

    def test_it_goes_on_task_by_task_and_says_how_far_it_came(self, owner, desk, found, monkeypatch):
        monkeypatch.setattr("apps.installations.services.imports.WORK_S", 0)
        services.start_import(actor=owner, data_import=found)
        shown = []
        while run_tasks(limit=1):
            shown.append(desk.get(f"/imports/{found.pk}/").content.decode())
        # The refused row counts as done from the start.
        said = ["51 of 120 rows are done.", "101 of 120 rows are done.", "Done."]
        assert [one in page for one, page in zip(said, shown, strict=True)] == [True] * 3
        assert [percent in page for percent, page in zip(("42", "84", "100"), shown, strict=True)] == [True] * 3
        assert len(self.labels(owner)) == 119

    def test_one_that_broke_off_goes_on_where_it_was(self, owner, found, monkeypatch):
        write, left = KINDS["cards"].write, 70

        def breaks(actor, verdict):
            nonlocal left
            left -= 1
            if left == 0:
                raise ConnectionError("the database is away")
            write(actor, verdict)

        monkeypatch.setitem(KINDS, "cards", replace(KINDS["cards"], write=breaks))
        services.start_import(actor=owner, data_import=found)
        with pytest.raises(ConnectionError):
            run_tasks(limit=1)
        stopped = DataImport.objects.visible_to(owner).get(pk=found.pk)
        assert (stopped.state, stopped.position, len(self.labels(owner))) == ("running", 51, 69)
        run_tasks()
        done = DataImport.objects.visible_to(owner).get(pk=found.pk)
        # What the broken part had done already is found as it should be.
        assert (done.state, done.position, told(done)) == ("done", 120, (100, 0, 19, 1))
        assert len(self.labels(owner)) == 119


def test_an_import_is_started_once(owner):
    found = preview(owner, "cards", "uid\n04AABBCC\n")
    carry_out(owner, found)
    with pytest.raises(ValidationError):
        services.start_import(actor=owner, data_import=found)


def test_another_tenants_names_are_not_known(ours, rival, owner):
    found = preview(owner, "chargers", f"identity,location\nNEW-1,{rival.location.name}\n{rival.station.identity},\n")
    assert told(found) == (0, 0, 0, 2)
    assert "not known here" in found.refused[0][2][0]
    cards = preview(
        owner,
        "cards",
        f"uid,organisation,holder\n{rival.token.uid},{rival.fleet.name},\n04FF,,{rival.driver.email}\n",
    )
    assert told(cards) == (0, 0, 0, 2)
    assert preview(owner, "connectors", f"identity,number\n{rival.station.identity},1\n").refused_count == 1


def test_the_same_uid_may_be_a_card_of_both_tenants(ours, rival, owner):
    done = carry_out(owner, preview(owner, "cards", f"uid,label\n{rival.token.uid},Ours\n"))
    assert done.created == 1
    rival.token.refresh_from_db()
    assert rival.token.label != "Ours"


def test_cards_are_known_by_their_normal_uid(ours, owner):
    ours.token.uid = "04A2B3C4"
    ours.token.save()
    text = "uid;label;valid_until;state\n04:a2:b3:c4;Blue van;2027-12-31;blocked\n"
    done = carry_out(owner, preview(owner, "cards", text))
    assert told(done) == (0, 1, 0, 0)
    token = Token.objects.visible_to(owner).get(pk=ours.token.pk)
    assert (token.label, token.expires_at, token.state) == (
        "Blue van",
        dt.datetime(2028, 1, 1, tzinfo=dt.UTC),
        "active",
    )


def test_a_wrong_value_names_its_column(ours, owner):
    found = preview(
        owner,
        "connectors",
        "identity,number,standard,max_power_w\n"
        f"{ours.station.identity},1,TESLA,\n{ours.station.identity},0,,\n{ours.station.identity},1,,much\n",
    )
    assert [reasons[0].partition(":")[0] for _line, _key, reasons in found.refused] == [
        "standard",
        "number",
        "max_power_w",
    ]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "name"),
        (b"name,street\n", "no rows"),
        (b"name,nickname\nx,y\n", "nickname"),
        (b"street\nx\n", "name is missing"),
        (b"name,name\nx,y\n", "twice"),
        (b"name\n\x00\n", "not a CSV"),
        (b"name\n" + b"x\n" * 20_001, "20,000"),
        (b"x" * (5 * 1024 * 1024 + 1), "5 MB"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(content, why):
    with pytest.raises(UnusableFile, match=why):
        read_file(content, KINDS["locations"])


def test_a_windows_file_with_semicolons_is_read():
    rows = read_file("name;city\r\nLübeck;Größe\r\n".encode("cp1252"), KINDS["locations"])
    assert rows == [(2, {"name": "Lübeck", "city": "Größe"})]


def test_judging_makes_no_query_a_row(ours, owner, django_assert_max_num_queries):
    rows = [(n, {"identity": f"CP-{n}", "location": ours.location.name}) for n in range(400)]
    with django_assert_max_num_queries(5):
        assert sum(one.action == "create" for one in judge_rows(KINDS["chargers"], owner, rows)) == 400


@pytest.mark.parametrize("text", ["=1+1", "+49", "-5", "@x", "\tx", "'=1", "''=1", "'quoted'", "plain", "'"])
def test_export_and_import_are_each_others_inverse(text):
    assert plain_cell(safe_cell(text)) == text
    assert not safe_cell(text).startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize("kind", ["locations", "chargers", "connectors", "cards"])
def test_what_is_exported_comes_back_unchanged(ours, rival, owner, desk, kind):
    ours.location.name, ours.location.longitude = "=HYPERLINK()", "-5.5"
    ours.location.save()
    ours.token.label = "+49 card"
    ours.token.save()
    text = b"".join(desk.get(f"/export/{kind}/").streaming_content).decode("utf-8")
    assert "Zugvogel" not in text
    found = preview(owner, kind, text)
    assert told(found) == (0, 0, 1, 0), found.refused
    if kind == "locations":
        assert "'=HYPERLINK()" in text
        assert ",-5.5" in text


def test_what_one_operator_exports_another_one_takes_over_unchanged(ours, owner, system):
    """Locations, chargers, connectors and cards, in the order in which they need each other."""
    StationModel.objects.create(operator=ours.operator, vendor="Acme", name="=Twin 150")
    ours.location.opening_hours = from_text(
        "Mon-Fri 08:00-18:00\nSat 09:00-12:00, 13:00-17:00\n2026-12-25 to 2026-12-26 closed", ZoneInfo("Europe/Lisbon")
    )
    ours.location.time_zone, ours.location.latitude, ours.location.publish = "Europe/Lisbon", Decimal("38.7"), True
    ours.location.save()
    LocationFactory(operator=ours.operator, name="Always", host=None, opening_hours={"twentyfourseven": True})
    StationModel.objects.create(operator=ours.operator, vendor="Acme", name="AC")
    twin = services.create_station(
        actor=system,
        location=ours.location,
        identity="TWIN",
        model=StationModel.objects.visible_to(system).get(name="=Twin 150"),
        connectors=[
            ConnectorSpec(
                1, evse=1, standard="IEC_62196_T2_COMBO", format="CABLE", power_type="DC", max_power_w=150_000
            ),
            ConnectorSpec(2, evse=1, number_in_evse=2, standard="CHADEMO", format="CABLE", power_type="DC"),
            ConnectorSpec(3, evse=2),
        ],
    )
    TokenFactory(operator=ours.operator, state="lost", byte_order="either", visual_number="'=1", expires_at=NOW)

    empty = OperatorFactory()
    OrganisationFactory(operator=empty, name=ours.fleet.name)
    SellerFactory(operator=empty, legal_name=ours.location.seller.legal_name, is_default=True)
    MembershipFactory(operator=empty, user=ours.driver, role=Role.VIEWER)
    for model in StationModel.objects.visible_to(system):
        StationModel.objects.create(operator=empty, vendor=model.vendor, name=model.name)
    there = replace(owner, operator_id=empty.pk, user=None)
    for kind in ("locations", "chargers", "connectors", "cards"):
        text = exported(kind, system)
        done = carry_out(there, preview(there, kind, text))
        assert told(done) == (text.count("\n") - 1, 0, 0, 0), done.refused
        assert exported(kind, there) == text
    evses = EVSE.objects.visible_to(there).filter(station__identity=twin.identity).order_by("number")
    assert [[one.standard for one in evse.connectors.order_by("number")] for evse in evses] == [
        ["IEC_62196_T2_COMBO", "CHADEMO"],
        ["IEC_62196_T2"],
    ]


def exported(kind: str, actor: Actor) -> str:
    chosen = KINDS[kind]
    return "".join(rows_as_csv([[column.name for column in chosen.columns], *chosen.export(actor)]))


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("1,2,1", "evse: it belongs to EVSE 1 and stays there."),
        ("2,0,1", "evse: write a number from 1 to 1000."),
        ("2,1,x", "number_in_evse: write a number from 1 to 1000."),
        ("0010005,1,1", "number: write the connectorId of OCPP 1.6, from 1."),
    ],
)
def test_numbers_of_a_connector_are_checked(ours, owner, row, why):
    found = preview(owner, "connectors", f"identity,number,evse,number_in_evse\n{ours.station.identity},{row}\n")
    assert [reasons for _line, _key, reasons in found.refused] == [[why]]


def test_a_connector_that_is_written_in_two_ways_stands_in_the_file_twice(ours, owner):
    found = preview(owner, "connectors", f"identity,number\n{ours.station.identity},2\n{ours.station.identity},02\n")
    assert told(found) == (1, 0, 0, 1)


def test_opening_hours_are_told_as_they_are_written(ours, owner, desk):
    text = "name,opening_hours\n{},{}\n".format
    carry_out(owner, preview(owner, "locations", text(ours.location.name, "Mon 08:00-18:00 / 2026-12-25 closed")))
    found = preview(owner, "locations", text(ours.location.name, "24/7"))
    assert found.sample[0][3] == [["opening_hours", "Mon 08:00-18:00 / 2026-12-25 closed", "24/7"]]
    refused = preview(owner, "locations", text(ours.location.name, "Mon 25:00-26:00"))
    assert "opening_hours: “Mon 25:00-26:00”" in refused.refused[0][2][0]
    desk.force_login(MembershipFactory(operator=ours.operator, role=Role.VIEWER).user)
    page = desk.get(f"/installations/location/{ours.location.pk}/change/").content.decode()
    assert "Mon 08:00-18:00<br>2026-12-25 closed" in page
    assert "regular_hours" not in page


def test_the_pages_take_a_file_show_it_and_start_it(ours, owner, desk):
    upload = SimpleUploadedFile("cards.csv", b"uid,label\n04AABB,<script>x</script>\n")
    answer = desk.post("/import/cards/", {"file": upload})
    assert answer.status_code == 302
    shown = desk.get(answer["Location"]).content.decode()
    assert "Import 1 row" in shown
    assert "&lt;script&gt;x&lt;/script&gt;" in shown
    assert desk.post(answer["Location"]).status_code == 302
    run_tasks()
    assert "Done." in desk.get(answer["Location"]).content.decode()
    assert Token.objects.visible_to(owner).filter(uid="04AABB").exists()


def test_an_unusable_file_is_told_beside_its_field(desk):
    answer = desk.post("/import/cards/", {"file": SimpleUploadedFile("x.csv", b"colour\nred\n")})
    assert "These columns are not known: colour." in answer.content.decode()


def test_a_viewer_may_look_and_not_import(ours):
    viewer = UserFactory()
    MembershipFactory(operator=ours.operator, user=viewer, role=Role.VIEWER)
    client = Client(headers={"host": "admin.localhost"})
    client.force_login(viewer)
    assert client.get("/import/cards/").status_code == 403
    assert client.get("/export/cards/").status_code == 200
    assert "/import" not in client.get("/cards/token/").content.decode()


def test_rights_are_those_of_the_one_who_confirmed(ours, owner):
    weak = Actor(kind=Kind.SESSION, operator_id=ours.operator.pk, operator_wide=True)
    with pytest.raises(PermissionDenied):
        preview(weak, "cards", "uid\n04AA\n")
    found = preview(owner, "cards", "uid\n04AA\n")
    with pytest.raises(PermissionDenied):
        services.start_import(actor=weak, data_import=found)
