"""The conventions of the design, where a machine can check them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
from django.apps import apps
from django.db.migrations.loader import MigrationLoader

from apps.core.models import TenantModel
from tests.run import FUZZED

ROOT = Path(__file__).resolve().parent.parent
OUR_APPS = [config.label for config in apps.get_app_configs() if config.name.startswith("apps.")]
TENANT_MODELS = [model for model in apps.get_models() if issubclass(model, TenantModel)]
MAX_LINES = 500
# The design's same file names, and what Django names.
HOUSE_NAMES = {
    *("models", "querysets", "services", "selectors", "events", "admin", "forms", "tables", "filters", "views", "urls"),
    *("tasks", "checks", "apps", "management", "migrations", "templatetags", "__init__"),
}
FORBIDDEN_NAMES = {"utils", "helpers", "managers", "signals", "constants"}


def tracked(*patterns: str) -> list[Path]:
    """Files of the repository, new ones included, ignored ones not."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file()]


def modules() -> list[Path]:
    return [path for path in tracked("apps/*.py", "config/*.py") if "migrations" not in path.parts]


def lines_matching(pattern: str, paths: Iterable[Path]) -> Iterator[str]:
    """`file:line: text` of each line that `pattern` finds."""
    search = re.compile(pattern).search
    for path in paths:
        text = path.read_text(encoding="utf-8", errors="ignore")
        for number, line in enumerate(text.splitlines(), 1):
            if search(line):
                yield f"{path.relative_to(ROOT)}:{number}: {line.strip()}"


def test_no_module_is_longer_than_a_reader_can_hold():
    read = [*modules(), *tracked("tests/*.py", "benchmarks/*.py")]
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in read}
    assert lengths
    assert {str(path): length for path, length in lengths.items() if length > MAX_LINES} == {}


def test_no_module_has_a_name_that_says_nothing():
    assert [str(path) for path in tracked("*.py") if path.stem in FORBIDDEN_NAMES] == []


def parts_of(label: str) -> set[str]:
    """The modules and packages of an app, without what is inside of packages."""
    return {
        path.relative_to(ROOT / "apps" / label).parts[0].removesuffix(".py") for path in tracked(f"apps/{label}/*.py")
    }


@pytest.mark.parametrize("label", OUR_APPS)
def test_a_module_of_another_name_is_explained_where_its_app_is(label):
    told = re.findall(r"`(\w+)`", import_module(f"apps.{label}").__doc__)
    assert sorted(parts_of(label) - HOUSE_NAMES - set(told)) == []


def test_the_core_holds_what_three_apps_use():
    """Or the project itself: in its settings and its routing."""
    everywhere = {path: path.read_text() for path in tracked("apps/*.py", "config/*.py")}
    users = {
        name: {
            path.relative_to(ROOT).parts[1] if path.is_relative_to(ROOT / "apps") else "config"
            for path, text in everywhere.items()
            if re.search(rf"\bapps\.core\.{name}\b|from apps\.core import (?:\w+, )*{name}\b", text)
        }
        - {"core"}
        for name in parts_of("core") - HOUSE_NAMES
    }
    assert {name: by for name, by in users.items() if len(by) < 3 and "config" not in by} == {}


def test_reads_go_through_a_scope():
    outside_core = [path for path in modules() if "core" not in path.parts]
    named = lines_matching(
        r"(?<!permissions)[.\"']everything\b|\beverything = |_default_manager\b|_base_manager\b", outside_core
    )
    declared = re.compile(r': (everything = models\.Manager\(\)|default_manager_name = "everything")$')
    assert [line for line in named if not declared.search(line)] == []


def test_row_locks_leave_foreign_keys_to_others():
    assert [line for line in lines_matching(r"select_for_update\(", modules()) if "no_key=True" not in line] == []


def test_nothing_is_left_for_later():
    later = r"\bTODO\b|\bFIXME\b|\bXXX\b|mark\.(skip|skipif|xfail)\b|pytest\.(skip|xfail|importorskip)\("
    elsewhere = [path for path in tracked("*.py", "*.html", "*.js", "*.css") if path != Path(__file__)]
    assert list(lines_matching(later, elsewhere)) == []


def test_each_fuzz_is_lengthened_by_soak():
    fuzzed = {line.partition(":")[0] for line in lines_matching(r"^ *@given\(", tracked("tests/*.py"))}
    assert fuzzed == set(FUZZED)
    assert list(lines_matching(r"max_examples=\d", tracked("tests/*/*.py"))) == [], "see tests.fuzz"


def test_no_file_knows_a_machine():
    assert list(lines_matching(r"(?<![\w.])/(?:work|root|home/\w+)/", tracked())) == []


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_names_packages_and_hashes_only(lock):
    text = (ROOT / lock).read_text()
    assert "--hash=sha256:" in text
    assert re.findall(r"--(?:extra-)?index-url|--find-links|https?://|file:", text) == []


@pytest.mark.parametrize("label", OUR_APPS)
def test_migrations_are_linear_named_and_reversible(label):
    loader = MigrationLoader(None)
    ours = {key: migration for key, migration in loader.disk_migrations.items() if key[0] == label}
    parents = {key: [one for one in each.dependencies if one[0] == label] for key, each in ours.items()}
    assert [key for key, inside in parents.items() if len(inside) > 1] == []
    assert len([key for key, inside in parents.items() if not inside]) == (1 if ours else 0)
    assert len(loader.graph.leaf_nodes(label)) == (1 if ours else 0)
    assert [name for _, name in ours if "_auto_" in name] == []
    assert [(key, step) for key, each in ours.items() for step in each.operations if not step.reversible] == []


@pytest.mark.parametrize("model", TENANT_MODELS, ids=lambda model: model._meta.label)
def test_a_tenant_row_names_its_operator(model):
    """That it is its parents' too is looked up where every table is filled: tests.test_rival_walk."""
    assert not model._meta.get_field("operator").null


def test_every_variable_of_the_environment_is_documented():
    used = set(re.findall(r'\benv\.\w+\(\s*"(\w+)"', (ROOT / "config" / "settings.py").read_text()))
    documented = set(re.findall(r"`([A-Z_]+)`", (ROOT / "docs" / "production.md").read_text()))
    assert used
    assert used - documented == set()
