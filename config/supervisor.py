"""`make run`: set up once, start every process, say where to click, and on Ctrl-C end all of it.

It stands beside the settings because it belongs to no app: it knows the processes of all of them. Children are forked
after Django is loaded, so that a second start takes seconds; nothing here may start a thread before that.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from config import libraries

HOST = os.environ.get("HOST") or "127.0.0.1"
PORT = int(os.environ.get("PORT") or "8000")
LOOPBACK = HOST in ("127.0.0.1", "localhost", "::1")

GRACE_S = 3.5
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
WATCHED = STOP_SIGNALS | {signal.SIGCHLD}


@dataclass
class Process:
    """One child. It leads a session of its own, so that its children can be found when it is gone."""

    name: str
    run: Callable[[], object]
    pid: int = 0
    ended: bool = False
    failed: bool = False


def main() -> int:
    began = time.monotonic()
    if not _port_is_free():
        print(f"Port {PORT} is taken. Choose another: make run PORT=8001", file=sys.stderr)
        return 1
    for number in STOP_SIGNALS:
        signal.signal(number, signal.default_int_handler)
    try:
        loads_demo = set_up()
        signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)  # from here on they are waited for
    except KeyboardInterrupt:
        return 0
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    if loads_demo and (code := run_to_the_end(Process("demo", _load_demo))) is not None:
        return code
    return supervise(processes(), began)


def processes() -> list[Process]:
    """What an embedded installation runs."""
    from django.core.management import call_command
    from django.db import connections

    from apps.ocpp.demo import demo_guide

    chargers = [Process("chargers", lambda: call_command("simulate", demo=True))] if demo_guide() else []
    connections.close_all()
    return [
        Process("web", lambda: call_command("serve", host=HOST, port=PORT)),
        Process("tasks", lambda: call_command("qcluster")),
        *chargers,
    ]


def set_up() -> bool:
    """Everything that is done once, before the processes start: Django and the tables. Whether the demo is to be
    loaded: there is nobody yet, or its load was interrupted."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    if told := libraries.provide():
        print(told, flush=True)
    if not LOOPBACK:
        os.environ.setdefault("CHARGER_HOST", _lan_address())
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection, connections
    from django.db.migrations.executor import MigrationExecutor

    # The command costs two seconds; asking for its plan does not.
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        print("Preparing the database", flush=True)
        call_command("migrate", interactive=False, verbosity=0)
    from apps.accounts.models import Operator
    from apps.ocpp.demo import loading_mark

    is_missing = not Operator.objects.exists() or loading_mark().exists()
    connections.close_all()
    return "DATABASE_URL" not in os.environ and is_missing


def _load_demo() -> None:
    from django.core.management import CommandError, call_command

    try:
        call_command("demo")
    except CommandError as error:
        sys.exit(str(error))


def run_to_the_end(child: Process) -> int | None:
    """Run one child. None if it ended well; else our exit code: 0 if a signal asked us to stop, 1 if it failed."""
    child.pid = _fork(child)
    while not child.ended:
        received = signal.sigtimedwait(WATCHED, 1.0)
        if received and received.si_signo in STOP_SIGNALS:
            stop([child])
            return 0
        _reap([child])
    stop([child])  # what it may have left
    return 1 if child.failed else None


def supervise(children: list[Process], began: float) -> int:
    """Run until a signal or the end of any child; 0 if we were asked to stop."""
    for child in children:
        child.pid = _fork(child)
    greeted = False
    while True:
        received = signal.sigtimedwait(WATCHED, 1.0 if greeted else 0.05)
        if received and received.si_signo in STOP_SIGNALS:
            stop(children)
            return 0
        _reap(children)
        if gone := [child.name for child in children if child.ended]:
            print(f"Ended by itself: {', '.join(gone)}. Stopping the rest.", file=sys.stderr)
            stop(children)
            return 1
        if not greeted and _answers():
            greeted = True
            print(welcome(time.monotonic() - began), flush=True)


def stop(children: list[Process]) -> None:
    """SIGTERM to each main process alone (a task cluster whose whole group gets it hangs), a grace, then SIGKILL."""
    for child in children:
        if not child.ended:
            os.kill(child.pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    while time.monotonic() < deadline and not all(child.ended for child in children):
        signal.sigtimedwait({signal.SIGCHLD}, 0.1)
        _reap(children)
    for pid in _sessions({child.pid for child in children}):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    _reap(children)


def welcome(seconds: float) -> str:
    """Where to click."""
    from django.conf import settings
    from django.db import connections

    from apps.accounts.models import Brand, User
    from apps.ocpp.demo import demo_guide

    brands = Brand.objects.unscoped("where to click, for whoever started this").order_by("host")
    lines = [f"Voltdesk is ready after {seconds:.1f} s. Ctrl-C ends it.", ""]
    lines.append(f"  Back office     http://{settings.ADMIN_HOST}:{PORT}/")
    lines += [f"  {brand.name[:14]:15} http://{brand.host}:{PORT}/" for brand in brands]
    lines.append(f"  Chargers        ws://{settings.CHARGER_HOST}:{PORT}/ocpp/<operator key>/<identity>")
    if mails := settings.MAILERS["default"].get("OPTIONS", {}).get("file_path"):
        lines.append(f"  E-mails         {mails}")
    lines += [f"  {label:15} {text}" for label, text in demo_guide()]
    if not User.objects.exists():
        lines += ["", "  Nobody can sign in yet: .venv/bin/python manage.py create_operator makes the first operator."]
    connections.close_all()
    return "\n".join([*lines, ""])


def _fork(child: Process) -> int:
    sys.stdout.flush()
    parent = os.getpid()
    pid = os.fork()
    return pid or _child(child, parent)


def _child(child: Process, parent: int) -> NoReturn:
    os.setsid()
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    for number in WATCHED:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if os.getppid() == parent:
        child.run()
    sys.exit()  # not os._exit: the task cluster's command returns at once and lives on in exit handlers


def _reap(children: list[Process]) -> None:
    """Collect whatever ended, orphaned grandchildren too."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        for child in children:
            if child.pid == pid:
                child.ended, child.failed = True, status != 0


def _sessions(leaders: set[int]) -> list[int]:
    """Processes of the sessions that `leaders` began."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            session = int(stat.read_text().rpartition(")")[2].split()[3])
        except OSError:
            continue
        if session in leaders:
            found.append(int(stat.parent.name))
    return found


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _port_is_free() -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, PORT))
        except OSError:
            return False
    return True


def _answers() -> bool:
    try:
        socket.create_connection((HOST if LOOPBACK else "127.0.0.1", PORT), timeout=0.5).close()
    except OSError:
        return False
    return True


def _lan_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a UDP connect sends nothing; it asks for the route
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


if __name__ == "__main__":
    sys.exit(main())
