"""The rival walk: nobody sees, finds, names or touches another tenant's rows, at any URL there is.

The URLs come from the resolvers and the models from the registry, so what is added later is walked too.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from http.cookies import SimpleCookie
from typing import Any

import pytest
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db import models
from django.forms import ModelChoiceField
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from apps.accounts import permissions, selectors, services
from apps.accounts.models import Operator, User
from apps.core.actor import ANONYMOUS, Actor
from apps.core.admin import ModelAdmin, PlatformAdmin
from tests.factories.cast import CANARY, Tenant, make_tenant
from tests.factories.everything import MODELS, TENANT_MODELS, a_row, fill, rows_of, text_columns
from tests.factories.forms import filled_in

HIDDEN = re.compile(re.escape(CANARY), re.IGNORECASE)
# Found by search in every column that holds the canary, and not the canary itself: a page repeats what was asked.
PART = CANARY[1:-1]
PARAMETER = re.compile(r"<(?:(?P<kind>\w+):)?(?P<name>\w+)>|\(\?P<(?P<group>\w+)>(?:[^()]|\([^()]*\))*\)")


@dataclass(frozen=True)
class Place:
    """One URL of a resolver: its route with parameters, and the admin behind it, if any."""

    urlconf: str
    route: str
    model_admin: ModelAdmin | None
    module: str

    @property
    def parameters(self) -> list[re.Match[str]]:
        return list(PARAMETER.finditer(self.route))

    def path(self, *values: Any) -> str:
        given = iter(values)
        return "/" + PARAMETER.sub(lambda _match: str(next(given)), self.route)

    def __str__(self) -> str:
        return f"{self.urlconf.rpartition('_')[2]}:/{self.route}"


def places(urlconf: str) -> list[Place]:
    return list(_places(urlconf, get_resolver(urlconf), ""))


def _places(urlconf: str, resolver: URLResolver, prefix: str) -> Iterator[Place]:
    for entry in resolver.url_patterns:
        route = prefix + str(entry.pattern).removeprefix("^")
        if isinstance(entry, URLResolver):
            yield from _places(urlconf, entry, route)
        elif isinstance(entry, URLPattern):
            callback = entry.callback
            yield Place(
                urlconf,
                re.sub(r"\\Z$|\$$", "", route).replace("\\", ""),
                getattr(callback, "model_admin", None),
                getattr(getattr(callback, "view_class", callback), "__module__", ""),
            )


ADMIN, PORTAL = places("config.urls_admin"), places("config.urls_portal")
ADMIN_ROWS = [place for place in ADMIN if place.model_admin is not None and place.parameters]
OTHER_ROWS = [
    place
    for place in [*ADMIN, *PORTAL]
    if place.model_admin is None and place.parameters and not place.module.startswith(("allauth.", "django."))
]
API_LISTS = [place for place in ADMIN if place.module == "apps.api.views" and not place.parameters]
PLAIN = [place for place in [*ADMIN, *PORTAL] if not place.parameters and "logout" not in place.route]
REGISTERED = sorted(admin.site._registry.items(), key=lambda entry: entry[0]._meta.label)
TENANT_ADMINS = [(model, one) for model, one in REGISTERED if not isinstance(one, PlatformAdmin)]

# Parameters that are no ids, with a value that their pages know.
WORDS = {"action": "Reset", "repair": "accept_as_is"}

# Of the standing world: the cookies of our people by user id, and our key by operator id.
SIGNED_IN: dict[int, SimpleCookie] = {}
KEYS: dict[int, str] = {}

ids = str


def label(value: Any) -> str:
    return value._meta.label if isinstance(value, type) else ""


@pytest.fixture(scope="module")
def standing_world(standing_rows: Callable[[], AbstractContextManager[None]]) -> tuple[Tenant, Tenant]:
    """Both tenants with a row in every table; every text of the rival's holds the canary."""
    with standing_rows():
        ours, rival = make_tenant("Amber"), make_tenant(CANARY)
        fill(ours, "Amber")
        fill(rival, CANARY)
        SIGNED_IN.clear()
        for user in (ours.owner, ours.manager, ours.driver):
            client = Client()
            client.force_login(user)
            SIGNED_IN[user.pk] = client.cookies
        KEYS[ours.operator.pk] = key_of(ours.operator)
    return ours, rival


@pytest.fixture
def world(standing_world: tuple[Tenant, Tenant], db: None) -> tuple[Tenant, Tenant]:
    """What a test does to the rows is rolled back, what it does to the objects happens to copies."""
    ours, rival = standing_world
    return copied(ours), copied(rival)


def copied(tenant: Tenant) -> Tenant:
    return Tenant(**{one.name: copy.copy(getattr(tenant, one.name)) for one in fields(Tenant)})


@dataclass
class Visitor:
    """A signed-in browser, or a program with a key, on one host."""

    client: Client
    host: str
    key: str = ""

    def ask(self, method: str, path: str, data: Any = None) -> Any:
        headers = {"host": self.host}
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"
        return getattr(self.client, method)(path, data, headers=headers)


def visitor(user: User, host: str, key: str = "") -> Visitor:
    client = Client(raise_request_exception=False)
    client.cookies.load(SIGNED_IN[user.pk].output(header="", sep=";"))
    return Visitor(client, host, key)


def owner_of(tenant: Tenant) -> Visitor:
    return visitor(tenant.owner, settings.ADMIN_HOST, KEYS[tenant.operator.pk])


def key_of(operator: Operator) -> str:
    """A key with every right that a key can have."""
    held = [name for name in permissions.of_role("owner") if name.partition(".")[0] != "accounts"]
    _key, secret = services.create_api_key(actor=Actor.system(operator), operator=operator, name="walk", scopes=held)
    return secret


def body(response: Any) -> str:
    content = b"".join(response.streaming_content) if response.streaming else response.content
    return content.decode(errors="replace") + str(dict(response.headers))


def assert_nothing_leaks(response: Any, where: str) -> None:
    assert response.status_code < 500, f"{where} answers {response.status_code}"
    found = HIDDEN.search(text := body(response))
    assert not found, f"{where} shows the rival: …{text[max(0, found.start() - 200) : found.end() + 100]}…"


def page(model: type[models.Model], tail: str = "") -> str:
    return f"/{model._meta.app_label}/{model._meta.model_name}/{tail}"


# --- the world is what the walk needs ---------------------------------------------------------------------------------
@pytest.mark.parametrize("model", MODELS, ids=label)
def test_the_rival_has_its_name_in_every_text_column_of_every_table(world, model):
    _ours, rival = world
    rows = list(rows_of(rival, model))
    assert rows
    for row in rows:
        for field in text_columns(model):
            assert HIDDEN.search(str(getattr(row, field.attname))), f"{model._meta.label}.{field.name}"


def test_every_row_has_the_operator_of_its_parents(world):
    for model in TENANT_MODELS:
        for row in model.everything.all():
            assert not list(row.foreign_parents()), f"{model._meta.label} {row.pk}"


def test_the_walk_goes_somewhere():
    assert len(ADMIN_ROWS) >= 3 * len(TENANT_ADMINS) > 0
    assert all(isinstance(one, ModelAdmin) for _model, one in REGISTERED)


# --- a foreign id is 404 ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("place", ADMIN_ROWS, ids=ids)
def test_a_foreign_id_is_404_in_the_admin(world, place):
    ours, rival = world
    walker = owner_of(ours)
    foreign = foreign_ids(place.model_admin.model, rival)
    for value in foreign:
        for method in ("get", "post"):
            response = walker.ask(method, path := place.path(*[value] * len(place.parameters)))
            assert response.status_code == 404, f"{method} {path} answers {response.status_code}"
            assert_nothing_leaks(response, path)


@pytest.mark.parametrize("place", OTHER_ROWS, ids=ids)
def test_a_foreign_id_is_404_everywhere_else(world, place):
    ours, rival = world
    found, known = set(), []
    for walker in walkers(place, ours):
        status, answering = answer_to_own_ids(walker, place, ours, known or MODELS)
        found.add(status)
        known = known or answering
        for _row, values in arguments(place, rival, known or models_named_in(place.route)):
            for method in ("get", "post") if status != 405 else ("post",):
                response = walker.ask(method, path := place.path(*values))
                expected = (404, 405) if method == "post" or 405 in found else (404,)
                assert response.status_code in expected, f"{method} {path} answers {response.status_code}"
                assert_nothing_leaks(response, path)
    assert found - {404} or not any(is_id(one) for one in place.parameters), (
        f"{place} does not know our own rows either"
    )


def answer_to_own_ids(
    walker: Visitor, place: Place, ours: Tenant, among: list[type[models.Model]]
) -> tuple[int, list[type[models.Model]]]:
    """The first answer that is not 404, and the model whose id got it: the one whose foreign ids matter there.

    405 is said before a page looks at the id, so it tells nothing of the model.
    """
    likely_first = sorted(among, key=lambda model: not is_named_in(place.route, model))
    for row, values in arguments(place, ours, likely_first):
        status = walker.ask("get", place.path(*values)).status_code
        if status != 404:
            return status, [] if status == 405 else [type(row)]
    return 404, []


def models_named_in(route: str) -> list[type[models.Model]]:
    """All there are, if the route's words name none."""
    return [model for model in MODELS if is_named_in(route, model)] or MODELS


def is_named_in(route: str, model: type[models.Model]) -> bool:
    words = {word.removesuffix("s") for word in re.findall(r"[a-z]{4,}", PARAMETER.sub("", route))}
    name = f"{model._meta.model_name} {model._meta.verbose_name}".lower()
    return any(word in name for word in words)


def is_id(parameter: re.Match[str]) -> bool:
    name = parameter["name"] or parameter["group"] or ""
    return parameter["kind"] in ("uuid", "int") or name.endswith(("_id", "pk"))


def arguments(
    place: Place, tenant: Tenant, among: list[type[models.Model]]
) -> Iterator[tuple[models.Model, list[Any]]]:
    """Rows of a tenant, each with new values for the parameters of a place: ids where ids belong, words where words
    do."""
    given: list[list[Any]] = []
    for model in among:
        for row in rows_of(tenant, model):
            values = [value_for(place, parameter, row) for parameter in place.parameters]
            if None not in values and values not in given:
                given.append(values)
                yield row, values


def value_for(place: Place, parameter: re.Match[str], row: models.Model) -> Any:
    """The row's id, if it fits; a number fits the model that its parameter names, as numbers repeat between tables."""
    name, kind = parameter["name"] or parameter["group"] or "", parameter["kind"]
    if not is_id(parameter) and kind in ("slug", "str", None) and name in WORDS:
        return WORDS[name]
    if name == "object_id":
        return row.pk if f"/{place.route}".startswith(page(type(row))) else None
    if kind == "int" or (kind != "uuid" and name.endswith("_id") and name != "public_id"):
        fits = row._meta.model_name.endswith(name.removesuffix("_id").replace("_", ""))
        return row.pk if fits else None
    return getattr(row, "public_id", None)


def foreign_ids(model: type[models.Model], rival: Tenant) -> list[Any]:
    if model in MODELS:
        return [row.pk for row in rows_of(rival, model)]
    if model is User:
        return [rival.owner.pk]
    if model is type(rival.operator):
        return [rival.operator.pk]
    return [1]


def walkers(place: Place, ours: Tenant) -> list[Visitor]:
    if place.urlconf == "config.urls_admin":
        return [owner_of(ours)]
    key = owner_of(ours).key
    pairs = ((ours.owner, ours.brand), (ours.manager, ours.fleet_brand), (ours.driver, ours.brand))
    return [visitor(user, brand.host, key) for user, brand in pairs]


# --- no page holds the rival ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("place", PLAIN, ids=ids)
def test_no_page_shows_the_rival(world, place):
    ours, _rival = world
    for walker in walkers(place, ours):
        assert_nothing_leaks(walker.ask("get", place.path()), f"{walker.host}{place.path()}")


@pytest.mark.parametrize("place", API_LISTS, ids=ids)
def test_a_list_of_the_api_holds_rows_of_ours_and_none_of_the_rival(world, place):
    ours, _rival = world
    response = owner_of(ours).ask("get", place.path())
    assert response.status_code == 200
    assert response.json()["results"]
    assert_nothing_leaks(response, str(place))


@pytest.mark.parametrize("place", [place for place in ADMIN_ROWS if place.model_admin.model in MODELS], ids=ids)
def test_no_page_of_an_own_row_shows_the_rival(world, place):
    ours, _rival = world
    walker = owner_of(ours)
    for row in rows_of(ours, place.model_admin.model):
        response = walker.ask("get", path := place.path(*[row.pk] * len(place.parameters)))
        assert response.status_code in (200, 302, 403, 405), f"{path} answers {response.status_code}"
        assert_nothing_leaks(response, path)


@pytest.mark.parametrize(("model", "model_admin"), TENANT_ADMINS, ids=label)
def test_no_search_and_no_filter_finds_the_rival(world, model, model_admin):
    ours, rival = world
    walker = owner_of(ours)
    asked = [f"?q={PART}", "?e=1", "?_popup=1", "?archived=all"]
    for field in model._meta.concrete_fields:
        if isinstance(field, models.ForeignKey):
            value, target = a_row(rival, field.related_model).pk, field.target_field.name
            asked += [f"?{field.name}={value}", f"?{field.name}__{target}__exact={value}"]
            asked.append(f"?{field.name}__name__icontains={PART}")
        else:
            asked.append(f"?{field.name}__exact={PART}")
        if isinstance(field, models.CharField | models.TextField):
            asked.append(f"?{field.name}__startswith={PART}")
    for query in asked:
        response = walker.ask("get", page(model, query))
        assert response.status_code in (200, 302, 400), f"{page(model, query)} answers {response.status_code}"
        assert_nothing_leaks(response, page(model, query))


@pytest.mark.parametrize(("model", "model_admin"), REGISTERED, ids=label)
def test_no_autocomplete_offers_the_rival(world, model, model_admin):
    ours, _rival = world
    walker = owner_of(ours)
    fields = [field for field in model._meta.concrete_fields if isinstance(field, models.ForeignKey)]
    for field in fields:
        for term in ("", PART):
            asked = {
                "term": term,
                "app_label": model._meta.app_label,
                "model_name": model._meta.model_name,
                "field_name": field.name,
            }
            response = walker.ask("get", "/autocomplete/", asked)
            assert response.status_code in (200, 403, 404)
            assert_nothing_leaks(response, f"autocomplete of {field}")


@pytest.mark.parametrize("term", [PART, CANARY[:4], "e", "1"])
def test_the_command_palette_finds_nothing_of_the_rival(world, term):
    ours, _rival = world
    assert_nothing_leaks(owner_of(ours).ask("get", "/search/", {"s": term}), f"search for {term}")


def test_the_command_palette_forgets_the_operator_that_was_chosen_before(world):
    ours, rival = world
    services.grant_role(actor=Actor.system(rival.operator), user=ours.owner, operator=rival.operator, role="owner")
    walker = visitor(ours.owner, settings.ADMIN_HOST)
    walker.ask("post", "/choose-operator/", {"operator": rival.operator.pk})
    assert HIDDEN.search(body(walker.ask("get", "/search/", {"s": PART})))
    walker.ask("post", "/choose-operator/", {"operator": ours.operator.pk})
    assert_nothing_leaks(walker.ask("get", "/search/", {"s": PART}), "search after switching")


# --- a form with foreign ids is refused -------------------------------------------------------------------------------
@pytest.mark.parametrize(("model", "model_admin"), TENANT_ADMINS, ids=label)
def test_a_form_with_a_foreign_id_is_refused(world, model, model_admin):
    ours, rival = world
    walker = owner_of(ours)
    own = rows_of(ours, model).order_by("pk").first()
    for path in (page(model, "add/"), page(model, f"{own.pk}/change/")):
        shown = walker.ask("get", path)
        if shown.status_code == 403 or "adminform" not in (shown.context or {}):
            continue
        for name, field in choosers(shown.context):
            related = field.queryset.model
            foreign = a_row(rival, related)
            before = {one: snapshot(one) for one in MODELS}
            response = walker.ask("post", path, {**filled_in(shown.content.decode()), name: str(foreign.pk)})
            assert_nothing_leaks(response, f"{path} with a foreign {name}")
            for one, rows in before.items():
                assert snapshot(one) == rows, f"{path} with a foreign {name} changed {one._meta.label}"
            if not name.endswith(f"-{related._meta.pk.name}"):  # the hidden key of a read-only child is not even read
                assert response.status_code in (200, 403), f"{path} takes a foreign {name}"
                assert not field.queryset.filter(pk=foreign.pk).exists(), f"{path} offers a foreign {name}"
            preset = walker.ask("get", f"{path}?{name}={foreign.pk}")
            assert_nothing_leaks(preset, f"{path} with {name} preset")


def choosers(context: Any) -> Iterator[tuple[str, ModelChoiceField]]:
    """Names and fields by which a shown form and its inlines choose related rows."""
    forms = [context["adminform"].form]
    for inline in context["inline_admin_formsets"]:
        if inline.has_add_permission or inline.has_change_permission:  # what is only shown is not read
            forms += inline.formset.forms
    for form in forms:
        for name, field in form.fields.items():
            if isinstance(field, ModelChoiceField) and hasattr(field.queryset.model, "operator"):
                yield form.add_prefix(name), field


def snapshot(model: type[models.Model]) -> list[tuple[Any, ...]]:
    return sorted(model.everything.values_list(), key=repr)


FOREIGN_KEYS = [
    (model, field)
    for model in TENANT_MODELS
    for field in model._meta.concrete_fields
    if isinstance(field, models.ForeignKey) and issubclass(field.related_model, tuple(TENANT_MODELS))
]


@pytest.mark.parametrize(("model", "field"), FOREIGN_KEYS, ids=lambda one: getattr(one, "name", None) or label(one))
def test_a_row_refuses_a_parent_of_another_operator(world, model, field):
    ours, rival = world
    row = rows_of(ours, model).order_by("pk").first()
    setattr(row, field.attname, a_row(rival, field.related_model).pk)
    assert field in list(row.foreign_parents())
    with pytest.raises(ValidationError):
        row.clean()


# --- hosts ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", ["/", "/accounts/login/", "/installations/location/", "/healthz/"])
def test_an_unknown_host_is_404(world, path):
    ours, _rival = world
    response = visitor(ours.owner, "nobody.example").ask("get", path)
    assert response.status_code == 404
    assert_nothing_leaks(response, path)


@pytest.mark.parametrize("role", ["owner", "manager", "driver"])
def test_on_the_rivals_host_our_people_are_nobody_and_see_nothing(world, rf, role):
    ours, rival = world
    for brand in (rival.brand, rival.fleet_brand):
        request = rf.get("/", headers={"host": brand.host})
        request.user, request.brand, request.session = getattr(ours, role), brand, {}
        actor = selectors.actor_of_request(request)
        assert actor == ANONYMOUS
        for model in MODELS:
            assert not model.objects.visible_to(actor).exists()
        assert visitor(request.user, brand.host).ask("get", "/").status_code in (403, 404)


@pytest.mark.parametrize("role", ["manager", "driver"])
def test_people_of_an_organisation_have_no_back_office(world, role):
    ours, _rival = world
    walker = visitor(getattr(ours, role), settings.ADMIN_HOST)
    for place in ADMIN:
        if place.model_admin is not None and not place.parameters:
            assert walker.ask("get", place.path()).status_code == 404, place


@pytest.mark.parametrize("role", ["owner", "manager", "driver"])
@pytest.mark.parametrize("host", ["brand", "fleet_brand"])
def test_on_our_hosts_nobody_sees_a_row_of_the_rival(world, rf, role, host):
    ours, _rival = world
    request = rf.get("/")
    request.user, request.brand, request.session = getattr(ours, role), getattr(ours, host), {}
    actor = selectors.actor_of_request(request)
    for model in MODELS:
        operators = {row.operator_id for row in model.objects.visible_to(actor)}
        assert operators <= {ours.operator.pk}, model._meta.label


def test_a_key_of_ours_opens_nothing_on_the_rivals_host(world):
    ours, rival = world
    secret = owner_of(ours).key
    assert selectors.actor_of_api_key(secret, brand=None).operator_id == ours.operator.pk
    assert selectors.actor_of_api_key(secret, brand=rival.brand) is None
