"""`make test`: everything that proves the project, step by step.

    tests/run.py            all steps
    tests/run.py lint       a group or single steps by name

A step is a line of `STEPS`. Its output goes to var/test-results/<step>.log; the end of it is shown if the step fails.
What the steps need (PostgreSQL, Redis, Chromium, Node) is found or, on Debian as root, installed and started; missing
is failed. Databases are made anew and dropped; in Redis the databases 13 to 15 are emptied.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.databases import WORKERS, Databases  # noqa: E402 - a script finds its neighbours only now
from tests.services import Services, Unavailable  # noqa: E402 - a script finds its neighbours only now

BIN = Path(sys.executable).parent
RESULTS = ROOT / "var" / "test-results"
TAIL_LINES = 60

PYTHON = str(BIN / "python")
MANAGE = (PYTHON, "manage.py")
# Without the cache, and on databases that are there already (tests/databases.py).
OPTIONS = "addopts=--reuse-db -ra --strict-markers --strict-config -p no:cacheprovider"
PYTEST = (str(BIN / "pytest"), "-q", "-o", OPTIONS)
# A worker keeps to its part, whose files share what takes long to make; one that is done takes over from others.
PARALLEL = ("-n", str(WORKERS), "--dist", "worksteal")
BY_FILE = ("-n", str(WORKERS), "--dist", "loadfile")
STARTS = "tests/e2e/test_make_run.py"  # it measures seconds, so it is alone
ON_FAILURE = ("--screenshot", "only-on-failure", "--output", str(RESULTS / "failed-pages"))

PRODUCTION = {
    "MODE": "production",
    "SECRET_KEY": "check-only-0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQ",
    "STATION_KEY_PEPPERS": "1:" + "5a" * 32,
    "DATABASE_URL": "postgres://nobody@127.0.0.1/nowhere",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "ADMIN_HOST": "admin.example.org",
    "EMAIL_URL": "smtp+tls://mail.example.org:587",
}


SOAK = "soak"  # run by name alone
TOGETHER = ("lint", "kill")  # groups whose steps leave half of two cores idle
LONG = {"KILLS": "3", "STORM": "5000", "AWAY_S": "60"}
KILLED = ("tests/kill/test_kill.py", "tests/kill/test_storm.py")
LOST = "tests/kill/test_database_lost.py"  # it waits rather than computes
FUZZED = (
    "tests/accounts/test_brands.py",
    "tests/cards/test_uid.py",
    "tests/charging/test_idempotence.py",
    "tests/charging/test_meter.py",
    "tests/charging/test_stored_as_decided.py",
    "tests/core/test_bulk.py",
    "tests/core/test_csv.py",
    "tests/installations/test_hours.py",
    "tests/ocpp/test_clock.py",
    "tests/ocpp/test_frames.py",
    "tests/ocpp/test_g18_answers.py",
    "tests/ocpp/test_no_poison.py",
    "tests/ocpp/test_v16_hot.py",
    "tests/ocpp/test_wire.py",
    "tests/tariffs/test_rating_properties.py",
)


@dataclass(frozen=True)
class Step:
    """One command. `needs` are services; each adds what it knows to the environment."""

    name: str
    command: Sequence[str]
    group: str = "suite"
    env: Mapping[str, str] = field(default_factory=dict)
    needs: Sequence[str] = ()
    limit_s: int = 900

    @property
    def is_pytest(self) -> bool:
        return self.command[0] == PYTEST[0]


STEPS = (
    Step("style", (str(BIN / "ruff"), "check", "."), "lint"),
    Step("format", (str(BIN / "ruff"), "format", "--check", "."), "lint"),
    Step("types", (str(BIN / "mypy"),), "lint"),
    Step("imports", (str(BIN / "lint-imports"),), "lint"),
    Step("migrations", (*MANAGE, "makemigrations", "--check", "--dry-run"), "lint"),
    Step("deploy", (*MANAGE, "check", "--deploy", "--fail-level", "WARNING"), "lint", env=PRODUCTION),
    Step("sqlite", (*PYTEST, *PARALLEL, "tests"), needs=("node", "pdf")),
    Step("postgres", (*PYTEST, *PARALLEL, "--only-with-database", "tests"), needs=("postgres", "redis", "node", "pdf")),
    Step(
        "browser",
        (*PYTEST, *BY_FILE, *ON_FAILURE, "tests/e2e", f"--ignore={STARTS}"),
        needs=("chromium", "pdf"),
    ),
    Step("start", (*PYTEST, STARTS)),
    Step("kill-sqlite", (*PYTEST, *KILLED), "kill"),
    Step("kill-postgres", (*PYTEST, *KILLED), "kill", needs=("postgres", "redis")),
    Step("kill-database", (*PYTEST, LOST), "kill", needs=("postgres", "redis")),
    Step("soak-sqlite", (*PYTEST, *KILLED), SOAK, env=LONG, limit_s=1800),
    Step("soak-fuzz", (*PYTEST, *PARALLEL, "--hypothesis-profile=long", *FUZZED), SOAK, limit_s=3600),
    Step("soak-postgres", (*PYTEST, *KILLED), SOAK, env=LONG, needs=("postgres", "redis"), limit_s=1800),
    Step("soak-database", (*PYTEST, LOST), SOAK, env=LONG, needs=("postgres", "redis"), limit_s=1800),
)


@dataclass
class Tally:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def add(self, other: Tally) -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped


def main(wanted: Sequence[str]) -> int:
    steps = [step for step in STEPS if {step.name, step.group} & set(wanted) or (not wanted and step.group != SOAK)]
    if not steps:
        print(f"No such step. There are: {', '.join(step.name for step in STEPS)}", file=sys.stderr)
        return 2
    RESULTS.mkdir(parents=True, exist_ok=True)
    tally, began = Tally(), time.monotonic()
    with Services(RESULTS) as services, Databases(f"test_voltdesk_{os.getpid()}") as databases:
        for _together, some in groupby(steps, key=lambda step: step.group if step.group in TOGETHER else step.name):
            for one in run_together([*some], steps, services, databases):
                tally.add(one)
    print(f"{time.monotonic() - began:.0f} s")
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped", flush=True)
    return 1 if tally.failed or tally.skipped else 0


def run_together(
    steps: Sequence[Step], every: Sequence[Step], services: Services, databases: Databases
) -> Iterator[Tally]:
    """Run steps at the same time; print one line for each, and the end of its log if it failed.

    While they run, what any other needs is found, and its tables are made.
    """
    began = time.monotonic()
    prepared = [(step, prepare(step, services, databases)) for step in steps]
    with contextlib.ExitStack() as ending:
        running = [
            (step, env if isinstance(env, str) else ending.enter_context(begun(step, env))) for step, env in prepared
        ]
        for step in filter(lambda step: step.is_pytest, every):
            with contextlib.suppress(Unavailable):  # it says so when its turn comes
                databases.begin(environment(step, services))
        for step, process in running:
            print(f"{step.name:14}", end="", flush=True)
            tally = Tally(failed=1) if isinstance(process, str) else tally_of(step, process)
            verdict = "failed" if tally.failed or tally.skipped else "ok"
            reason = process if isinstance(process, str) else f"{tally.passed} passed"
            print(f"{verdict:7}{time.monotonic() - began:6.1f} s  {reason}", flush=True)
            if verdict == "failed" and log_of(step).exists():
                print(f"--- end of {log_of(step).relative_to(ROOT)}")
                print("\n".join(log_of(step).read_text(errors="replace").splitlines()[-TAIL_LINES:]))
                print("---", flush=True)
            yield tally


def prepare(step: Step, services: Services, databases: Databases) -> dict[str, str] | str:
    """The environment of a step with its databases, or why there is none."""
    try:
        env = environment(step, services) | {"TEST_DATABASE_NAME": databases.name}
        if step.is_pytest:
            databases.provide(env)
    except (Unavailable, subprocess.CalledProcessError) as reason:
        return str(reason)
    return env


@contextlib.contextmanager
def begun(step: Step, env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The step's running command. Whatever it started ends with it, also where this script is interrupted."""
    junit_of(step).unlink(missing_ok=True)
    command = [*step.command, f"--junitxml={junit_of(step)}"] if step.is_pytest else list(step.command)
    with log_of(step).open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def tally_of(step: Step, process: subprocess.Popen[bytes]) -> Tally:
    """What came of a step, once it is done or its time is up."""
    try:
        code = process.wait(timeout=step.limit_s)
    except subprocess.TimeoutExpired:
        with log_of(step).open("ab") as output:
            output.write(f"\nNot finished after {step.limit_s} s.\n".encode())
        code = 124
    tally = count(junit_of(step)) if step.is_pytest else Tally(passed=int(code == 0))
    if code != 0 and not tally.failed:
        tally.failed = 1
    return tally


def junit_of(step: Step) -> Path:
    return RESULTS / f"{step.name}.xml"


def log_of(step: Step) -> Path:
    return RESULTS / f"{step.name}.log"


def environment(step: Step, services: Services) -> dict[str, str]:
    """The machine's environment without what would point a step at somebody's installation or make a hundred processes
    compile everything anew."""
    ours = {"DATABASE_URL", "REDIS_URL", "MODE", "VAR_DIR", "DEBUG", "HOST", "PORT", "DJANGO_SETTINGS_MODULE"}
    env = {name: value for name, value in os.environ.items() if name not in ours | {"PYTHONDONTWRITEBYTECODE"}}
    env |= {"VAR_DIR": str(ROOT / "var" / "test")}
    for need in step.needs:
        env |= services.get(need)
    return env | step.env


def count(junit: Path) -> Tally:
    """What pytest wrote; nothing if it did not get so far."""
    if not junit.exists():
        return Tally()
    tally = Tally()
    for suite in ElementTree.parse(junit).iter("testsuite"):
        total, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
        failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        tally.add(Tally(total - failed - skipped, failed, skipped))
    return tally


if __name__ == "__main__":
    shutil.rmtree(RESULTS, ignore_errors=True)
    sys.exit(main(sys.argv[1:]))
