"""The JSON schemas of OCPP 1.6, compiled. `format` is not enforced: a time is business data, read leniently."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

import jsonschema_rs

# OCPP-J 1.6 section 4.2.3, its spelling of "Occurence" included. What a code names first counts where a payload breaks
# several rules: its structure, then what must be there, then types, then values.
_CODES = (
    ("FormationViolation", frozenset({"additionalProperties"})),
    ("OccurenceConstraintViolation", frozenset({"required", "minItems", "maxItems"})),
    ("TypeConstraintViolation", frozenset({"type"})),
)
_OTHER = "PropertyConstraintViolation"


def violation(name: str, payload: Any) -> tuple[str, str] | None:
    """Error code and description of what is wrong with `payload`, or None. `name` is an action (`Reset`) for a request,
    with `Response` appended for its answer. Values are not repeated in the description."""
    if not isinstance(payload, dict):
        return "FormationViolation", "the payload is not an object"
    errors = [(error.kind.name, _place(error)) for error in validators()[name].iter_errors(payload)]
    if not errors:
        return None
    for code, kinds in _CODES:
        for kind, place in errors:
            if kind in kinds:
                return code, f"{place}: {kind}"
    kind, place = errors[0]
    return _OTHER, f"{place}: {kind}"


@cache
def validators() -> dict[str, Any]:
    """One compiled validator a schema (78), by name. Takes some milliseconds, once a process."""
    return {
        file.name.removesuffix(".json"): jsonschema_rs.validator_for(
            json.loads(file.read_text()), validate_formats=False
        )
        for file in (resources.files("ocpp.v16") / "schemas").iterdir()
        if file.name.endswith(".json")
    }


def _place(error: jsonschema_rs.ValidationError) -> str:
    return "/".join(str(part) for part in error.instance_path)[:100] or "payload"
