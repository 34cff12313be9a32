"""Makes the operator whose chargers the generator is: rows in bulk, in the database that the settings name.

python -m benchmarks.fleet STATIONS
"""

from __future__ import annotations

import os
import sys

import django

STATION_KEY = "00112233445566778899aabbccddeeff00112233"
URL_KEY = "benchkey"


def uid_of(number: int) -> str:
    """Each charger has a card of its own."""
    return f"04{number + 1:012X}"


def make(count: int) -> None:
    from apps.accounts.models import Operator, Seller
    from apps.cards.models import Token, TokenContract, TokenState
    from apps.core.actor import Actor
    from apps.installations.models import EVSE, ChargingStation, Connector, ConnectorState, StationState
    from apps.installations.services import create_location
    from apps.ocpp import keys
    from apps.ocpp.models import OperatorKey, StationKey
    from tests.factories.contracts import LONG_AGO, create_contract

    operator = Operator.objects.create(name="Bench", slug="bench")
    actor = Actor.system(operator)
    Seller.objects.create(operator=operator, legal_name="Bench", country="DE", is_default=True)
    location = create_location(actor=actor, name="Bench", street="Bench 1", city="Bench", country="DE")
    OperatorKey.objects.create(operator=operator, key=URL_KEY)
    tokens = Token.objects.bulk_create(
        (Token(operator=operator, uid=uid_of(number), state=TokenState.ACTIVE) for number in range(count)),
        batch_size=1000,
    )
    contract = create_contract(operator)
    TokenContract.objects.bulk_create(
        (TokenContract(operator=operator, token=one, contract=contract, valid_from=LONG_AGO) for one in tokens),
        batch_size=1000,
    )
    stations = ChargingStation.objects.bulk_create(
        (ChargingStation(operator=operator, location=location, identity=f"BENCH-{number}") for number in range(count)),
        batch_size=1000,
    )
    StationState.objects.bulk_create(
        (StationState(operator=operator, station=one) for one in stations), batch_size=1000
    )
    evses = EVSE.objects.bulk_create(
        (EVSE(operator=operator, station=one, number=1) for one in stations), batch_size=1000
    )
    connectors = Connector.objects.bulk_create(
        (Connector(operator=operator, station=one.station, evse=one, number=1) for one in evses), batch_size=1000
    )
    ConnectorState.objects.bulk_create(
        (ConnectorState(operator=operator, connector=one) for one in connectors), batch_size=1000
    )
    sealed = keys.seal(STATION_KEY)
    StationKey.objects.bulk_create(
        (
            StationKey(
                operator=operator,
                station=one,
                salt=sealed.salt,
                digest=sealed.digest,
                pepper_version=sealed.pepper_version,
            )
            for one in stations
        ),
        batch_size=1000,
    )


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    make(int(sys.argv[1]))
