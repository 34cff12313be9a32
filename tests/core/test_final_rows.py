"""What is final stays as it is, whoever asks; periods never overlap. Enforced by the database, also against raw SQL."""

from __future__ import annotations

import datetime as dt

import pytest
from django.db import DatabaseError, connection, transaction

from apps.accounts.models import SellerRegistration
from apps.cards.models import TokenContract
from tests.factories.contracts import make_contract, published_version

DAY = dt.date(2026, 11, 1)


def refused(statement: str, *params: object) -> bool:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement, params)
    except DatabaseError:
        return True
    return False


def test_a_published_tariff_is_final_and_a_draft_is_not(ours):
    version = published_version(ours.operator)
    assert refused("UPDATE tariffs_tariffversion SET fee_after_minutes = 9 WHERE id = %s", version.pk)
    assert refused("DELETE FROM tariffs_tariffversion WHERE id = %s", version.pk)
    draft = type(version).everything.create(operator=ours.operator, tariff=version.tariff, number=2)
    assert not refused("UPDATE tariffs_tariffversion SET fee_after_minutes = 9 WHERE id = %s", draft.pk)
    assert not refused("DELETE FROM tariffs_tariffversion WHERE id = %s", draft.pk)


def test_a_contract_s_version_is_final(ours):
    version = make_contract(ours).versions.get()
    assert refused("UPDATE contracts_contractversion SET base_fee = 0 WHERE id = %s", version.pk)
    assert refused("DELETE FROM contracts_contractversion WHERE id = %s", version.pk)
    if connection.vendor == "postgresql":
        assert refused("TRUNCATE contracts_contractversion CASCADE")


@pytest.mark.parametrize(
    ("first", "last", "fits"),
    [(-9, -1, True), (-9, 0, False), (5, None, False), (10, 12, False), (11, None, True), (-9, None, False)],
)
def test_a_card_has_one_contract_a_day(ours, first, last, fits):
    contract = make_contract(ours, bind=False)
    TokenContract.everything.filter(token=ours.token).delete()

    def bind(since: int, until: int | None) -> TokenContract:
        until_day = None if until is None else DAY + dt.timedelta(days=until)
        return TokenContract(
            operator=ours.operator,
            token=ours.token,
            contract=contract,
            valid_from=DAY + dt.timedelta(days=since),
            valid_to=until_day,
        )

    bind(0, 10).save()
    if fits:
        bind(first, last).save()
        return
    with pytest.raises(DatabaseError), transaction.atomic():
        bind(first, last).save()


def test_an_end_may_move_until_the_next_period(ours):
    contract = make_contract(ours, bind=False)
    TokenContract.everything.filter(token=ours.token).delete()
    rows = [
        TokenContract.everything.create(
            operator=ours.operator, token=ours.token, contract=contract, valid_from=since, valid_to=until
        )
        for since, until in ((DAY, DAY), (DAY + dt.timedelta(days=5), None))
    ]
    rows[0].valid_to = DAY + dt.timedelta(days=4)
    rows[0].save()
    rows[0].valid_to = DAY + dt.timedelta(days=5)
    with pytest.raises(DatabaseError), transaction.atomic():
        rows[0].save()


def test_registrations_of_one_seller_and_country_do_not_overlap(ours):
    seller = ours.location.seller

    def register(country: str, prefix: str) -> None:
        SellerRegistration.everything.create(
            operator=ours.operator, seller=seller, country=country, number_prefix=prefix, valid_from=DAY
        )

    register("NL", "NL")
    register("FR", "FR")
    with pytest.raises(DatabaseError), transaction.atomic():
        register("NL", "NL2")
