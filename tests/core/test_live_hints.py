"""A page's websocket carries hints of what it was shown, to who is signed in, from its own host."""

from __future__ import annotations

import json

import pytest
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import AnonymousUser

from apps.core import live
from apps.core.consumers import NOT_SIGNED_IN, NOT_YOURS, LiveConsumer

ORIGIN = [(b"host", b"fleet.amber.localhost:8000"), (b"origin", b"http://fleet.amber.localhost:8000")]


def open_socket(user, token, headers=ORIGIN):
    socket = WebsocketCommunicator(LiveConsumer.as_asgi(), f"/live/?token={token}", headers=headers)
    socket.scope["user"] = user
    return socket


async def closed_with(socket) -> int:
    await socket.connect()
    message = await socket.receive_output()
    await socket.disconnect()
    return message["code"]


def test_a_hint_reaches_the_pages_that_show_its_topic(ours):
    async def run():
        token = live.sign(["station.7"])
        socket = open_socket(ours.manager, token)
        connected, _ = await socket.connect()
        layer = get_channel_layer()
        await layer.group_send(live.group("station.8"), {"type": "live.hint", "topics": ["station.8"]})
        await layer.group_send(live.group("station.7"), {"type": "live.hint", "topics": ["station.7", "station.9"]})
        heard = json.loads(await socket.receive_from())
        quiet = await socket.receive_nothing()
        await socket.disconnect()
        return connected, heard, quiet

    assert async_to_sync(run)() == (True, {"topic": "station.7"}, True)


def test_who_is_not_signed_in_hears_nothing(db):
    socket = open_socket(AnonymousUser(), live.sign(["station.7"]))
    assert async_to_sync(closed_with)(socket) == NOT_SIGNED_IN


@pytest.mark.parametrize("token", ["", "station.7", live.sign(["station.7"])[:-2] + "xx"])
def test_a_topic_that_no_page_showed_is_refused(ours, token):
    assert async_to_sync(closed_with)(open_socket(ours.manager, token)) == NOT_YOURS


@pytest.mark.parametrize(
    "headers",
    [
        ORIGIN[:1],
        [ORIGIN[0], (b"origin", b"http://evil.example")],
        [ORIGIN[0], (b"origin", b"http://fleet.amber.localhost:8000.evil.example")],
        [ORIGIN[0], (b"origin", b"null")],
    ],
)
def test_another_site_s_page_is_refused(ours, headers):
    socket = open_socket(ours.manager, live.sign(["station.7"]), headers)
    assert async_to_sync(closed_with)(socket) == NOT_YOURS


def test_a_changed_topic_is_hinted_to_the_page(ours):
    async def run():
        socket = open_socket(ours.manager, live.sign(["operator.5"]))
        await socket.connect()
        live.touch_committed({"operator.5"})
        heard = json.loads(await socket.receive_from(timeout=3))
        await socket.disconnect()
        return heard

    assert async_to_sync(run)() == {"topic": "operator.5"}


def test_however_many_chargers_speak_their_hints_share_a_few_groups():
    groups = {live.group(f"station.{number}") for number in range(10_000)}
    assert len(groups) == live.SHARED_GROUPS
    assert live.group("gateway.a") != live.group("gateway.b")
