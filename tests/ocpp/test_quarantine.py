"""What is in quarantine: confirmed however often it comes, and kept without its secrets."""

from __future__ import annotations

import pytest

from apps.charging.models import ReviewItem, Session
from apps.core import bulk
from apps.ocpp import masking
from apps.ocpp.models import QuarantinedFrame
from tests.factories.cast import make_tenant
from tests.ocpp.lanes import confirmed, running_lanes, start_payload, stop_payload

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "00112233445566778899aabbccddeeff"


@pytest.fixture
def tenant(transactional_db):
    return make_tenant("Amber")


def rows(model):
    return model.objects.unscoped("a test").all()


@pytest.fixture
def picky(monkeypatch):
    """A database that takes no session with this meter and no status with this error."""
    insert = bulk.insert_rows

    def insert_rows(connection, table, rows):
        poison = {"charging_session": 666, "installations_statusinterval": "Poison"}.get(table.name)
        bad = [(None, *row[1:]) for row in rows if poison is not None and poison in row]
        insert(connection, table, bad or rows)

    monkeypatch.setattr(bulk, "insert_rows", insert_rows)


def test_g07_a_quarantined_start_that_comes_again_after_its_end_gets_its_first_answer(tenant, picky):
    payload = start_payload(tenant.token.uid, meter=666)
    with running_lanes() as lanes:
        first = lanes.ask(tenant.station, "StartTransaction", payload)
        lanes.ask(tenant.station, "StopTransaction", stop_payload(first["transactionId"], meter=1000))
        again = confirmed(lanes.send(tenant.station, "StartTransaction", payload).result(timeout=15))
    assert again["transactionId"] == first["transactionId"]
    assert rows(Session).count() == 1
    assert rows(QuarantinedFrame).count() == 2
    assert rows(ReviewItem).filter(code="stub").count() == 1


def test_g19_what_is_in_quarantine_holds_no_secret(tenant, picky):
    report = {
        "connectorId": 1,
        "errorCode": "OtherError",
        "vendorErrorCode": "Poison",
        "status": "Faulted",
        "info": f"https://somebody:{SECRET}@files.example.org/log",
    }
    with running_lanes() as lanes:
        assert lanes.ask(tenant.station, "StatusNotification", report) == {}
    quarantined = rows(QuarantinedFrame).get()
    raw = bytes(quarantined.raw).decode()
    assert SECRET not in raw
    assert SECRET not in quarantined.error  # PostgreSQL quotes the row
    assert SECRET not in str(rows(ReviewItem).get().evidence)
    assert masking.MASK in raw
    assert "Poison" in raw
