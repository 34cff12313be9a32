"""Who and what the demo shows: data alone. Addresses are on domains that nobody owns (RFC 2606), people are roles."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from apps.accounts.permissions import Role
from apps.installations.models import Connector, UnknownCardPolicy
from apps.ocpp.simulator import Hardware

Standard, PowerType = Connector.Standard, Connector.PowerType
ALWAYS = {"twentyfourseven": True}
WORKING_DAYS = {
    "twentyfourseven": False,
    "regular_hours": [{"weekday": day, "period_begin": "06:00", "period_end": "22:00"} for day in range(1, 6)],
}
PLATFORM_EMAIL = "platform@voltdesk.example"


@dataclass(frozen=True)
class Make:
    """A make of charger, as the inventory and as the simulator know it."""

    vendor: str
    name: str
    power_w: int
    standards: tuple[str, ...]
    dc: bool = False
    one_evse: bool = False

    @property
    def hardware(self) -> Hardware:
        return Hardware(
            vendor=self.vendor,
            model=self.name,
            connectors=len(self.standards),
            max_power_w=self.power_w,
            dc=self.dc,
        )


WALL_11 = Make("Acme", "Wall 11", 11_000, (Standard.TYPE_2,))
TWIN_22 = Make("Acme", "Twin 22", 22_000, (Standard.TYPE_2, Standard.TYPE_2))
FAST_50 = Make("Globex", "Fast 50", 50_000, (Standard.CCS, Standard.CHADEMO), dc=True, one_evse=True)
FAST_150 = Make("Globex", "Fast 150", 150_000, (Standard.CCS, Standard.CCS), dc=True)
MAKES = (WALL_11, TWIN_22, FAST_50, FAST_150)


@dataclass(frozen=True)
class Place:
    """A location with its chargers, named `<prefix>-01` and on."""

    name: str
    street: str
    postal_code: str
    city: str
    country: str
    time_zone: str
    latitude: str
    longitude: str
    prefix: str
    makes: tuple[Make, ...]
    hosted: bool = False
    opening_hours: dict[str, object] = field(default_factory=lambda: dict(ALWAYS))
    unknown_cards: str = UnknownCardPolicy.REFUSE
    contacts: tuple[tuple[str, str, str], ...] = ()

    def stations(self) -> list[tuple[str, Make]]:
        return [(f"{self.prefix}-{number:02}", make) for number, make in enumerate(self.makes, 1)]


@dataclass(frozen=True)
class Colours:
    light: str
    dark: str


@dataclass(frozen=True)
class Tenant:
    """An operator with one fleet customer."""

    slug: str
    name: str
    country: str
    colours: Colours
    fleet_slug: str
    fleet: str
    fleet_colours: Colours
    fleet_language: str
    roles: tuple[Role, ...]
    places: tuple[Place, ...]

    def email(self, role: Role) -> str:
        domain = self.fleet_slug if role.startswith("org_") else self.slug
        return f"{role.removeprefix('org_')}@{domain}.example"


HARBOUR = Tenant(
    slug="harbour",
    name="Harbour Power",
    country="DE",
    colours=Colours("#0f5fa8", "#7cb8f2"),
    fleet_slug="bluefleet",
    fleet="Blue Fleet Logistics",
    fleet_colours=Colours("#0b6b50", "#5fd0a8"),
    fleet_language="de",
    roles=tuple(Role),
    places=(
        Place(
            "Hamburg harbour depot",
            "Am Kai 14",
            "20457",
            "Hamburg",
            "DE",
            "Europe/Berlin",
            "53.540700",
            "9.966600",
            "HAM",
            (TWIN_22, TWIN_22, TWIN_22, TWIN_22, WALL_11, FAST_150),
            hosted=True,
            contacts=(
                ("security", "Gate, day and night", "+49 40 5550100"),
                ("electrician", "Electrician on call", "+49 40 5550101"),
            ),
        ),
        Place(
            "Berlin office park",
            "Parkallee 3",
            "10557",
            "Berlin",
            "DE",
            "Europe/Berlin",
            "52.525100",
            "13.369400",
            "BER",
            (TWIN_22, TWIN_22, WALL_11, WALL_11),
            opening_hours=WORKING_DAYS,
            unknown_cards=UnknownCardPolicy.ACCEPT_REVIEW,
            contacts=(("site", "Reception", "+49 30 5550110"),),
        ),
        Place(
            "Rotterdam terminal",
            "Havenweg 88",
            "3199 LA",
            "Rotterdam",
            "NL",
            "Europe/Amsterdam",
            "51.948900",
            "4.142000",
            "RTM",
            (FAST_150, FAST_50, TWIN_22, TWIN_22),
            hosted=True,
            contacts=(("emergency", "Terminal control room", "+31 10 5550120"),),
        ),
        Place(
            "Utrecht city garage",
            "Stationsplein 1",
            "3511 ED",
            "Utrecht",
            "NL",
            "Europe/Amsterdam",
            "52.089400",
            "5.109900",
            "UTR",
            (WALL_11, WALL_11, WALL_11),
            unknown_cards=UnknownCardPolicy.ACCEPT_FREE,
        ),
        Place(
            "Lille logistics centre",
            "Rue du Port 27",
            "59000",
            "Lille",
            "FR",
            "Europe/Paris",
            "50.629200",
            "3.057300",
            "LIL",
            (TWIN_22, FAST_50, WALL_11),
            hosted=True,
        ),
    ),
)

RIDGE = Tenant(
    slug="ridge",
    name="Ridge Charging",
    country="DE",
    colours=Colours("#8a3b12", "#f0a37a"),
    fleet_slug="greenvans",
    fleet="Green Vans",
    fleet_colours=Colours("#6b2fa0", "#c9a2f2"),
    fleet_language="en",
    roles=(Role.OWNER, Role.OPERATIONS, Role.MANAGER, Role.DRIVER),
    places=(
        Place(
            "Munich ridge",
            "Bergstraße 5",
            "80331",
            "München",
            "DE",
            "Europe/Berlin",
            "48.137200",
            "11.575500",
            "MUC",
            (TWIN_22, FAST_50, WALL_11, WALL_11),
            hosted=True,
        ),
    ),
)

TENANTS = (HARBOUR, RIDGE)
OWN_CHARGER = "MY-CHARGER"  # for a real one, at the first place
SIMULATED = ("HAM-01", "HAM-02")  # live from `make run` on
CARDS_A_CONNECTOR = 2
REGISTERED_DAYS_AGO = 70  # before the calendar month that is billed began


def cards_of(tenant: Tenant, identity: str, connector: int) -> list[str]:
    """UIDs of the cards that charge at a connector: its own, so that no card charges in two places of the replay."""
    return [card_uid(tenant, f"{identity}:{connector}:{number}") for number in range(CARDS_A_CONNECTOR)]


def card_uid(tenant: Tenant, name: str) -> str:
    """A UID of seven bytes, always the same for a name."""
    return "04" + hashlib.blake2b(f"{tenant.slug}:{name}".encode(), digest_size=6).hexdigest().upper()
