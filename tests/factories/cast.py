"""The standing cast: operator A with its fleet B, and C, a rival operator. Every text of the rival holds `CANARY`."""

from __future__ import annotations

from dataclasses import dataclass

from apps.accounts.models import Brand, Operator, Organisation, User
from apps.accounts.permissions import Role
from apps.cards.models import Token
from apps.installations.models import ChargingStation, Connector, Location
from tests.factories.accounts import (
    BrandFactory,
    MembershipFactory,
    OperatorFactory,
    OrganisationFactory,
    SellerFactory,
    UserFactory,
)
from tests.factories.cards import TokenFactory
from tests.factories.installations import ConnectorFactory, LocationFactory, StationFactory

CANARY = "Zugvogel"


@dataclass(frozen=True)
class Tenant:
    operator: Operator
    owner: User
    fleet: Organisation
    manager: User
    driver: User
    brand: Brand
    fleet_brand: Brand
    location: Location
    station: ChargingStation
    connector: Connector
    token: Token


def make_tenant(name: str) -> Tenant:
    """One operator with an owner, a fleet with manager and driver, two brands, and one charger at the fleet's place."""
    slug = name.lower()
    operator = OperatorFactory(name=f"{name} Power", slug=slug)
    fleet = OrganisationFactory(operator=operator, name=f"{name} Logistics")
    owner, manager, driver = (UserFactory(email=f"{role}@{slug}.example", name=f"{name} {role}") for role in _ROLES)
    MembershipFactory(operator=operator, user=owner, role=Role.OWNER)
    MembershipFactory(operator=operator, user=manager, role=Role.MANAGER, organisation=fleet)
    MembershipFactory(operator=operator, user=driver, role=Role.DRIVER, organisation=fleet)
    seller = SellerFactory(operator=operator, legal_name=f"{name} GmbH", is_default=True)
    location = LocationFactory(operator=operator, name=f"{name} Depot", host=fleet, seller=seller)
    station = StationFactory(operator=operator, location=location, identity=f"{name.upper()}-1", name=f"{name} Charger")
    return Tenant(
        operator=operator,
        owner=owner,
        fleet=fleet,
        manager=manager,
        driver=driver,
        brand=BrandFactory(operator=operator, host=f"{slug}.localhost", name=name),
        fleet_brand=BrandFactory(operator=operator, host=f"fleet.{slug}.localhost", name=name, organisation=fleet),
        location=location,
        station=station,
        connector=ConnectorFactory(operator=operator, station=station),
        token=TokenFactory(operator=operator, organisation=fleet, holder=driver, label=f"{name} card"),
    )


_ROLES = ("owner", "manager", "driver")
