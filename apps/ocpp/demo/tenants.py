"""The demo's rows, made by the services that the pages use."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.core.files.base import ContentFile
from django.db import transaction
from PIL import Image, ImageDraw, ImageFont

from apps.accounts.models import Brand, Operator, Organisation, Seller, User
from apps.accounts.permissions import API_SCOPES, ORGANISATION_ROLES, PlatformRole, Role
from apps.accounts.services import create_api_key, create_operator, grant_role, save_brand
from apps.cards.models import TokenState, TokenType
from apps.cards.services import create_token
from apps.core.actor import Actor
from apps.installations.models import ChargingStation, Contact, HardwareUnit, Location, StationModel
from apps.installations.services import ConnectorSpec, assign_hardware, create_location, create_station
from apps.ocpp.demo.cast import (
    CARDS_A_CONNECTOR,
    HARBOUR,
    MAKES,
    OWN_CHARGER,
    PLATFORM_EMAIL,
    REGISTERED_DAYS_AGO,
    TENANTS,
    WALL_11,
    Make,
    Place,
    Tenant,
    card_uid,
    cards_of,
)
from apps.ocpp.demo.sales import make_sales
from apps.ocpp.services import FIRST_KEY, ensure_operator_key, issue_station_key

WHY = "demo data"
LOGO_SIZE = (640, 160)


def loading_mark() -> Path:
    """A file that stands while the demo is being loaded: where it still stands later, the load was interrupted."""
    return Path(settings.VAR_DIR) / "demo-is-loading"


def make_tenants(now: dt.datetime, progress: Callable[[str], None]) -> None:
    """Make both operators with everything that stands and everybody who works. The database has no operator yet."""
    # One hash for all: hashing takes half a second on purpose.
    password = make_password(settings.EMBEDDED_SECRETS["DEMO_PASSWORD"])
    platform = _make_person(PLATFORM_EMAIL, "Platform owner", password)
    platform.platform_role = PlatformRole.OWNER
    platform.save(update_fields=["platform_role"])
    for tenant in TENANTS:
        progress(f"{tenant.name}: people, places, chargers, cards")
        with transaction.atomic():
            _TenantMaker(tenant, password, now).make()


def _make_person(email: str, name: str, password: str) -> User:
    user = User(email=email, name=name, password=password)
    user.full_clean()
    user.save()
    EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
    return user


class _TenantMaker:
    def __init__(self, tenant: Tenant, password: str, now: dt.datetime) -> None:
        self.tenant = tenant
        self.password = password
        self.now = now
        self.people: dict[Role, User] = {}
        self.models: dict[str, StationModel] = {}

    def make(self) -> None:
        tenant = self.tenant
        for role in tenant.roles:
            self.people[role] = _make_person(tenant.email(role), str(role.label).capitalize(), self.password)
        self.operator = create_operator(
            actor=Actor.system(0, why=WHY),
            name=tenant.name,
            slug=tenant.slug,
            country=tenant.country,
            owner=self.people[Role.OWNER],
            brand_host=f"{tenant.slug}.localhost",
        )
        self.actor = Actor.system(self.operator, why=WHY)
        self._describe_operator()
        self.fleet = self._make_fleet()
        self._dress_brands()
        self._grant_roles()
        ensure_operator_key(operator_id=self.operator.pk)
        self.sales = make_sales(self.actor, tenant, self.operator, self.fleet, self.now)
        for place in tenant.places:
            self._make_place(place)
        self._make_odd_cards()
        if tenant is HARBOUR:
            self._make_own_charger()
            self._make_api_key()

    def _describe_operator(self) -> None:
        operator: Operator = self.operator
        operator.support_email, operator.support_phone = f"support@{operator.slug}.example", "+49 800 5550199"
        operator.save(update_fields=["support_email", "support_phone"])
        Seller.objects.visible_to(self.actor).update(street="Am Kai 1", postal_code="20457", city="Hamburg")

    def _make_fleet(self) -> Organisation:
        fleet = Organisation(operator=self.operator, name=self.tenant.fleet, language=self.tenant.fleet_language)
        fleet.full_clean()
        fleet.save()
        return fleet

    def _dress_brands(self) -> None:
        tenant = self.tenant
        own = Brand.objects.visible_to(self.actor).get()
        fleets = Brand(
            operator=self.operator,
            organisation=self.fleet,
            host=f"{tenant.fleet_slug}.localhost",
            name=tenant.fleet,
            email_name=tenant.fleet,
        )
        for brand, colours in ((own, tenant.colours), (fleets, tenant.fleet_colours)):
            brand.accent_light, brand.accent_dark = colours.light, colours.dark
            brand.logo_light = draw_logo(brand.name, colours.light, "#1b2027")
            brand.logo_dark = draw_logo(brand.name, colours.dark, "#f5f6f8")
            save_brand(brand=brand, actor=self.actor)

    def _grant_roles(self) -> None:
        for role, user in self.people.items():
            inside = self.fleet if role in ORGANISATION_ROLES else None
            grant_role(actor=self.actor, user=user, operator=self.operator, role=role, organisation=inside)

    # --- places and chargers ---

    def _make_place(self, place: Place) -> None:
        location = create_location(
            actor=self.actor,
            name=place.name,
            street=place.street,
            city=place.city,
            country=place.country,
            postal_code=place.postal_code,
            latitude=place.latitude,
            longitude=place.longitude,
            time_zone=place.time_zone,
            opening_hours=place.opening_hours,
            unknown_cards=place.unknown_cards,
            publish=not place.hosted,
            host=self.fleet if place.hosted else None,
        )
        for task, name, phone in place.contacts:
            contact = Contact(operator=self.operator, location=location, task=task, name=name, phone=phone)
            contact.full_clean()
            contact.save()
        for identity, make in place.stations():
            station = self._make_station(location, identity, make)
            self._hang_unit(station, make)
            self._make_cards(place, identity, make)

    def _make_station(self, location: Location, identity: str, make: Make) -> ChargingStation:
        station = create_station(
            actor=self.actor,
            location=location,
            identity=identity,
            name=f"{location.city} {identity[-2:]}",
            model=self._model(make),
            connectors=[_spec(make, number) for number in range(1, len(make.standards) + 1)],
        )
        self._give_key(station)
        return station

    def _give_key(self, station: ChargingStation) -> None:
        secret = settings.EMBEDDED_SECRETS["DEMO_STATION_KEY"]
        issue_station_key(actor=self.actor, station=station, why=FIRST_KEY, now=self.now, secret=secret)

    def _model(self, make: Make) -> StationModel:
        if not self.models:
            for one in MAKES:
                row = StationModel(operator=self.operator, vendor=one.vendor, name=one.name, max_power_w=one.power_w)
                row.full_clean()
                row.save()
                self.models[one.name] = row
        return self.models[make.name]

    def _hang_unit(self, station: ChargingStation, make: Make) -> None:
        unit = HardwareUnit(
            operator=self.operator,
            serial=f"SN-{station.identity}",
            vendor=make.vendor,
            model=make.name,
            firmware=make.hardware.firmware,
        )
        unit.full_clean()
        unit.save()
        since = self.now - dt.timedelta(days=REGISTERED_DAYS_AGO)
        assign_hardware(actor=self.actor, station=station, unit=unit, at=since, why=WHY)

    def _make_own_charger(self) -> None:
        location = Location.objects.visible_to(self.actor).order_by("pk").first()
        assert location is not None
        station = create_station(
            actor=self.actor,
            location=location,
            identity=OWN_CHARGER,
            name="Your own charger",
            connectors=[_spec(WALL_11, 1)],
        )
        self._give_key(station)

    # --- cards and keys ---

    def _make_cards(self, place: Place, identity: str, make: Make) -> None:
        for connector in range(1, len(make.standards) + 1):
            for number, uid in enumerate(cards_of(self.tenant, identity, connector), 1):
                # The fleet's cards charge at its own places; the first of each is the driver's.
                ours = place.hosted or number == 1
                token = create_token(
                    actor=self.actor,
                    uid=uid,
                    label=f"Van {identity[:3]} {identity[-2:]}{connector}{number}" if ours else "",
                    visual_number=f"{self.tenant.slug[:2].upper()}-{identity[:3]}-{identity[-2:]}{connector}{number}",
                    organisation=self.fleet if ours else None,
                    holder=self.people[Role.DRIVER] if number == CARDS_A_CONNECTOR and ours else None,
                )
                self.sales.bind(token)

    def _make_odd_cards(self) -> None:
        """One card in each state that is not a matter of course."""
        yesterday = self.now - dt.timedelta(days=1)
        odd: dict[str, dict[str, Any]] = {
            state.value: {"state": state} for state in TokenState if state != TokenState.ACTIVE
        }
        odd |= {"expired": {"expires_at": yesterday}, "app": {"type": TokenType.APP_USER}}
        for name, fields in odd.items():
            uid = card_uid(self.tenant, name)
            token = create_token(actor=self.actor, uid=uid, label=f"Card ({name})", organisation=self.fleet, **fields)
            self.sales.bind(token)

    def _make_api_key(self) -> None:
        create_api_key(
            actor=self.actor,
            operator=self.operator,
            name="Demo key",
            scopes=sorted(API_SCOPES),
            secret=settings.EMBEDDED_SECRETS["DEMO_API_KEY"],
        )


def _spec(make: Make, number: int) -> ConnectorSpec:
    """The `number`-th connector of a make, from 1."""
    return ConnectorSpec(
        number=number,
        evse=1 if make.one_evse else number,
        number_in_evse=number if make.one_evse else 1,
        standard=make.standards[number - 1],
        format="CABLE" if make.dc else "SOCKET",
        power_type="DC" if make.dc else "AC_3_PHASE",
        max_voltage_v=920 if make.dc else 400,
        max_current_a=make.power_w // 400 if make.dc else make.power_w // 690,
        max_power_w=make.power_w,
    )


def draw_logo(name: str, accent: str, ink: str) -> ContentFile[bytes]:
    """A mark in the accent with the brand's initials, and its name beside it: a PNG on a clear ground."""
    width, height = LOGO_SIZE
    picture = Image.new("RGBA", LOGO_SIZE, (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((8, 8, height - 8, height - 8), radius=36, fill=accent)
    initials = "".join(word[0] for word in name.split()[:2])
    paper = "#ffffff" if ink == "#1b2027" else "#1b2027"
    draw.text((height / 2, height / 2), initials, fill=paper, anchor="mm", font=ImageFont.load_default(64))
    size = 60
    while draw.textlength(name, font=ImageFont.load_default(size)) > width - height - 32:
        size -= 2
    draw.text((height + 16, height / 2), name, fill=ink, anchor="lm", font=ImageFont.load_default(size))
    out = io.BytesIO()
    picture.save(out, format="PNG")
    return ContentFile(out.getvalue(), name="logo.png")
