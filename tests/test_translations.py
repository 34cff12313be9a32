"""The compiled catalogues are committed; each says exactly what its source says."""

from __future__ import annotations

import re
from pathlib import Path

import polib
import pytest
from django.conf import settings

LOCALE = Path(settings.LOCALE_PATHS[0])
SOURCES = sorted(LOCALE.glob("*/LC_MESSAGES/*.po"))
_PLACE = re.compile(r"%\(\w+\)[sd]|%[sd]|\{\w*\}")


def meanings(entries: list[polib.POEntry]) -> dict[tuple[str | None, str], str | dict[int, str]]:
    """What each text (with its context) is translated to."""
    return {(entry.msgctxt, entry.msgid): entry.msgstr_plural or entry.msgstr for entry in entries}


def test_every_language_but_the_one_of_the_sources_has_a_catalogue():
    wanted = {code for code, _ in settings.LANGUAGES} - {settings.LANGUAGE_CODE}
    assert {path.parent.parent.name for path in SOURCES} == wanted


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.parent.parent.name)
def test_a_compiled_catalogue_says_what_its_source_says(source):
    compiled = meanings(polib.mofile(str(source.with_suffix(".mo"))))
    assert compiled == meanings(polib.pofile(str(source)).translated_entries())


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.parent.parent.name)
def test_no_translation_is_a_guess(source):
    assert [entry.msgid for entry in polib.pofile(str(source)).fuzzy_entries()] == []


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.parent.parent.name)
def test_a_translation_keeps_the_places_for_values(source):
    broken = []
    for entry in polib.pofile(str(source)).translated_entries():
        if "python-brace-format" in entry.flags or "python-format" in entry.flags:
            wanted = _places(entry.msgid_plural or entry.msgid)
            given = [entry.msgstr] if entry.msgstr else list(entry.msgstr_plural.values())
            broken += [entry.msgid for text in given if not _places(text) <= wanted]
    assert broken == []


def _places(text: str) -> set[str]:
    return set(_PLACE.findall(text))
