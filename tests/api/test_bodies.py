"""Bodies and queries that nobody sends by mistake."""

from __future__ import annotations

import json

import pytest
from django.conf import settings

from tests.api.test_resources import Api, key_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def api(ours):
    return Api(key_of(ours), settings.ADMIN_HOST)


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


COMMAND = '{"station": "%s", "action": "DataTransfer", "payload": {"vendorId": %s}}'
STATION = '{"identity": %s, "location": "%s"}'


class TestBodies:
    """What nobody sends by mistake: answered in words, never a 500."""

    def refused(self, api, path: str, body: str | bytes, content_type: str = "application/json") -> dict:
        answer = api.client.generic("POST", f"/api/v1/{path}", body, content_type)
        assert answer.status_code == 400, answer.content
        assert answer.headers["Content-Type"] == "application/problem+json"
        return answer.json()

    @pytest.mark.parametrize(
        ("value", "why"),
        [
            (nested(30), "nested too deeply"),
            (nested(300), "nested too deeply"),
            (nested(200_000), "nested too deeply"),
            ('{"a":' * 5000 + "1" + "}" * 5000, "nested too deeply"),
            (r'"\ud800"', "cannot be kept"),
            (r'{"\udfff": 1}', "cannot be kept"),
            ("1e400", "cannot be kept"),
            ("9" * 40, "cannot be kept"),
            ("9" * 5000, "JSON"),
            ("NaN", "JSON"),
            (r'"\u0000"', "cannot be sent"),
            ("2147483648", "cannot be sent"),
        ],
    )
    def test_a_command(self, api, ours, value, why):
        told = self.refused(api, "commands/", COMMAND % (ours.station.public_id, value))
        assert why in json.dumps(told)

    @pytest.mark.parametrize("value", [nested(40), r'"A\u0000"', r'"A\udc00"', "1e999", "9" * 40, "{}", "[]", "null"])
    def test_a_text(self, api, ours, value):
        self.refused(api, "stations/", STATION % (value, ours.location.public_id))
        self.refused(api, "tokens/", '{"uid": "04AABB", "type": ' + value + "}")
        self.refused(api, f"tokens/{ours.token.public_id}/block/", '{"why": ' + value + "}")

    @pytest.mark.parametrize("body", [nested(200_000), "[]", "1", "null", '"x"', b"\xff\xfe", b"", "{", '{"a": 1}x'])
    def test_a_whole_body(self, api, body):
        self.refused(api, "commands/", body)

    def test_a_charset_that_is_no_text(self, api):
        self.refused(api, "commands/", "{}", "application/json; charset=hex")

    def test_one_that_is_too_large(self, api):
        answer = api.client.post("/api/v1/tokens/", '"' + "x" * 1024 * 1024 + '"', content_type="application/json")
        assert answer.status_code == 413
        assert answer.json()["title"] == "Too large"

    def test_words_of_other_alphabets_are_taken(self, api):
        assert api.post("tokens/", {"uid": "04AABB", "label": "Zoë 🚐"}).json()["label"] == "Zoë 🚐"
        raw = '{"uid": "04AABC", "label": "Zo\u00eb \\ud83d\\ude90"}'
        answer = api.client.post("/api/v1/tokens/", raw, content_type="application/json")
        assert answer.json()["label"] == "Zoë 🚐"

    @pytest.mark.parametrize("query", ["stations/?identity", "tokens/?uid", "commands/?action"])
    def test_a_filter(self, api, query):
        assert api.client.get(f"/api/v1/{query}=%00").status_code == 400
