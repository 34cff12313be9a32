"""How many examples hypothesis tries: a test that needs other than the usual hundred names its number, and the profile
lengthens it as it does the others (`make soak`: --hypothesis-profile=long)."""

from __future__ import annotations

from hypothesis import settings

USUAL = 100


def examples(count: int) -> int:
    """So many where the usual number is a hundred."""
    return count * settings().max_examples // USUAL
