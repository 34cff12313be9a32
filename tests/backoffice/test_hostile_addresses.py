"""Addresses that nobody writes by mistake, opened by somebody who is signed in: an answer, never a 500."""

from __future__ import annotations

import pytest
from django.contrib import admin

from tests.factories.accounts import MembershipFactory

pytestmark = pytest.mark.django_db
HUGE = "9" * 30
LISTS = sorted(
    (one.opts.app_label, one.opts.model_name, one) for one in admin.site._registry.values() if one.list_display
)
NUL = [
    "/search/?s=%00",
    "/search/?s=a%00b",
    "/cards/token/?q=%00",
    "/cards/token/?state__exact=%00",
    "/cards/token/?organisation__id__exact=%00",
    "/installations/command/?command=%00",
    "/accounts/auditentry/?thing=%00",
    "/accounts/auditentry/?what=%00",
    "/autocomplete/?app_label=contracts&model_name=contract&field_name=account&term=%00",
    "/chargers/{station}/messages/?action=%00",
    "/chargers/{station}/messages/?before=%00",
    "/accounts/login/?next=%00",
]


@pytest.mark.parametrize("path", NUL)
def test_nul_in_an_address_is_a_bad_request(ours, desk, path):
    answer = desk(ours.owner).get(path.format(station=ours.station.pk))
    assert answer.status_code == 400
    assert "NUL" in answer.text


def test_nul_in_a_portals_address_too(ours, client):
    client.force_login(ours.manager)
    assert client.get("/locations/?q=%00", headers={"host": ours.fleet_brand.host}).status_code == 400


def _queries(model_admin) -> list[str]:
    names = ["p", "o", "e", "archived"]
    for one in model_admin.list_filter:
        path = one.parameter_name if isinstance(one, type) else one if isinstance(one, str) else one[0]
        names += [path, f"{path}__id__exact"]
    queries = [f"{name}={HUGE}" for name in names]
    if day := model_admin.date_hierarchy:
        queries += [f"{day}__year={year}" for year in ("0", "9999", "x", HUGE)]
        queries += [f"{day}__year=2026&{day}__month={month}" for month in ("13", HUGE)]
        queries += [f"{day}__year=2026&{day}__month=2&{day}__day=31", f"{day}__gte=0001-01-01 00:00%2B14:00"]
    return queries


@pytest.mark.parametrize(("app", "name", "model_admin"), LISTS, ids=lambda one: one if isinstance(one, str) else "")
def test_a_list_answers_whatever_it_is_asked(ours, desk, app, name, model_admin):
    client = desk(ours.owner)
    client.raise_request_exception = False
    answers = {query: client.get(f"/{app}/{name}/?{query}").status_code for query in _queries(model_admin)}
    assert {query: code for query, code in answers.items() if code >= 500} == {}


@pytest.mark.parametrize(
    "path",
    [
        "/chargers/add/?location=x&refusal=x",
        f"/chargers/add/?location={HUGE}",
        "/chargers/{station}/messages/?since=0001-01-01 00:00&until=9999-12-31 23:59",
        "/chargers/{station}/messages/?before=0001-01-01T00:00:00%2B14:00",
        "/chargers/{station}/messages/?before=9999-12-31T23:59:59-14:00",
        "/chargers/{station}/messages/?before=x",
        "/chargers/{station}/commands/Reset/?connectorId=x",
        "/cards/token/{token}/change/?place=x&on=9999-12-31",
        f"/cards/token/{{token}}/change/?place={HUGE}&on=2026-01-01",
        f"/cards/token/{{token}}/history/?p={HUGE}",
        f"/cards/token/{HUGE}/change/",
        f"/chargers/{HUGE}/",
        f"/sessions/{HUGE}/",
        f"/imports/{HUGE}/",
        "/cards/token/x/change/",
        "/search/?s=" + "x" * 5000,
    ],
)
def test_a_page_answers_whatever_it_is_asked(ours, desk, path):
    client = desk(MembershipFactory(operator=ours.operator, role="owner").user)
    answer = client.get(path.format(station=ours.station.pk, token=ours.token.pk))
    assert answer.status_code in (200, 302, 400, 404)
