from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.naive.settings")
pages = get_asgi_application()

from channels.db import database_sync_to_async  # noqa: E402 - models need the apps ready
from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.db import transaction  # noqa: E402
from django.urls import path  # noqa: E402
from ocpp.routing import on  # noqa: E402
from ocpp.v16 import ChargePoint, call_result  # noqa: E402
from ocpp.v16.enums import Action  # noqa: E402

from benchmarks.naive.models import Charger, SampledValue, Transaction  # noqa: E402


class Connection:
    """What the library wants of a socket."""

    def __init__(self, consumer: AsyncWebsocketConsumer) -> None:
        self.consumer = consumer
        self.received: asyncio.Queue[str] = asyncio.Queue()

    async def recv(self) -> str:
        return await self.received.get()

    async def send(self, text: str) -> None:
        await self.consumer.send(text_data=text)


class Handler(ChargePoint):
    @on(Action.start_transaction)
    async def begin(self, id_tag: str, meter_start: int, timestamp: str, **_: object) -> call_result.StartTransaction:
        number = await database_sync_to_async(store_start)(self.id, id_tag, meter_start, timestamp)
        return call_result.StartTransaction(transaction_id=number, id_tag_info={"status": "Accepted"})

    @on(Action.meter_values)
    async def measure(self, transaction_id: int, meter_value: list[dict], **_: object) -> call_result.MeterValues:
        await database_sync_to_async(store_values)(self.id, transaction_id, meter_value)
        return call_result.MeterValues()


def store_start(identity: str, id_tag: str, meter_start: int, timestamp: str) -> int:
    charger, _ = Charger.objects.get_or_create(identity=identity)
    at = datetime.fromisoformat(timestamp)
    return Transaction.objects.create(charger=charger, id_tag=id_tag, meter_start=meter_start, started_at=at).pk


@transaction.atomic
def store_values(identity: str, transaction_id: int, meter_value: list[dict]) -> None:
    charger = Charger.objects.get(identity=identity)
    charger.last_seen_at = datetime.now(UTC)
    charger.save()
    for element in meter_value:
        for sample in element["sampled_value"]:
            SampledValue.objects.create(
                charger=charger,
                transaction_id=transaction_id,
                at=datetime.fromisoformat(element["timestamp"]),
                measurand=sample["measurand"],
                phase=sample.get("phase", ""),
                unit=sample["unit"],
                context=sample["context"],
                location=sample["location"],
                value=sample["value"],
            )


class ChargerConsumer(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        self.connection = Connection(self)
        handler = Handler(self.scope["url_route"]["kwargs"]["identity"], self.connection)
        self.task = asyncio.create_task(handler.start())
        await self.accept("ocpp1.6")

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.connection.received.put(text_data)

    async def disconnect(self, code: int) -> None:
        self.task.cancel()


application = ProtocolTypeRouter(
    {"http": pages, "websocket": URLRouter([path("ocpp/<str:identity>", ChargerConsumer.as_asgi())])}
)
