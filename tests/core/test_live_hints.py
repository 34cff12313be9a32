"""A page's websocket carries hints of what it was shown, to who is signed in, from its own host."""

from __future__ import annotations

import json
import time

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from channels.layers import get_channel_layer
from channels.sessions import CookieMiddleware
from channels.testing import WebsocketCommunicator
from django.core import signing
from django.test import Client

from apps.accounts.models import Membership
from apps.accounts.selectors import actor_of_socket
from apps.core import consumers, live
from apps.core.actor import Actor, Kind
from apps.core.consumers import NOT_SIGNED_IN, NOT_YOURS, LiveConsumer

ORIGIN = [(b"host", b"fleet.amber.localhost:8000"), (b"origin", b"http://fleet.amber.localhost:8000")]


@pytest.fixture(autouse=True)
def the_tests_own_connection(monkeypatch):
    """What the consumer reads, it reads in the test's transaction."""
    monkeypatch.setattr("channels.db.close_old_connections", lambda: None)


def cookies_of(user, host="fleet.amber.localhost:8000"):
    """The cookie header of a signed-in browser."""
    client = Client(headers={"host": host})
    client.force_login(user)
    return client, (b"cookie", f"sessionid={client.cookies['sessionid'].value}".encode())


def token_of(user, operator, *topics):
    return live.sign(list(topics) or ["station.7"], Actor(kind=Kind.SESSION, user=user, operator_id=operator.pk))


def open_socket(cookie, token, headers=ORIGIN):
    application = CookieMiddleware(LiveConsumer.as_asgi(actor_of=actor_of_socket))
    return WebsocketCommunicator(application, f"/live/?token={token}", headers=[*headers, cookie])


async def closed_with(socket) -> int:
    await socket.connect()
    message = await socket.receive_output()
    await socket.disconnect()
    return message["code"]


@pytest.fixture
def manager(ours):
    return cookies_of(ours.manager)[1]


def test_a_hint_reaches_the_pages_that_show_its_topic(ours, manager):
    async def run():
        socket = open_socket(manager, token_of(ours.manager, ours.operator))
        connected, _ = await socket.connect()
        assert await socket.receive_nothing()
        layer = get_channel_layer()
        await layer.group_send(live.group("station.8"), {"type": "live.hint", "topics": ["station.8"]})
        await layer.group_send(live.group("station.7"), {"type": "live.hint", "topics": ["station.7", "station.9"]})
        heard = json.loads(await socket.receive_from())
        quiet = await socket.receive_nothing()
        await socket.disconnect()
        return connected, heard, quiet

    assert async_to_sync(run)() == (True, {"topic": "station.7"}, True)


def test_who_is_not_signed_in_hears_nothing(ours):
    token = token_of(ours.manager, ours.operator)
    for cookie in ((b"cookie", b"a=b"), (b"cookie", b"sessionid=made-up"), (b"cookie", b"sessionid=" + b"x" * 5000)):
        assert async_to_sync(closed_with)(open_socket(cookie, token)) == NOT_SIGNED_IN


@pytest.mark.parametrize("token", ["", "station.7", "x" * 60_000])
def test_a_topic_that_no_page_showed_is_refused(ours, manager, token):
    assert async_to_sync(closed_with)(open_socket(manager, token)) == NOT_YOURS
    forged = token_of(ours.manager, ours.operator)[:-2] + "xx"
    assert async_to_sync(closed_with)(open_socket(manager, forged)) == NOT_YOURS


def test_another_persons_token_is_refused(ours, rival, manager):
    for token in (
        token_of(rival.manager, rival.operator),
        token_of(ours.driver, ours.operator),
        token_of(ours.manager, rival.operator),
    ):
        assert async_to_sync(closed_with)(open_socket(manager, token)) == NOT_YOURS


def test_a_token_opens_nothing_on_a_host_where_its_holder_is_nobody(ours, rival):
    host = rival.fleet_brand.host
    headers = [(b"host", host.encode()), (b"origin", f"http://{host}".encode())]
    cookie = cookies_of(ours.manager)[1]
    socket = open_socket(cookie, token_of(ours.manager, ours.operator), headers)
    assert async_to_sync(closed_with)(socket) == NOT_SIGNED_IN


def test_an_old_token_is_refused(ours, manager, monkeypatch):
    long_ago = time.time() - 90_000
    with monkeypatch.context() as past:
        past.setattr(signing.time, "time", lambda: long_ago)
        token = token_of(ours.manager, ours.operator)
    assert async_to_sync(closed_with)(open_socket(manager, token)) == NOT_YOURS


@pytest.mark.parametrize("what", ["signed out", "role ended"])
def test_an_open_socket_ends_with_the_session_and_with_the_role(ours, monkeypatch, what):
    monkeypatch.setattr(consumers, "LOOK_AGAIN_S", 0.1)
    client, cookie = cookies_of(ours.manager)

    def lose_it():
        if what == "signed out":
            client.logout()
        else:
            Membership.objects.unscoped("test").filter(user=ours.manager).delete()

    async def run():
        socket = open_socket(cookie, token_of(ours.manager, ours.operator))
        await socket.connect()
        assert await socket.receive_nothing(timeout=0.5)
        await sync_to_async(lose_it)()
        message = await socket.receive_output(timeout=3)
        await socket.disconnect()
        return message["code"]

    assert async_to_sync(run)() == NOT_SIGNED_IN


def test_of_ten_thousand_topics_a_page_hears_the_first_few(ours, manager):
    async def run():
        topics = [f"station.{number}" for number in range(10_000)]
        socket = open_socket(manager, token_of(ours.manager, ours.operator, *topics))
        await socket.connect()
        assert await socket.receive_nothing()
        await get_channel_layer().group_send(
            live.group("station.9999"), {"type": "live.hint", "topics": ["station.9999"]}
        )
        quiet = await socket.receive_nothing()
        await socket.disconnect()
        return quiet

    assert async_to_sync(run)()


@pytest.mark.parametrize(
    "headers",
    [
        ORIGIN[:1],
        [ORIGIN[0], (b"origin", b"http://evil.example")],
        [ORIGIN[0], (b"origin", b"http://fleet.amber.localhost:8000.evil.example")],
        [ORIGIN[0], (b"origin", b"null")],
    ],
)
def test_another_site_s_page_is_refused(ours, manager, headers):
    socket = open_socket(manager, token_of(ours.manager, ours.operator), headers)
    assert async_to_sync(closed_with)(socket) == NOT_YOURS


def test_a_changed_topic_is_hinted_to_the_page(ours, manager):
    async def run():
        socket = open_socket(manager, token_of(ours.manager, ours.operator, "operator.5"))
        await socket.connect()
        assert await socket.receive_nothing()
        live.touch_committed({"operator.5"})
        heard = json.loads(await socket.receive_from(timeout=3))
        await socket.disconnect()
        return heard

    assert async_to_sync(run)() == {"topic": "operator.5"}


def test_however_many_chargers_speak_their_hints_share_a_few_groups():
    groups = {live.group(f"station.{number}") for number in range(10_000)}
    assert len(groups) == live.SHARED_GROUPS
    assert live.group("gateway.a") != live.group("gateway.b")
