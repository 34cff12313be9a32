"""CPU time of processes, from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
BACKGROUND = ("checkpointer", "background writer", "walwriter")


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = [pid]
    for one in found:
        found.extend(children.get(one, ()))
    return found


def backends(database: str) -> list[int]:
    """PostgreSQL's processes that serve `database`, and those in its background; none for ""."""
    found: list[int] = []
    if not database:
        return found
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = cmdline.read_text(errors="replace").replace("\0", " ")
        except OSError:
            continue
        if text.startswith("postgres:") and (f" {database} " in text or any(name in text for name in BACKGROUND)):
            found.append(int(cmdline.parent.name))
    return found


def cpu_s(pids: Iterable[int]) -> float:
    """User and system time of the processes that still live."""
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total * TICK_S
