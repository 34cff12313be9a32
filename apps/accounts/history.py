"""What the audit trail calls what was done: `thing.done` in words; the name itself is for the small print."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.apps import apps
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

# Things that are no model, or that go by a shorter name. Of all others it is the model's.
THINGS: dict[str, Any] = {
    "api_key": _("API key"),
    "billing_run": _("billing run"),
    "command": _("command"),
    "hardware": _("hardware"),
    "import": _("import"),
    "operator_key": _("operator's key"),
    "station": _("charger"),
    "station_key": _("charger's key"),
    "user": _("person"),
}
DONE: dict[str, Any] = {
    "accept_as_is": _("accepted as it is"),
    "accepted": _("accepted"),
    "active": _("activated"),
    "added": _("added"),
    "adopted": _("adopted"),
    "archived": _("archived"),
    "assigned": _("assigned"),
    "attach_orphan_stop": _("ended by a late message"),
    "blocked": _("blocked"),
    "bridge_meters": _("old and new meter added up"),
    "cancelled": _("cancelled"),
    "changed": _("changed"),
    "checked": _("data checked"),
    "close_at_last_reading": _("ended at the last reading"),
    "contract_assigned": _("bound to a contract"),
    "contract_ended": _("contract ended"),
    "contract_withdrawn": _("contract withdrawn"),
    "correct_cdr": _("CDR corrected"),
    "created": _("created"),
    "credited": _("taken back"),
    "deleted": _("deleted"),
    "delivered_again": _("sent again"),
    "draft_discarded": _("draft thrown away"),
    "draft_saved": _("draft saved"),
    "drafted_again": _("drafted again"),
    "ended": _("ended"),
    "finalised": _("finalised"),
    "granted": _("granted"),
    "imported": _("changed by an import"),
    "issued": _("issued"),
    "lost": _("reported lost"),
    "made": _("sent"),
    "made_default": _("made the default"),
    "made_platform_owner": _("made owner of the platform"),
    "merge_duplicates": _("merged with another one"),
    "merged": _("merged into another one"),
    "ordered": _("ordered"),
    "placed": _("placed"),
    "published": _("published"),
    "renamed": _("renamed"),
    "requested": _("asked for"),
    "resent": _("sent again"),
    "restored": _("restored"),
    "retried": _("tried again"),
    "revoked": _("revoked"),
    "rotated": _("renewed"),
    "saved": _("saved"),
    "second_factor_removed": _("second factor removed"),
    "set_start_meter": _("meter at the start set"),
    "shift_times": _("times set right"),
    "shipped": _("sent"),
    "started": _("started"),
    "traced": _("heartbeats kept, or no longer"),
    "version_added": _("new terms"),
    "void_session": _("voided"),
}


def action_in_words(action: str, /) -> str:
    """`token.contract_ended` → "Card: contract ended". A name that is not known stays as it is."""
    thing, _dot, done = action.partition(".")
    named = THINGS.get(thing) or _model_names().get(thing)
    if named is None or done not in DONE:
        return action
    return f"{capfirst(str(named))}: {DONE[done]}"


def type_in_words(label: str, /) -> str:
    """`cards.token` → "Card". A label that is not known stays as it is."""
    named = _model_names().get(label.rpartition(".")[2])
    return label if named is None else capfirst(str(named))


@cache
def _model_names() -> dict[str, Any]:
    return {model._meta.model_name or "": model._meta.verbose_name for model in apps.get_models()}
