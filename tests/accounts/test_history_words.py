"""What the audit trail calls things: every name that code writes has words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib import admin
from django.utils import timezone

from apps.accounts.history import DONE, action_in_words, type_in_words
from apps.accounts.models import AuditEntry
from apps.cards.models import TokenState
from apps.charging.services import REPAIRS

SOURCES = {path: path.read_text() for path in Path(settings.BASE_DIR, "apps").rglob("*.py")}
WRITTEN = sorted(
    {name for text in SOURCES.values() for name in re.findall(r'\baction=\s*"([a-z_]+\.[a-z_]+)"', text)}
    | {"token.contract_withdrawn", "user.second_factor_removed", "task.retried"}
)


@pytest.mark.parametrize("action", WRITTEN)
def test_each_action_has_words(action):
    assert len(WRITTEN) > 50
    assert action_in_words(action) != action


def test_what_is_named_by_its_state_or_its_repair_has_words():
    states = {f"token.{state}" for state in TokenState.values}
    repairs = {f"session.{repair.name}" for offered in REPAIRS.values() for repair in offered}
    verbs = ("added", "changed", "deleted", "archived", "restored", "imported")
    edited = {f"{model._meta.model_name}.{verb}" for model in admin.site._registry for verb in verbs}
    assert [one for one in states | repairs | edited if action_in_words(one) == one] == []


def test_what_nobody_knows_stays_as_it_is():
    assert action_in_words("token.teleported") == "token.teleported"
    assert action_in_words("unicorn.changed") == "unicorn.changed"
    assert action_in_words("token.contract_ended") == "Card: contract ended"
    assert type_in_words("cards.token") == "Card"
    assert type_in_words("zoo.unicorn") == "zoo.unicorn"
    assert all(done == done.lower() for done in DONE)


@pytest.mark.django_db
def test_words_come_first_and_the_name_in_small_print(ours, client, settings):
    entry = AuditEntry.objects.create(
        at=timezone.now(),
        operator=ours.operator,
        actor="somebody",
        action="token.contract_ended",
        object_type="cards.token",
        object_id=str(ours.token.pk),
        object_name=str(ours.token),
    )
    client.force_login(ours.owner)
    paths = (
        "/accounts/auditentry/",
        f"/accounts/auditentry/{entry.pk}/change/",
        f"/cards/token/{ours.token.pk}/history/",
    )
    for path in paths:
        page = client.get(path, headers={"host": settings.ADMIN_HOST}).content.decode()
        assert "Card: contract ended<br><small>token.contract_ended</small>" in page


@pytest.mark.django_db
def test_the_trail_is_filtered_by_what_was_done_and_to_what_in_words(ours, rival, client, settings):
    def note(target, action, name):
        AuditEntry.objects.create(
            at=timezone.now(),
            operator=target.operator,
            actor="somebody",
            action=action,
            object_type=target._meta.label_lower,
            object_id=str(target.pk),
            object_name=name,
        )

    note(ours.token, "token.contract_ended", "our card")
    note(ours.station, "station.adopted", "our charger")
    note(rival.token, "token.teleported", "their card")
    client.force_login(ours.owner)

    def trail(**chosen):
        return client.get("/accounts/auditentry/", chosen, headers={"host": settings.ADMIN_HOST}).content.decode()

    page = trail()
    assert "Charger: adopted</option>" in page
    assert ">Charger</option>" in page
    assert "token.teleported" not in page
    for chosen in ({"what": "token.contract_ended"}, {"thing": "cards.token"}):
        page = trail(**chosen)
        assert "our card" in page
        assert "our charger" not in page
        assert "their card" not in page
