"""Every change made in the back office is kept, with who, what, before, after and why; and nothing is deleted."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry

from apps.accounts.models import AuditEntry, Organisation, Seller
from apps.core.admin import ModelAdmin, PlatformAdmin
from apps.core.models import ArchivableModel
from tests.factories.accounts import OrganisationFactory, SellerFactory
from tests.factories.forms import filled_in

REGISTERED = sorted(admin.site._registry.items(), key=lambda entry: entry[0]._meta.label)


def last_entry(ours) -> AuditEntry:
    return AuditEntry.everything.filter(operator=ours.operator).order_by("pk").last()


def test_an_addition_is_kept(ours, desk):
    desk(ours.owner).post("/accounts/organisation/add/", {"name": "Quarry", "language": "de"})
    entry = last_entry(ours)
    assert (entry.action, entry.user, entry.object_name) == ("organisation.added", ours.owner, "Quarry")
    assert entry.after == {"name": "Quarry", "language": "de"}
    assert Organisation.everything.get(name="Quarry").operator == ours.operator


def test_a_change_is_kept_with_before_and_after(ours, desk):
    path = f"/accounts/organisation/{ours.fleet.pk}/change/"
    desk(ours.owner).post(path, {"name": "Amber Freight", "language": "en"})
    entry = last_entry(ours)
    assert entry.action == "organisation.changed"
    assert (entry.before, entry.after) == ({"name": "Amber Logistics"}, {"name": "Amber Freight"})


def test_saving_without_a_change_leaves_no_entry(ours, desk):
    path = f"/accounts/organisation/{ours.fleet.pk}/change/"
    count = AuditEntry.everything.count()
    assert desk(ours.owner).post(path, {"name": ours.fleet.name, "language": "en"}).status_code == 302
    assert AuditEntry.everything.count() == count


def test_a_related_row_is_kept_by_name(ours, desk):
    seller = SellerFactory(operator=ours.operator)
    data = {"legal_name": seller.legal_name, "country": "DE", "organisation": ours.fleet.pk}
    data |= {"registrations-TOTAL_FORMS": 0, "registrations-INITIAL_FORMS": 0}
    desk(ours.owner).post(f"/accounts/seller/{seller.pk}/change/", data)
    entry = last_entry(ours)
    assert (entry.before, entry.after) == (
        {"organisation": None},
        {"organisation": f"Amber Logistics ({ours.fleet.pk})"},
    )


def test_an_object_shows_its_history(ours, desk):
    client = desk(ours.owner)
    path = f"/accounts/organisation/{ours.fleet.pk}"
    client.post(f"{path}/change/", {"name": "Amber Freight", "language": "en"})
    shown = client.get(f"{path}/history/").content.decode()
    for text in (ours.owner.email, "organisation.changed", "Amber Logistics", "Amber Freight"):
        assert text in shown


def test_what_was_entered_is_text_in_the_history(ours, desk):
    client = desk(ours.owner)
    path = f"/accounts/organisation/{ours.fleet.pk}"
    client.post(f"{path}/change/", {"name": "</script><b>{{7*7}}", "language": "en"})
    shown = client.get(f"{path}/history/").content.decode()
    assert "&lt;/script&gt;&lt;b&gt;{{7*7}}" in shown
    assert "</script><b>" not in shown


def test_djangos_own_log_is_never_written(ours, desk):
    client = desk(ours.owner)
    client.post("/accounts/organisation/add/", {"name": "Quarry", "language": "de"})
    client.post(f"/accounts/organisation/{ours.fleet.pk}/change/", {"name": "Other", "language": "de"})
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize(("model", "model_admin"), REGISTERED, ids=lambda one: getattr(one, "__name__", ""))
def test_every_object_has_this_history(model, model_admin):
    assert isinstance(model_admin, ModelAdmin)
    for name in ("history_view", "log_addition", "log_change", "log_deletions", "construct_change_message"):
        assert getattr(type(model_admin), name) is getattr(ModelAdmin, name)


@pytest.mark.parametrize(("model", "model_admin"), REGISTERED, ids=lambda one: getattr(one, "__name__", ""))
def test_nothing_with_history_can_be_deleted(model, model_admin, rf, ours):
    request = rf.get("/")
    request.user, request.actor = ours.owner, None
    assert not model_admin.deletable
    assert not model_admin.has_delete_permission(request)


# --- archive ----------------------------------------------------------------------------------------------------------
@pytest.fixture
def idle(ours) -> Organisation:
    """An organisation that nothing hangs on."""
    return OrganisationFactory(operator=ours.operator, name="Quarry")


def test_an_archived_row_leaves_the_list_and_frees_its_name(ours, idle, desk):
    client = desk(ours.owner)
    path = f"/accounts/organisation/{idle.pk}"
    asked = client.get(f"{path}/archive/")
    assert asked.status_code == 200
    assert "Nothing is deleted" in asked.content.decode()
    assert Organisation.everything.get(pk=idle.pk).archived_at is None
    client.post(f"{path}/archive/", {"why": "They moved away."})
    entry = last_entry(ours)
    assert (entry.action, entry.why) == ("organisation.archived", "They moved away.")
    assert path not in client.get("/accounts/organisation/").content.decode()
    assert path in client.get("/accounts/organisation/?archived=yes").content.decode()
    client.post("/accounts/organisation/add/", {"name": idle.name, "language": "en"})
    assert Organisation.everything.filter(name=idle.name, archived_at=None).count() == 1


def test_archiving_needs_a_reason(ours, idle, desk):
    response = desk(ours.owner).post(f"/accounts/organisation/{idle.pk}/archive/", {"why": " "})
    assert response.status_code == 200
    assert Organisation.everything.get(pk=idle.pk).archived_at is None


def test_restoring_is_refused_while_the_name_is_taken(ours, idle, desk):
    client = desk(ours.owner)
    path = f"/accounts/organisation/{idle.pk}"
    client.post(f"{path}/archive/", {"why": "They moved away."})
    successor = OrganisationFactory(operator=ours.operator, name=idle.name)
    response = client.post(f"{path}/restore/", {"why": "They are back."})
    assert "There is an organisation of this name already." in response.content.decode()
    successor.name = "Successor"
    successor.save()
    assert client.post(f"{path}/restore/", {"why": "They are back."}).status_code == 302
    assert Organisation.everything.get(pk=idle.pk).archived_at is None


def test_an_archived_row_is_no_longer_offered(ours, idle, desk):
    client = desk(ours.owner)
    client.post(f"/accounts/organisation/{idle.pk}/archive/", {"why": "They moved away."})
    form = filled_in(client.get("/accounts/seller/add/").text)
    data = form | {"legal_name": "New GmbH", "country": "DE", "organisation": idle.pk}
    response = client.post("/accounts/seller/add/", data)
    assert "organisation" in response.context["adminform"].form.errors
    assert not Seller.everything.filter(legal_name="New GmbH").exists()


def test_the_default_seller_is_not_archived(ours, desk):
    seller = Seller.everything.get(operator=ours.operator, is_default=True)
    response = desk(ours.owner).post(f"/accounts/seller/{seller.pk}/archive/", {"why": "Gone."})
    assert "Make another one the default first." in response.content.decode()


@pytest.mark.parametrize(
    ("model", "model_admin"),
    [(model, one) for model, one in REGISTERED if issubclass(model, ArchivableModel)],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_what_can_be_archived_has_the_buttons(model, model_admin):
    assert {"archive", "restore"} <= set(model_admin.actions_detail)
    assert not isinstance(model_admin, PlatformAdmin)
