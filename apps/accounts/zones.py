"""Time zones by name, as people choose them."""

from __future__ import annotations

from functools import cache
from zoneinfo import available_timezones

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _


@cache
def known_zones() -> frozenset[str]:
    """Every name that a clock here knows. Looking at them once takes some milliseconds."""
    return frozenset(available_timezones())


def zone_choices() -> list[tuple[str, str]]:
    """IANA zones by name, without the aliases of their authors' own."""
    return [(name, name.replace("_", " ")) for name in sorted(known_zones()) if "/" in name or name == "UTC"]


def validate_time_zone(name: str) -> None:
    """Raises ValidationError for a name that no clock knows."""
    if name not in known_zones():
        raise ValidationError(_("There is no time zone of this name. Choose one, such as Europe/Berlin."))
