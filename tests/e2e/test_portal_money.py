"""The portal's pages of money in a browser: prices, cards, invoices, the report; phone and desktop, light and dark."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest
from django.core.files.base import ContentFile
from django.db import connection
from django.test.utils import setup_databases
from django.utils import timezone

from apps.accounts.models import Document
from apps.billing.models import InvoiceFile
from apps.cards.models import Token, TokenState
from apps.charging.models import HoldReason, SessionState, SettlementState
from apps.installations.models import ConnectorState, StationState
from tests.e2e.conftest import Site
from tests.e2e.test_portal import HOST, LONG, assert_fits, sign_in
from tests.factories.cards import TokenFactory
from tests.factories.cast import Tenant, make_tenant
from tests.factories.charging import make_session
from tests.factories.contracts import make_contract
from tests.ocpp import live
from tests.portal.test_session_page import START, read
from tests.reports.worlds import at, bill, cancel, credit, ended_session, price, settle

# The same pages about something else: that they fit is tested with the others (`test_portal_money_phones`).
VARIANTS = {"lost", "by-driver", "by-charger", "of-card"}


@pytest.fixture
def site(request, server, django_db_blocker, settings) -> Iterator[Site]:
    """The running application over a copy of the empty database: no flush removes rows that are final."""
    settings.PUBLIC_PORT = server.port
    with django_db_blocker.unblock():
        if connection.settings_dict["NAME"] != connection.settings_dict["TEST"]["NAME"]:
            # No other test of this run asked for a database, so pytest-django made none.
            setup_databases(verbosity=0, interactive=False, keepdb=not request.config.getvalue("create_db"))
        with live.database_copy("money") as name, live.working_on(name):
            yield server


@pytest.fixture
def tenant(site) -> Tenant:
    """A fleet with two months of sessions: billed, held, credited, on two cards."""
    tenant = make_tenant("Amber")
    tenant.station.name, tenant.token.label = (
        LONG[:80],
        "Alexandra-Maximiliane von Hohenlohe-Schillingsfürst, Dienstwagen",
    )
    tenant.station.save()
    tenant.token.save()
    StationState.everything.filter(station=tenant.station).update(online=True)
    ConnectorState.everything.filter(connector=tenant.connector).update(status="Charging")
    return tenant


@pytest.fixture
def world(tenant) -> dict[str, str]:
    contract = make_contract(tenant, base_fee="5.00")
    pool = TokenFactory(
        operator=tenant.operator, organisation=tenant.fleet, label="Pool 2", visual_number="DE-AMB-C0002"
    )
    Token.everything.create(
        operator=tenant.operator, organisation=tenant.fleet, label="New driver", state=TokenState.ORDERED, uid=None
    )
    cdrs = [
        price(ended_session(tenant, at(10, day, 6 + day % 9), energy_wh=4_000 + 913 * day, token=token), contract)
        for day in range(1, 29)
        for token in (tenant.token, pool)
    ]
    wrong = price(ended_session(tenant, at(10, 29), energy_wh=44_000), contract)
    first = bill(contract, [*cdrs[:40], wrong], number="DE2026-000017", month=10, fee="5.00")
    right = price(wrong.session, contract, per_kwh="0.39", version=2) if credit(wrong) else None
    second = bill(contract, cdrs[40:50], number="DE2026-000018", month=11)
    note = cancel(second, number="DE-C2026-000001")
    for number, reason in enumerate((HoldReason.NO_CONTRACT, HoldReason.REVIEW, HoldReason.REVIEW)):
        settle(ended_session(tenant, at(10, 12 + number, 20)), SettlementState.HELD, reason)
    settle(ended_session(tenant, at(10, 3, 20), energy_wh=22_000), SettlementState.FREE)
    ended_session(tenant, at(9, 3), energy_wh=0)
    days = make_session(
        tenant,
        started_at=START,
        ended_at=START + dt.timedelta(hours=62),
        state=SessionState.ENDED,
        meter_stop_wh=99_000,
    )
    read(days, *range(1, 3_720, 20))
    now = timezone.now()
    for hours in (2, 30):
        price(ended_session(tenant, now - dt.timedelta(hours=hours), energy_wh=17_345), contract)
    held = ended_session(tenant, now - dt.timedelta(hours=5))
    settle(held, SettlementState.HELD, HoldReason.NO_CONTRACT)
    make_session(tenant, state=SessionState.ACTIVE)
    document = Document(
        operator=tenant.operator, name="invoice.pdf", content_type="application/pdf", size=5, sha256="0"
    )
    document.file.save("invoice.pdf", ContentFile(b"%PDF-"), save=True)
    InvoiceFile.everything.create(
        operator=tenant.operator, invoice=first, document=document, rendered_at=timezone.now()
    )
    return {
        "home": "/",
        "sessions": "/sessions/",
        "priced": f"/sessions/{right.session.public_id}/",
        "held": f"/sessions/{held.public_id}/",
        "days": f"/sessions/{days.public_id}/",
        "cards": "/cards/",
        "order": "/cards/order/",
        "block": f"/cards/{pool.public_id}/block/",
        "lost": f"/cards/{pool.public_id}/lost/",
        "invoices": "/invoices/",
        "invoice": f"/invoices/{first.public_id}/",
        "cancelled": f"/invoices/{second.public_id}/",
        "note": f"/invoices/{note.public_id}/",
        "report": "/report/?month=2026-10",
        "by-driver": "/report/?month=2026-10&by=driver",
        "by-charger": "/report/?month=2026-10&by=charger&page=2",
        "of-card": f"/report/?month=2026-10&of={pool.public_id}",
        "of-invoice": f"/report/?invoice={first.public_id}",
        "empty-month": "/report/?month=2026-01",
        "month-without-energy": "/report/?month=2026-09",
    }


def test_every_page_of_money_can_be_used_by_everybody(site, world, page, looks, axe_clean, refused):
    sign_in(site, page)
    for path in (path for name, path in world.items() if name not in VARIANTS):
        page.goto(site.url(HOST, path))
        for look in looks():
            axe_clean(page)
            assert_fits(page, f"{path} {look}")
    assert refused == []
