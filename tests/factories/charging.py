from __future__ import annotations

import datetime as dt

import factory
from django.utils import timezone

from apps.charging.models import Session, SessionLive, SessionState
from tests.factories.accounts import TenantFactory
from tests.factories.cast import Tenant


class SessionFactory(TenantFactory):
    """A running session with 5 kWh so far, at 11 kW."""

    started_at = factory.LazyFunction(lambda: timezone.now() - dt.timedelta(hours=1))
    start_received_at = factory.SelfAttribute("started_at")
    start_key = factory.Sequence(lambda n: f"start-{n}")
    state = SessionState.ACTIVE
    connector_number = 1
    meter_start_wh = 1_000

    class Meta:
        model = Session
        skip_postgeneration_save = True

    @factory.post_generation
    def live(self, create, extracted, **kwargs):
        if create:
            figures = {"energy_wh": 5_000, "power_w": 11_040, "reading_at": timezone.now(), "soc_percent": 64, **kwargs}
            SessionLive.everything.create(session=self, operator_id=self.operator_id, **figures)


def make_session(tenant: Tenant, **given) -> Session:
    """A session of the tenant's driver at the tenant's charger, with the owners that a session copies at its start."""
    station = given.pop("station", tenant.station)
    token = given.pop("token", tenant.token)
    return SessionFactory(
        operator=tenant.operator,
        station=station,
        location=station.location,
        host=station.location.host,
        seller=station.location.seller,
        token=token,
        uid=token.uid if token else given.pop("uid", "04FFFF"),
        organisation=token.organisation if token else None,
        holder=token.holder if token else None,
        **given,
    )
