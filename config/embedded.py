"""Secrets of an embedded installation: random, made at the first start, kept in a file that only its owner reads."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path


def load_secrets(path: Path) -> dict[str, str]:
    """The secrets in `path`; missing ones are made. Safe when two processes start at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read(path)
    values = {
        "SECRET_KEY": secrets.token_urlsafe(48),
        "STATION_KEY_PEPPERS": f"1:{secrets.token_hex(32)}",
        "DEMO_PASSWORD": secrets.token_urlsafe(9),
        "DEMO_API_KEY": secrets.token_hex(20),
        "DEMO_STATION_KEY": secrets.token_hex(20),
    }
    with os.fdopen(descriptor, "w") as file:
        json.dump(values, file, indent=1)
    return values


def _read(path: Path) -> dict[str, str]:
    values: dict[str, str] = json.loads(path.read_text())
    return values
