"""Who may connect, on both servers: the handshake table of docs/ocpp.md, refusals as they are kept, keys."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import itertools
import json

import pytest
from django.core import serializers
from django.utils import timezone
from websockets.exceptions import ConnectionClosed, InvalidStatus

from apps.charging.models import ReviewItem
from apps.installations.models import ConnectionInterval, StationState
from apps.ocpp import keys, selectors
from apps.ocpp.models import HandshakeRefusal, StationKey, StrangerRefusal
from tests.factories.installations import StationFactory
from tests.ocpp import live
from tests.ocpp.test_answer_table import table

ROWS = dict(table("Connecting"))
ELSEWHERE = {"the server is being restarted, or has no database"}  # test_g17_sigterm_ends_a_server_in_order
_numbers = itertools.count(1)

# Row of the table → what to change of a right handshake to a station of identity `{0}`.
TRIES = {
    "right": {},
    "no password": {"headers": {}},
    "wrong password": {"password": "0" * 40},
    "a password that is not Basic authentication": {"headers": {"Authorization": "Bearer abc"}},
    "the user name of another charger": {"user": "SOMEBODY-ELSE"},
    "unknown charger": {"path": f"/ocpp/{live.URL_KEY}/{{0}}-X", "user": "{0}-X"},
    "archived charger": {"archived": True},
    "unknown operator key": {"path": "/ocpp/guessed/{0}"},
    "an operator key that has run out": {"path": "/ocpp/oldkey/{0}"},
    "an identity that is too long": {"path": f"/ocpp/{live.URL_KEY}/{{0}}{'x' * 48}"},
    "an identity with a slash": {"path": f"/ocpp/{live.URL_KEY}/{{0}}%2Fx"},
    "an identity with a colon": {"path": f"/ocpp/{live.URL_KEY}/{{0}}:x"},
    "an identity with a control character": {"path": f"/ocpp/{live.URL_KEY}/{{0}}%07"},
    "an identity that is percent-encoded twice": {"path": f"/ocpp/{live.URL_KEY}/{{0}}%252A", "user": "{0}%2A"},
    "no OCPP version in common": {"subprotocols": ["ocpp2.1"]},
}


@pytest.fixture
def identity(tenant) -> str:
    return f"HAND-{next(_numbers)}"


@pytest.fixture(scope="session")
def old_key(live_tenant, database_copy, django_db_blocker):
    with django_db_blocker.unblock(), live.working_on(database_copy):
        live.add_url_key(live_tenant, "oldkey", valid_until=timezone.now() - dt.timedelta(minutes=1))


def refused(server: live.Server, identity: str, **options) -> InvalidStatus:
    with pytest.raises(InvalidStatus) as refusal, live.connected(server, identity, **options):
        pass
    return refusal.value


def presence(station) -> StationState:
    return StationState.objects.unscoped("test").get(station=station)


def refusal_of(tenant, identity: str) -> selectors.RefusalRow:
    def find():
        return HandshakeRefusal.objects.unscoped("test").filter(operator=tenant.operator, identity=identity).first()

    return selectors.describe_refusals([live.wait_for(find)])[0]


def test_each_row_of_the_table_is_tried():
    assert set(TRIES) | ELSEWHERE == set(ROWS)


@pytest.mark.parametrize("row", [row for row in TRIES if ROWS[row][0] == "4"])
def test_a_wrong_handshake_is_refused_as_the_table_says(server, tenant, identity, row, old_key):
    options = dict(TRIES[row])
    archived_at = timezone.now() if options.pop("archived", False) else None
    station = live.add_station(tenant, identity=identity, archived_at=archived_at)
    live.add_station(tenant, identity=f"{identity}*")  # what a twice encoded identity must not reach
    for name in ("path", "user"):
        if name in options:
            options[name] = options[name].format(identity)
    response = refused(server, identity, **options).response
    assert response.status_code == int(ROWS[row][:3])
    assert ("WWW-Authenticate" in response.headers) == ("WWW-Authenticate" in ROWS[row])
    assert response.body, "the charger's log should say why"
    assert presence(station).generation == 0


def test_a_right_handshake_is_accepted(server, tenant, identity):
    station = live.add_station(tenant, identity=identity)
    with live.connected(server, identity, compression="deflate") as charger:
        assert charger.websocket.subprotocol == "ocpp1.6"
        assert charger.websocket.response.headers.get("Sec-WebSocket-Extensions") is None
        state = presence(station)
        assert (state.generation, state.online) == (1, True)
        assert state.gateway
        assert charger.call("Heartbeat")[0] == 3


@pytest.mark.parametrize(
    "password",
    [live.SECRET, live.SECRET.upper(), bytes.fromhex(live.SECRET)],
    ids=["digits", "upper-case digits", "bytes"],
)
def test_the_key_is_taken_as_digits_and_as_bytes(server, tenant, identity, password):
    live.add_station(tenant, identity=identity, secret=live.SECRET)
    with live.connected(server, identity, password=password) as charger:
        assert charger.call("Heartbeat")[0] == 3


def test_a_password_of_odd_bytes_is_compared_byte_by_byte(server, tenant, identity):
    secret = bytes([0, 255, 58, 10, 195, 40, 128, 58] * 2 + [1, 2, 3, 4])
    live.add_station(tenant, identity=identity, secret=secret.hex())
    with live.connected(server, identity, password=secret) as charger:
        assert charger.call("Heartbeat")[0] == 3
    assert refused(server, identity, password=secret[:-1] + b"\5").response.status_code == 401


def test_a_typed_key_is_taken(server, tenant, identity):
    live.add_station(tenant, identity=identity, secret="open sesame, please!")
    with live.connected(server, identity, password="open sesame, please!") as charger:
        assert charger.call("Heartbeat")[0] == 3
    assert refused(server, identity, password="Open sesame, please!").response.status_code == 401


def test_case_does_not_matter_in_identity_and_user_name(server, tenant, identity):
    station = live.add_station(tenant, identity=identity)
    with live.connected(server, identity.lower(), user=identity.title()):
        assert presence(station).online


def test_the_identity_is_percent_decoded_once(server, tenant, identity):
    station = live.add_station(tenant, identity=f"{identity}*A=1")
    with live.connected(server, "", path=f"/ocpp/{live.URL_KEY}/{identity}%2aA%3D1", user=f"{identity}*A=1"):
        assert presence(station).online


def test_any_host_and_any_origin_will_do(server, tenant, identity):
    live.add_station(tenant, identity=identity)
    with live.connected(server, identity, host="charge.example.net", origin="https://evil.example") as charger:
        assert charger.call("Heartbeat")[0] == 3


def test_an_identity_is_an_operators_own(server, tenant, identity, rival_of_all):
    ours, theirs = live.add_station(tenant, identity=identity), live.add_station(rival_of_all, identity=identity)
    with live.connected(server, identity):
        assert presence(ours).online
        assert not presence(theirs).online


def test_without_a_common_protocol_it_is_accepted_and_closed(server, tenant, identity):
    station = live.add_station(tenant, identity=identity)
    for offered in (["ocpp2.1"], ["ocpp2.0.1", "soap"], None):
        with live.connected(server, identity, subprotocols=offered) as charger:
            assert charger.websocket.subprotocol is None
            with pytest.raises(ConnectionClosed) as closed:
                charger.websocket.recv(timeout=live.PATIENCE_S)
            assert closed.value.rcvd.code == 1002
    assert presence(station).generation == 0
    assert refusal_of(tenant, identity).code == "no_protocol"


def test_the_first_of_several_offered_protocols_that_fits_is_taken(server, tenant, identity):
    live.add_station(tenant, identity=identity)
    with live.connected(server, identity, subprotocols=["ocpp2.0.1", "ocpp1.6"]) as charger:
        assert charger.websocket.subprotocol == "ocpp1.6"


def test_an_older_key_is_good_until_it_runs_out(server, tenant, identity):
    station = live.add_station(tenant, identity=identity, secret="a" * 40)
    older = StationKey.objects.unscoped("test").get(station=station)
    live.add_key(station, "b" * 40)
    for secret in ("a" * 40, "b" * 40):
        with live.connected(server, identity, password=secret):
            assert presence(station).online
    older.valid_until = timezone.now()
    older.save()
    assert refused(server, identity, password="a" * 40).response.status_code == 401
    assert StationKey.objects.unscoped("test").exclude(pk=older.pk).get(station=station).last_used_at is not None


def test_a_charger_without_a_key_is_told_so(server, tenant, identity):
    StationFactory(operator=tenant.operator, location=tenant.location, identity=identity)
    assert refused(server, identity).response.status_code == 401
    assert refusal_of(tenant, identity).code == "no_key"


def test_a_refusal_is_kept_once_with_reason_remedy_and_count_and_without_password(server, tenant, identity):
    station = live.add_station(tenant, identity=identity)
    wrong = "feedfacefeedfacefeedfacefeedfacefeedface"
    for _ in range(3):
        refused(server, identity, password=wrong)
    live.wait_for(lambda: refusal_of(tenant, identity).count == 3)
    row = refusal_of(tenant, identity)
    assert (row.code, row.station_id, row.address) == ("wrong_password", station.pk, "127.0.0.1")
    assert row.reason == "The password is wrong."
    assert "Issue a new key" in row.remedy
    assert not row.adoptable
    kept = serializers.serialize("json", HandshakeRefusal.objects.unscoped("test"))
    for spelling in (wrong, bytes.fromhex(wrong).decode("latin-1"), base64.b64encode(wrong.encode()).decode()):
        assert spelling not in kept


def test_a_refusal_of_an_unknown_charger_can_be_adopted_and_tells_the_address_behind_a_proxy(server, tenant, identity):
    headers = live.basic(identity, live.SECRET) | {"X-Forwarded-For": "203.0.113.9, 198.51.100.7", "User-Agent": "E/1"}
    refused(server, identity, headers=headers)
    row = refusal_of(tenant, identity)
    assert (row.code, row.adoptable, row.address) == ("unknown_station", True, "198.51.100.7")
    assert row.user_agent == "E/1"


def test_a_stranger_without_an_operator_is_kept_for_the_platform_alone(server, tenant, identity):
    refused(server, identity, path=f"/ocpp/nobodys/{identity}")
    stranger = live.wait_for(lambda: StrangerRefusal.objects.filter(identity=identity).first())
    assert (stranger.key, stranger.count) == ("nobodys", 1)
    assert not HandshakeRefusal.objects.unscoped("test").filter(identity=identity).exists()


def test_hostile_identities_are_kept_as_harmless_text(server, tenant, identity):
    refused(server, "", path=f"/ocpp/{live.URL_KEY}/{identity}%00%0a%ff%e2%80%ae", user="x")
    kept = live.wait_for(lambda: HandshakeRefusal.objects.unscoped("t").filter(identity__startswith=identity).first())
    assert kept.identity == identity + "�" * 4
    assert kept.reason == "bad_identity"


@pytest.mark.parametrize("path", ["/ocpp", "/ocpp/", "/ocpp/a", "/ocpp/a/", "/ocpp//b", "/ocpp/a/b/c", "/elsewhere"])
def test_other_paths_are_404(server, tenant, path):
    with contextlib.suppress(InvalidStatus), live.connected(server, "x", path=path):
        pytest.fail("accepted")
    assert refused(server, "x", path=path).response.status_code == 404


def test_a_browser_on_a_chargers_url_is_told_what_it_is(server, tenant):
    assert server.get(f"/ocpp/{live.URL_KEY}/x") == (426, "Chargers connect here, by websocket.")


def test_a_connection_has_its_history(server, tenant, identity):
    station = live.add_station(tenant, identity=identity)
    with live.connected(server, identity):
        interval = ConnectionInterval.objects.unscoped("test").get(station=station)
        assert (interval.generation, interval.ended_at, interval.protocol) == (1, None, "ocpp1.6")
        assert interval.address == "127.0.0.1"
    live.wait_for(lambda: not presence(station).online)
    interval.refresh_from_db()
    assert (interval.reason, interval.close_code) == ("closed", 1000)
    assert interval.ended_at >= interval.started_at
    with live.connected(server, identity) as charger:
        charger.websocket.socket.close()
    live.wait_for(lambda: not presence(station).online)
    assert ConnectionInterval.objects.unscoped("test").get(station=station, generation=2).reason == "lost"


def test_the_clock_offset_is_unknown_at_each_new_connection(server, tenant, identity):
    station = live.add_station(tenant, identity=identity)
    StationState.objects.unscoped("test").filter(station=station).update(clock_offset_s=400.0)
    with live.connected(server, identity) as charger:
        assert presence(station).clock_offset_s is None
        start = {"connectorId": 1, "idTag": tenant.token.uid, "meterStart": 5, "timestamp": "2026-11-21T10:00:00Z"}
        assert charger.call("StartTransaction", start)[0] == 3
    assert not ReviewItem.objects.unscoped("test").filter(station=station, code="clock_offset").exists()
    assert presence(station).clock_offset_s is None


def test_keys_are_sealed_with_a_salt_each_and_open_under_older_peppers(settings):
    one, two = keys.seal(live.SECRET), keys.seal(live.SECRET)
    assert one.digest != two.digest
    settings.STATION_KEY_PEPPERS = {"2": "ab" * 32, **settings.STATION_KEY_PEPPERS}
    assert keys.matches(live.SECRET.encode(), one)
    assert keys.seal(live.SECRET).pepper_version == 2
    settings.STATION_KEY_PEPPERS = {"2": "ab" * 32}
    assert not keys.matches(live.SECRET.encode(), one)


@pytest.mark.parametrize(
    "secret", ["short", "a" * 30, "ff" * 15, "x" * 129, "pässword of many signs", "tab\tin the middle of it"]
)
def test_weak_keys_are_refused(secret):
    with pytest.raises(keys.WeakSecret):
        keys.seal(secret)


def test_a_random_key_is_40_hex_digits():
    secret = keys.new_secret()
    assert len(bytes.fromhex(secret)) == 20
    assert json.dumps(secret) == f'"{secret.lower()}"'
