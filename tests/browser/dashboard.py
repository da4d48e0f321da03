"""A running dashboard, and what a test does with one of its pages."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "test-artifacts"
_WIDTH, _HEIGHT = 1280, 900


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def served(
    database_url: str,
    folder: Path,
    *,
    port: int | None = None,
    environment: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
) -> Generator[str]:
    """The address of the dashboard over a database, with `folder` as its home."""
    port = port or free_port()
    settings = {
        "server.address": "127.0.0.1",
        "server.port": str(port),
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "viewer",
        **(options or {}),
    }
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "dashboards" / "app.py")]
    command += [word for name, value in settings.items() for word in (f"--{name}", value)]
    variables = os.environ | {
        "DECISIONS_DATABASE_URL": database_url,
        "DECISIONS_HOME": str(folder),
        "OMP_NUM_THREADS": "1",
        "POLARS_MAX_THREADS": "1",
        **(environment or {}),
    }
    with (folder / "streamlit.log").open("w") as log:
        server = subprocess.Popen(command, env=variables, stdout=log, stderr=log, cwd=folder)
        try:
            _wait(f"http://127.0.0.1:{port}/_stcore/health", server, folder / "streamlit.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(timeout=20)


def _wait(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(600):
        assert server.poll() is None, f"the dashboard stopped: {log.read_text()}"
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    pytest.fail(f"the dashboard did not become healthy within a minute: {log.read_text()}")


def visit(page: Page, url: str) -> None:
    """Opens a page of the dashboard and waits until it is drawn."""
    page.goto(url)
    drawn(page)


def drawn(page: Page) -> None:
    """Waits until the script of the page has run to its end and its elements are there."""
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.locator("[data-testid=stApp][data-test-script-state=notRunning]")).to_be_visible()
    expect(page.locator("[data-testid=stSkeleton]")).to_have_count(0)
    expect(page.locator("[data-stale=true]")).to_have_count(0)


def title(page: Page) -> str:
    """The heading of the page."""
    return page.get_by_role("heading", level=1).inner_text()


def sound(page: Page) -> None:
    """Fails when a person would see a traceback, or Streamlit's own box of an exception."""
    expect(page.locator("[data-testid=stException]")).to_have_count(0)
    said = page.locator("body").inner_text()
    for never in ("Traceback", "most recent call last", '.py", line', "by a mistake of ours"):
        assert never not in said, said


def picture(page: Page, name: str) -> None:
    """Keeps a screenshot of the whole page in `test-artifacts`."""
    PICTURES.mkdir(exist_ok=True)
    height = page.evaluate(
        "document.querySelector('[data-testid=stMainBlockContainer]').scrollHeight"
    )
    page.set_viewport_size({"width": _WIDTH, "height": max(int(height) + 80, _HEIGHT)})
    page.wait_for_timeout(300)  # charts are drawn anew at the new size
    page.screenshot(path=PICTURES / f"{name}.png")
    page.set_viewport_size({"width": _WIDTH, "height": _HEIGHT})
