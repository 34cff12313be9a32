from __future__ import annotations

import factory

from apps.accounts.models import Seller
from apps.installations.models import EVSE, ChargingStation, Connector, ConnectorState, Location, StationState
from tests.factories.accounts import SellerFactory, TenantFactory


class LocationFactory(TenantFactory):
    name = factory.Sequence(lambda n: f"Location {n}")
    street = "Harbour Street 1"
    city = "Hamburg"
    country = "DE"

    class Meta:
        model = Location

    @factory.lazy_attribute
    def seller(self):
        known = Seller.everything.filter(operator=self.operator, is_default=True).first()
        return known or SellerFactory(operator=self.operator, is_default=True)


class StationFactory(TenantFactory):
    """A station with its live-state row, as the services make it."""

    identity = factory.Sequence(lambda n: f"CP{n:04}")
    location = factory.SubFactory(LocationFactory, operator=factory.SelfAttribute("..operator"))

    class Meta:
        model = ChargingStation
        skip_postgeneration_save = True

    @factory.post_generation
    def state(self, create, extracted, **kwargs):
        if create:
            StationState.everything.create(station=self, operator_id=self.operator_id, **kwargs)


class EVSEFactory(TenantFactory):
    station = factory.SubFactory(StationFactory, operator=factory.SelfAttribute("..operator"))
    number = 1

    class Meta:
        model = EVSE


class ConnectorFactory(TenantFactory):
    """A 22 kW connector with its EVSE and live-state row."""

    station = factory.SubFactory(StationFactory, operator=factory.SelfAttribute("..operator"))
    number = 1
    evse = factory.SubFactory(
        EVSEFactory,
        operator=factory.SelfAttribute("..operator"),
        station=factory.SelfAttribute("..station"),
        number=factory.SelfAttribute("..number"),
    )

    class Meta:
        model = Connector
        skip_postgeneration_save = True

    @factory.post_generation
    def state(self, create, extracted, **kwargs):
        if create:
            ConnectorState.everything.create(connector=self, operator_id=self.operator_id, **kwargs)
