"""The report as a document: what people wrote stays what it is, and a picture is a picture."""

from __future__ import annotations

import datetime as dt

import pytest
from django.core.files.base import ContentFile

from apps.reports.documents import consumption_page
from apps.reports.selectors import month_consumption
from tests.factories.contracts import make_contract
from tests.reports.worlds import actor_on, at, ended_session, price


def page_of(ours) -> str:
    report = month_consumption(actor_on(ours.fleet_brand, ours.manager), dt.date(2026, 10, 1))
    return consumption_page(report, report.rows, report.totals, title="October", of="", brand=ours.fleet_brand)


def test_a_mark_in_a_name_turns_no_text(ours):
    ours.token.label = "Van\u202e7\u2066 Ärger"
    ours.token.save()
    price(ended_session(ours, at(10, 5)), make_contract(ours))
    page = page_of(ours)
    assert "Van7 Ärger" in page
    assert "\u202e" not in page


@pytest.mark.parametrize("content", [b"", b"no picture", b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
def test_a_logo_that_is_no_picture_is_left_out(ours, content):
    ours.fleet_brand.logo_light.save("logo.png", ContentFile(content))
    assert "<img" not in page_of(ours)
