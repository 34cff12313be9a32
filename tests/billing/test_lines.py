"""What a line of an invoice is made from."""

from __future__ import annotations

from apps.billing.lines import session_lines
from apps.charging.models import Cdr, RatedItem
from tests.factories.billing import make_cdr_elsewhere, make_cdrs, make_customer


def test_the_words_of_lines_cost_no_query_a_session(ours, django_assert_num_queries):
    contract = make_customer(ours)
    make_cdrs(ours, contract, ["1.00"] * 5)
    make_cdr_elsewhere(ours, contract, "Quay Seven")
    cdrs = list(Cdr.everything.select_related("contract_version", "location", "station", "token", "holder"))
    items = list(RatedItem.everything.all())
    with django_assert_num_queries(2):
        sold = session_lines(cdrs, items)
    assert sorted(one.line.text["charger"] for one in sold) == ["", *["Amber Charger"] * 5]
