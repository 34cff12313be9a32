"""Lists, forms and navigation of every admin there is."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import connection, models
from django.test.utils import CaptureQueriesContext
from django.urls import resolve
from django.utils import timezone

from apps.accounts import permissions
from apps.accounts.models import Membership, Organisation, Seller
from apps.accounts.permissions import Role
from apps.backoffice import navigation
from apps.core.admin import PlatformAdmin
from apps.core.models import ArchivableModel, TenantModel
from tests.factories.accounts import MembershipFactory, OrganisationFactory, SellerFactory, UserFactory
from tests.factories.cast import Tenant, make_tenant
from tests.factories.everything import WORDS, fill, rows_of
from tests.factories.forms import filled_in

TENANT_ADMINS = sorted(
    ((model, one) for model, one in admin.site._registry.items() if issubclass(model, TenantModel)),
    key=lambda entry: entry[0]._meta.label,
)
LISTED = {label for _title, pages in navigation.GROUPS for _name, _icon, label in pages}


def path_of(model, tail: str = "") -> str:
    return f"/{model._meta.app_label}/{model._meta.model_name}/{tail}"


def without_values(sql: str) -> str:
    return re.sub(r"= \d+|'[^']*'", "?", sql)


def copy_of(row):
    """A second row like this one, with other values where the table wants them."""
    unique = {name for one in row._meta.constraints for name in getattr(one, "fields", ())}
    fields = [field for field in row._meta.concrete_fields if field.name != "public_id"]
    counted = any(isinstance(field, models.IntegerField) for field in fields if field.name in unique)
    turned = unique if "user" not in unique and not counted else ()
    return {field.attname: _other(row, field, turned) for field in fields if _is_own(field)}


def _is_own(field) -> bool:
    return not field.primary_key or isinstance(field, models.OneToOneField)


def _other(row, field, turned):
    value = getattr(row, field.attname)
    if field.primary_key:  # of a row beside another one
        parent = getattr(row, field.name)
        return type(parent).everything.create(**copy_of(parent)).pk
    if f"{row._meta.label}.{field.name}" in WORDS:
        return value
    if field.name == "user":
        return UserFactory().pk
    if field.choices:
        words = [one for one, _label in field.flatchoices]
        return words[(words.index(value) + 1) % len(words)] if field.name in turned else value
    if isinstance(field, models.BooleanField):
        return False
    if isinstance(field, models.IntegerField):
        return (value or 0) + 1
    if isinstance(field, models.CharField | models.TextField) and value:
        return f"{value}x"[-(field.max_length or 200) :]
    if isinstance(field, models.DateTimeField) and field.name in ("removed_at", "resolved_at"):
        return timezone.now() + dt.timedelta(days=2)
    return value


@pytest.fixture(scope="module")
def filled(standing_rows: Callable[[], AbstractContextManager[None]]) -> Tenant:
    """A tenant with a row in every table."""
    with standing_rows():
        tenant = make_tenant("Birch")
        fill(tenant, "Birch")
    return tenant


@pytest.mark.parametrize(("model", "model_admin"), TENANT_ADMINS, ids=lambda one: getattr(one, "__name__", ""))
def test_a_list_makes_no_query_a_row(filled, db, desk, model, model_admin):
    client = desk(filled.owner)
    client.get(path_of(model))

    def queries() -> list[str]:
        with CaptureQueriesContext(connection) as context:
            assert client.get(path_of(model)).status_code == 200
        return [query["sql"] for query in context.captured_queries]

    alone = queries()
    for _ in range(3):
        model.everything.create(**copy_of(rows_of(filled, model).order_by("-pk").first()))
    more = queries()
    repeated = [sql[:300] for sql, times in Counter(map(without_values, more)).items() if times > 2]
    assert len(more) <= len(alone), f"three rows more of {model._meta.label} cost queries: {repeated}"


@pytest.mark.parametrize(("model", "model_admin"), TENANT_ADMINS, ids=lambda one: getattr(one, "__name__", ""))
def test_a_form_keeps_what_has_left_its_choices(filled, db, desk, model, model_admin):
    """What a row refers to is archived, or has no role any more: saving something else must not clear it."""
    row = rows_of(filled, model).order_by("-pk").first()
    relations = [field for field in row._meta.concrete_fields if field.is_relation]
    chosen = {field.name: key for field in relations if (key := getattr(row, field.attname)) is not None}
    for name in chosen:
        related = row._meta.get_field(name).related_model
        if issubclass(related, ArchivableModel):
            related._default_manager.filter(pk=chosen[name]).update(archived_at=timezone.now())
    Membership.everything.filter(operator=filled.operator).exclude(user=filled.owner).update(ended_at=timezone.now())
    response = desk(filled.owner).get(path_of(model, f"{row.pk}/change/"))
    if response.context is None or "adminform" not in response.context:
        return  # a page of its own, not the admin's form
    shown = filled_in(response.content.decode())
    offered = chosen.keys() & response.context["adminform"].form.fields.keys()
    assert {name: shown.get(name) for name in offered} == {name: [str(chosen[name])] for name in offered}


@pytest.mark.parametrize(("model", "model_admin"), TENANT_ADMINS, ids=lambda one: getattr(one, "__name__", ""))
def test_a_large_list_is_counted_once(model, model_admin):
    assert model_admin.show_full_result_count is False


REGISTERED = sorted(admin.site._registry, key=lambda model: model._meta.label)


@pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model._meta.label)
def test_every_page_is_in_the_navigation(model):
    assert model._meta.label in LISTED | navigation.ELSEWHERE


@pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model._meta.label)
def test_no_other_url_stands_before_a_page(model):
    for tail in ("", "add/", "1/change/", "1/history/"):
        found = resolve(path_of(model, tail), urlconf="config.urls_admin")
        assert found.func.model_admin.model is model


@pytest.mark.parametrize("label", sorted(LISTED))
def test_the_navigation_names_models_that_exist(label):
    assert apps.get_model(label)


@pytest.mark.parametrize("role", sorted(permissions.OPERATOR_ROLES))
def test_the_navigation_offers_what_the_role_may_open_and_nothing_else(ours, desk, role):
    client = desk(MembershipFactory(operator=ours.operator, role=role).user)
    links = {item["link"] for group in client.get("/").context["sidebar_navigation"] for item in group["items"]}
    for model, model_admin in admin.site._registry.items():
        if model._meta.label in navigation.ELSEWHERE:
            continue
        opens = client.get(path_of(model)).status_code == 200
        assert (path_of(model) in links) == opens, f"{role}: {path_of(model)}"
        assert not (opens and isinstance(model_admin, PlatformAdmin))


# --- forms ------------------------------------------------------------------------------------------------------------
def test_a_new_row_belongs_to_the_chosen_operator_whatever_is_posted(ours, rival, desk):
    data = {"name": "Quarry", "language": "en", "operator": rival.operator.pk, "operator_id": rival.operator.pk}
    desk(ours.owner).post("/accounts/organisation/add/", data)
    assert Organisation.everything.get(name="Quarry").operator == ours.operator


def test_a_name_that_is_taken_is_an_error_in_the_form(ours, desk):
    response = desk(ours.owner).post("/accounts/organisation/add/", {"name": ours.fleet.name.upper(), "language": "en"})
    assert response.status_code == 200
    assert "There is an organisation of this name already." in response.content.decode()


def test_two_operators_may_use_one_name(ours, rival, desk):
    response = desk(ours.owner).post("/accounts/organisation/add/", {"name": rival.fleet.name, "language": "en"})
    assert response.status_code == 302


def test_another_default_seller_takes_over(ours, desk):
    seller = SellerFactory(operator=ours.operator)
    desk(ours.owner).post(f"/accounts/seller/{seller.pk}/make-default/", {"why": "New company."})
    assert [one.pk for one in Seller.everything.filter(operator=ours.operator, is_default=True)] == [seller.pk]


def test_a_viewer_reads_and_changes_nothing(ours, desk):
    viewer = MembershipFactory(operator=ours.operator, role=Role.VIEWER).user
    client = desk(viewer)
    path = f"/accounts/organisation/{ours.fleet.pk}"
    assert client.get(f"{path}/change/").status_code == 200
    for tail, data in (("change", {"name": "Other", "language": "en"}), ("archive", {"why": "Because."})):
        assert client.post(f"{path}/{tail}/", data).status_code == 403
    assert client.get("/accounts/organisation/add/").status_code == 403
    assert Organisation.everything.get(pk=ours.fleet.pk).name == ours.fleet.name


def test_an_empty_list_says_what_belongs_there(ours, desk):
    Membership.everything.filter(organisation=ours.fleet).delete()
    page = desk(ours.owner).get("/accounts/invitation/").content.decode()
    assert "There are no invitations yet." in page
    assert "/accounts/invitation/add/" in page


def test_the_first_steps_follow_what_is_done(ours, desk):
    OrganisationFactory(operator=ours.operator)
    steps = desk(ours.owner).get("/").context["steps"]
    assert {step.state for step in steps} == {"done"}


def test_the_server_error_page_needs_nothing_that_can_fail(ours, desk, monkeypatch):
    monkeypatch.setattr(navigation, "sidebar", lambda _request: 1 / 0)
    client = desk(ours.owner)
    client.raise_request_exception = False
    response = client.get("/")
    assert response.status_code == 500
    assert "Something went wrong on our side" in response.content.decode()
