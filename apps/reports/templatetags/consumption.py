"""How reports show their sums."""

from __future__ import annotations

from collections.abc import Iterable

from django import template

from apps.core.templatetags.parts import UNKNOWN, money
from apps.reports.selectors import Amount

register = template.Library()


@register.filter
def amounts(some: Iterable[Amount]) -> str:
    """One amount a currency: "12,34 € + 5,00 CHF"."""
    return " + ".join(money(one.net, one.currency) for one in some) or UNKNOWN
