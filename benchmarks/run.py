"""`make bench`: what a message costs, beside others; a storm; Authorize beside bulk load; rating; billing; list pages.

    benchmarks/run.py [messages] [open] [sqlite] [storm] [authorize] [rating] [billing] [pages]

BENCH=quick shortens every window and does one round. The server is pinned to one core, the generator to another,
PostgreSQL is not. Everything runs as shipped, on PostgreSQL as in production, on SQLite as by `make run`: no setting is
made for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import psycopg  # noqa: E402 - a script finds its neighbours only now

from benchmarks.fleet import STATION_KEY, URL_KEY  # noqa: E402
from benchmarks.generator import Result  # noqa: E402
from tests.run import PRODUCTION  # noqa: E402
from tests.services import Services, free_port  # noqa: E402

QUICK = os.environ.get("BENCH") == "quick"
WARM_UP_S, WINDOW_S, ROUNDS = (2.0, 6.0, 1) if QUICK else (10.0, 60.0, 3)
STATIONS = 500
STORM = 1000 if QUICK else 5000
BULK_SHARE = 0.8
DATABASE = "bench_voltdesk"
REDIS_DATABASE = 12  # beside those of the tests
PYTHON = sys.executable
BIN = Path(PYTHON).parent
READY_S = 60.0


@dataclass(frozen=True)
class Design:
    """A server to measure. `command` gets the port by {port} and Node by {node}."""

    name: str
    command: tuple[str, ...]
    prepare: Callable[[Bench, str, dict[str, str]], None]
    path: str = ""
    sqlite: bool = False


class Bench:
    """Databases, servers and the generator."""

    def __init__(self, services: Services, folder: Path) -> None:
        self.services = services
        self.folder = folder
        self.server_url = services.get("postgres")["DATABASE_URL"]

    def url(self, database: str) -> str:
        return at_path(self.server_url, database)

    def administer(self, *statements: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[arg-type]

    @contextlib.contextmanager
    def database(self, design: Design) -> Iterator[dict[str, str]]:
        """The environment of a design on a fresh database."""
        env = {name: value for name, value in os.environ.items() if name not in ("MODE", "REDIS_URL")}
        env |= {"VAR_DIR": str(self.folder / "var"), "LOG_LEVEL": "WARNING"}
        if design.sqlite:
            file = self.folder / "bench.sqlite3"
            yield env | {"DATABASE_URL": f"sqlite:///{file}"}
            for suffix in ("", "-wal", "-shm"):
                Path(f"{file}{suffix}").unlink(missing_ok=True)
            return
        self.administer(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)", f"CREATE DATABASE {DATABASE}")
        try:
            yield env | {"DATABASE_URL": self.url(DATABASE)}
        finally:
            self.administer(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")

    @contextlib.contextmanager
    def running(self, design: Design, *, stations: int) -> Iterator[tuple[int, int]]:
        """Port and process id of a design's server on a database with so many stations."""
        with self.database(design) as env:
            design.prepare(self, str(stations), env)
            port = free_port()
            words = (part.format(port=port, node=env.get("NODE")) for part in design.command)
            command = ["taskset", "-c", "0", *words]
            log = (self.folder / "server.log").open("ab")
            process = subprocess.Popen(command, cwd=ROOT, env=env | {"PORT": str(port)}, stdout=log, stderr=log)
            try:
                wait_until_open(process, port, self.folder / "server.log")
                yield port, process.pid
            finally:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=20)
                process.kill()
                process.wait()

    def load(self, design: Design, port: int, pid: int, **plan: object) -> Result:
        """Run the generator once."""
        full = {
            "url": f"ws://127.0.0.1:{port}/ocpp{design.path}",
            "key": STATION_KEY,
            "pid": pid,
            "database": DATABASE if not design.sqlite else "",
            "stations": STATIONS,
            "warm_up_s": WARM_UP_S,
            "window_s": WINDOW_S,
        }
        command = ["taskset", "-c", "1", PYTHON, "-m", "benchmarks.generator", json.dumps(full | plan)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise RuntimeError(f"{design.name}: {done.stderr[-2000:]}")
        return Result(**json.loads(done.stdout))


# --- the designs ------------------------------------------------------------------------------------------------------


def prepare_ours(bench: Bench, stations: str, env: dict[str, str]) -> None:
    if env["DATABASE_URL"].startswith("postgres"):
        redis_url = at_path(bench.services.get("redis")["REDIS_URL"], str(REDIS_DATABASE))
        env.update(PRODUCTION | {"DATABASE_URL": env["DATABASE_URL"], "REDIS_URL": redis_url})
    run([PYTHON, "manage.py", "migrate", "-v0"], env)
    run([PYTHON, "-m", "benchmarks.fleet", stations], env)
    if env["DATABASE_URL"].startswith("postgres"):
        with psycopg.connect(env["DATABASE_URL"], autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")


def prepare_naive(bench: Bench, stations: str, env: dict[str, str]) -> None:
    env["DJANGO_SETTINGS_MODULE"] = "benchmarks.naive.settings"
    run([PYTHON, "-m", "django", "migrate", "-v0", "--run-syncdb"], env | {"PYTHONPATH": str(ROOT)})


def prepare_rpc(bench: Bench, stations: str, env: dict[str, str]) -> None:
    """Install the pinned packages once, beside nothing of ours. Node is the machine's, or the wheel's beside Python."""
    env |= bench.services.get("node")
    target = bench.folder / "rpc"
    if not target.exists():
        shutil.copytree(ROOT / "benchmarks" / "rpc", target, ignore=shutil.ignore_patterns("node_modules"))
        path = f"{BIN}:{os.environ['PATH']}"
        npm = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(npm, cwd=target, env=os.environ | {"PATH": path}, check=True)
    env["NODE_PATH"] = str(target / "node_modules")


OURS = f"/{URL_KEY}"
DAPHNE = Design("ours on daphne", (PYTHON, "manage.py", "serve", "--port", "{port}"), prepare_ours, OURS)
UVICORN = Design("ours on uvicorn", (PYTHON, "manage.py", "gateway", "--port", "{port}"), prepare_ours, OURS)
NAIVE = Design(
    "naive on daphne",
    (str(BIN / "daphne"), "-v", "0", "-p", "{port}", "benchmarks.naive.asgi:application"),
    prepare_naive,
)
RPC = Design("Node ocpp-rpc strict", ("{node}", str(ROOT / "benchmarks/rpc/server.js")), prepare_rpc)
SQLITE = Design("ours on uvicorn, SQLite", UVICORN.command, prepare_ours, OURS, sqlite=True)


# --- what is measured -------------------------------------------------------------------------------------------------


def measure_messages(bench: Bench) -> None:
    """The four designs, interleaved, closed loop."""
    results: dict[str, list[Result]] = {}
    for _ in range(ROUNDS):
        for design in (DAPHNE, UVICORN, NAIVE, RPC):
            with bench.running(design, stations=STATIONS) as (port, pid):
                results.setdefault(design.name, []).append(bench.load(design, port, pid, mode="closed"))
    head(f"CPU µs an acknowledged MeterValues, {STATIONS} connections, closed loop, median of {ROUNDS}")
    sums = {}
    for name, rounds in results.items():
        gateway, database = median(rounds, "gateway_us"), median(rounds, "database_us")
        sums[name] = statistics.median(one.gateway_us + one.database_us for one in rounds)
        spread = " … ".join(f"{one.gateway_us + one.database_us:.0f}" for one in rounds)
        say(
            name, f"{gateway:7.0f} + {database:5.0f} = {sums[name]:6.0f} µs", f"{median(rounds, 'rate'):7.0f}/s", spread
        )
    judge("naive / ours on daphne", sums[NAIVE.name] / sums[DAPHNE.name], at_least=20)
    judge("naive / ours on uvicorn", sums[NAIVE.name] / sums[UVICORN.name], at_least=35)
    judge("ours on uvicorn / ocpp-rpc", sums[UVICORN.name] / sums[RPC.name], at_most=0.7)


def measure_open(bench: Bench) -> None:
    """Light and medium load: what batching saves when it must wait for messages."""
    head("Open loop, 1,000 connections; latency from when a message was due")
    for rate in (100, 1000):
        for design in (UVICORN, RPC):
            with bench.running(design, stations=1000) as (port, pid):
                one = bench.load(design, port, pid, mode="open", rate=rate, stations=1000)
            say(f"{design.name}, {rate}/s", costs(one), f"p50 {one.p50_ms:.1f} ms", f"p99 {one.p99_ms:.1f} ms")


def measure_sqlite(bench: Bench) -> None:
    """The embedded database; its work is in the gateway's CPU."""
    head(f"SQLite, {STATIONS} connections, closed loop")
    with bench.running(SQLITE, stations=STATIONS) as (port, pid):
        one = bench.load(SQLITE, port, pid, mode="closed")
    say(SQLITE.name, costs(one), f"{one.rate:.0f}/s")


def measure_storm(bench: Bench) -> None:
    """Everybody at once, to one process."""
    head(f"Storm of {STORM} at once, one attempt each, 30 s patience, 1 % wrong keys")
    for design in (DAPHNE, UVICORN):
        with bench.running(design, stations=STORM) as (port, pid):
            one = bench.load(design, port, pid, mode="storm", stations=STORM, wrong_every=100)
        failed = sum(count for what, count in one.outcomes.items() if what.startswith("right") and "accept" not in what)
        say(design.name, f"{one.seconds:.1f} s, {one.gateway_us:.0f} µs a connection", str(one.outcomes))
        judge("right keys that failed", failed, at_most=0)


def measure_authorize(bench: Bench) -> None:
    """Authorize while the bulk lane runs at 80 % of its maximum (contract G20)."""
    head("Authorize beside bulk load")
    extra = {"authorize_stations": 50, "authorize_rate": 50.0}
    with bench.running(UVICORN, stations=STATIONS + 50) as (port, pid):
        most = bench.load(UVICORN, port, pid, mode="closed", window_s=min(WINDOW_S, 20.0)).rate
    with bench.running(UVICORN, stations=STATIONS + 50) as (port, pid):
        one = bench.load(UVICORN, port, pid, mode="open", rate=most * BULK_SHARE, **extra)
    say(
        f"bulk at {one.rate:.0f}/s of {most:.0f}/s",
        f"Authorize p50 {one.authorize_p50_ms:.1f} ms",
        f"{one.late} waiting",
    )
    judge("Authorize p99 (ms)", one.authorize_p99_ms, at_most=50)


def measure_rating(bench: Bench) -> None:
    """10,000 sessions of 100 readings on one core."""
    head("Rating")
    if subprocess.run([PYTHON, "-m", "benchmarks.rating"], cwd=ROOT).returncode:
        failed_bars.append("rating")


def measure_billing(bench: Bench) -> None:
    """A month's run, and how fast its PDFs are drawn."""
    head("Billing of 1,000 accounts with 20,000 sessions")
    with bench.database(UVICORN) as env:
        run([PYTHON, "manage.py", "migrate", "-v0"], env)
        if subprocess.run([PYTHON, "-m", "benchmarks.billing"], cwd=ROOT, env=env).returncode:
            failed_bars.append("billing")


def measure_pages(bench: Bench) -> None:
    """List pages of 100,000 sessions with their CDRs and 2,000 stations."""
    head("List pages of 100,000 sessions with their CDRs and 2,000 stations")
    with bench.database(UVICORN) as env:
        run([PYTHON, "manage.py", "migrate", "-v0"], env)
        if subprocess.run([PYTHON, "-m", "benchmarks.pages"], cwd=ROOT, env=env).returncode:
            failed_bars.append("list pages")


MEASURES = {
    "messages": measure_messages,
    "open": measure_open,
    "sqlite": measure_sqlite,
    "storm": measure_storm,
    "authorize": measure_authorize,
    "rating": measure_rating,
    "billing": measure_billing,
    "pages": measure_pages,
}

# --- printing ---------------------------------------------------------------------------------------------------------

failed_bars: list[str] = []


def head(text: str) -> None:
    print(f"\n{text}", flush=True)


def say(*parts: str) -> None:
    print(f"  {parts[0]:32}", *(f"{part:30}" for part in parts[1:]), flush=True)


def judge(what: str, value: float, *, at_least: float | None = None, at_most: float | None = None) -> None:
    """Print a figure beside its bar."""
    met = value >= at_least if at_least is not None else at_most is not None and value <= at_most
    bar = f"at least {at_least:g}" if at_least is not None else f"at most {at_most:g}"
    say(what, f"{value:.2f}", f"bar: {bar}", "met" if met else "NOT MET")
    if not met:
        failed_bars.append(what)


def costs(one: Result) -> str:
    return f"{one.gateway_us:6.0f} + {one.database_us:4.0f} µs"


def median(rounds: list[Result], name: str) -> float:
    return statistics.median(getattr(one, name) for one in rounds)


# --- processes --------------------------------------------------------------------------------------------------------


def run(command: list[str], env: Mapping[str, str]) -> None:
    subprocess.run(command, cwd=ROOT, env=dict(env), check=True)


def at_path(url: str, name: str) -> str:
    """Another database of the server that `url` leads to."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def wait_until_open(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise RuntimeError(f"the server did not start: {log.read_text()[-2000:]}")


def main(wanted: list[str]) -> int:
    unknown = set(wanted) - MEASURES.keys()
    if unknown or (os.cpu_count() or 1) < 2:
        print(f"There are: {', '.join(MEASURES)}; and it needs two cores.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder, Services(Path(folder)) as services:
        bench = Bench(services, Path(folder))
        for name, measure in MEASURES.items():
            if not wanted or name in wanted:
                measure(bench)
    print(f"\n{len(failed_bars)} bars not met: {', '.join(failed_bars)}" if failed_bars else "\nEvery bar is met.")
    return 1 if failed_bars else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
