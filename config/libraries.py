"""The system libraries that draw PDFs: Debian's packages, whether they are here, and how they come here."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import subprocess

# What is looked for → Debian's package.
LIBRARIES = {
    "pango-1.0": "libpango-1.0-0",
    "pangoft2-1.0": "libpangoft2-1.0-0",
    "harfbuzz": "libharfbuzz0b",
    "harfbuzz-subset": "libharfbuzz-subset0",
    "fontconfig": "libfontconfig1",
    "gobject-2.0": "libglib2.0-0",
}


def missing() -> list[str]:
    """The Debian packages of those that are not here."""
    return [package for name, package in LIBRARIES.items() if ctypes.util.find_library(name) is None]


def command(packages: list[str]) -> list[str]:
    """What installs them on Debian."""
    return ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages]


def provide() -> str:
    """Install what is missing where that is possible: as root on Debian. Returns a line for whoever waits; empty where
    there is nothing to say."""
    packages = missing()
    if not packages:
        return ""
    how = f"Invoices as PDF need: {' '.join(['sudo', *command(packages)])}"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return how
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for step in (["apt-get", "update", "-q"], command(packages)):
        if subprocess.run(step, env=env, capture_output=True, check=False).returncode:  # noqa: S603
            return how
    return f"Installed what draws PDFs: {' '.join(packages)}"
