"""`make screenshots`: the README's two pictures, of the demo with all its chargers alive, in a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Browser, ViewportSize, sync_playwright

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.services import free_port  # noqa: E402 - a script finds its neighbours only now

PICTURES = ROOT / "docs" / "pictures"
VIEWPORT = ViewportSize(width=1440, height=900)
START_S, END_S = 60, 20
# The simulated chargers are given time to send their first readings.
LIVE_S = 90
# More than the demo has: all of them live.
CHARGERS = "100"
# Picture: host, who looks.
PAGES = {
    "dashboard": ("admin.localhost", "owner@harbour.example"),
    "portal": ("bluefleet.localhost", "manager@bluefleet.example"),
}


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="voltdesk-") as folder:
        port = free_port()
        foreign = {"DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE", "HOST"}
        env = {name: value for name, value in os.environ.items() if name not in foreign}
        env |= {"VAR_DIR": folder, "PORT": str(port)}
        _manage(env, "demo", "--reset").wait()
        running = [_manage(env, "serve", "--port", str(port))]
        try:
            _wait_until_ready(running[0], port)
            running.append(_manage(env, "simulate", "--demo", "--count", CHARGERS))
            time.sleep(LIVE_S)
            password = json.loads((Path(folder) / "secrets.json").read_text())["DEMO_PASSWORD"]
            _take_pictures(port, password)
        finally:
            for process in reversed(running):
                process.send_signal(signal.SIGINT)
                process.wait(timeout=END_S)


def _manage(env: dict[str, str], *command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "manage.py", *command], cwd=ROOT, env=env)


def _wait_until_ready(running: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if running.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2).close()
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise SystemExit("The server did not start.")


def _take_pictures(port: int, password: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"),
            args=["--no-sandbox", "--disable-dev-shm-usage"],
        )
        for name, (host, email) in PAGES.items():
            _take(browser, f"http://{host}:{port}/", email, password, PICTURES / f"{name}.png")
        browser.close()


def _take(browser: Browser, url: str, email: str, password: str, file: Path) -> None:
    page = browser.new_page(viewport=VIEWPORT, color_scheme="light", locale="en-GB", reduced_motion="reduce")
    page.goto(url)
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(url)
    page.wait_for_load_state("load")
    page.evaluate("document.fonts.ready")
    page.screenshot(path=file)
    page.close()
    sys.stdout.write(f"{file.relative_to(ROOT)}  {file.stat().st_size // 1024} kB\n")


if __name__ == "__main__":
    main()
