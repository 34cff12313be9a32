"""Portal and mails are complete in every language."""

from __future__ import annotations

import re
from pathlib import Path

import polib
import pytest
from django.conf import settings
from django.utils import translation

from apps.accounts.permissions import ORGANISATION_ROLES, Role
from apps.cards.models import TokenState
from apps.charging.models import HoldReason, SessionState, SettlementState
from apps.installations.models import Connector, ConnectorStatus
from apps.tariffs.elements import Dimension

ROOT = Path(settings.BASE_DIR)
FACES = ["base.html", "403_csrf.html", "429.html", "account", "allauth", "mail", "parts", "portal", "reports"]
MODULES = [
    *sorted((ROOT / "apps/portal").rglob("*.py")),
    *sorted((ROOT / "apps/reports").rglob("*.py")),
    *(ROOT / f"apps/accounts/{name}.py" for name in ("adapters", "forms", "logos", "services", "views")),
    ROOT / "apps/core/templatetags/parts.py",
    ROOT / "apps/cards/selectors.py",
    ROOT / "apps/charging/curve.py",
    ROOT / "apps/charging/prices.py",
    ROOT / "apps/charging/templatetags/prices.py",
]
# What a page shows of a row's choices.
CHOICES = [
    Connector.Standard.labels,
    ConnectorStatus.labels,
    Dimension.labels,
    HoldReason.labels,
    [role.label for role in Role if role in ORGANISATION_ROLES],
    SessionState.labels,
    SettlementState.labels,
    TokenState.labels,
]
IN_TEMPLATE = re.compile(r"""{% translate (?P<quote>["'])(.+?)(?P=quote)""")
IN_BLOCK = re.compile(r"{% blocktranslate[^%]*%}(.+?)(?:{% plural %}|{% endblocktranslate %})", re.DOTALL)
IN_MODULE = re.compile(r'\b(?:_|gettext|gettext_lazy|ngettext)\(\s*"((?:[^"\\]|\\.)+)"')
CATALOGUES = sorted(Path(settings.LOCALE_PATHS[0]).glob("*/LC_MESSAGES/django.po"))


def texts_of_the_faces() -> set[str]:
    """What portal and mails say, as it stands in their sources."""
    said: set[str] = set()
    for name in FACES:
        path = ROOT / "templates" / name
        for file in [path] if path.is_file() else (one for one in path.rglob("*") if one.is_file()):
            text = file.read_text()
            said |= {found[1] for found in IN_TEMPLATE.findall(text)}
            said |= {re.sub(r"{{ (\w+) }}", r"%(\1)s", block).strip() for block in IN_BLOCK.findall(text)}
    for module in MODULES:
        said |= set(IN_MODULE.findall(module.read_text()))
    with translation.override(settings.LANGUAGE_CODE):
        return said | {str(label) for labels in CHOICES for label in labels}


@pytest.mark.parametrize("catalogue", CATALOGUES, ids=lambda path: path.parent.parent.name)
def test_portal_and_mails_say_everything_in_the_language(catalogue):
    known = {entry.msgid for entry in polib.pofile(str(catalogue)).translated_entries()}
    said = texts_of_the_faces()
    assert len(said) > 100
    assert said - known == set()
