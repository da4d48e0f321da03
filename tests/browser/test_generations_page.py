"""The generations page in a real browser, over a real server and database."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from decisions.store.database import Database
from tests.dashboards.samples import judged

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "test-artifacts"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        BROWSER is None, reason="no Chromium: install it (Debian: apt-get install chromium)"
    ),
]


@pytest.fixture
def address(database: Database, tmp_path: Path) -> Generator[str]:
    """A Streamlit server over `database`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "DECISIONS_DATABASE_URL": database.url,
        "DECISIONS_HOME": str(tmp_path),
    }
    options = {
        "server.address": "127.0.0.1",
        "server.port": str(port),
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
    }
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "dashboards" / "app.py")]
    command += [word for name, value in options.items() for word in (f"--{name}", value)]
    with (tmp_path / "streamlit.log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=tmp_path)
        try:
            _wait(f"http://127.0.0.1:{port}/_stcore/health", server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(timeout=20)


def _wait(url: str, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(240):
        assert server.poll() is None, "the dashboard stopped"
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.25)
    pytest.fail("the dashboard did not become healthy within 60 s")


@pytest.fixture
def browser_page() -> Generator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(60_000)
        yield page
        browser.close()


def _picture(page: Page, name: str) -> None:
    PICTURES.mkdir(exist_ok=True)
    height = page.evaluate(
        "document.querySelector('[data-testid=stMainBlockContainer]').scrollHeight"
    )
    page.set_viewport_size({"width": 1280, "height": int(height) + 60})
    page.wait_for_timeout(1000)
    page.screenshot(path=PICTURES / f"{name}.png")


def test_an_empty_store_shows_what_to_run(browser_page: Page, address: str) -> None:
    browser_page.goto(address)

    expect(browser_page.get_by_text("No generation has been trained yet")).to_be_visible(
        timeout=60_000
    )
    _picture(browser_page, "generations-empty")


def test_generations_are_drawn_with_intervals(
    browser_page: Page, address: str, database: Database
) -> None:
    judged(database)

    browser_page.goto(f"{address}/?domain=payments")

    expect(browser_page.get_by_text("Better than the champion?")).to_be_visible(timeout=60_000)
    expect(browser_page.locator("[data-testid=stVegaLiteChart]")).to_have_count(3, timeout=60_000)
    expect(browser_page.locator("[data-testid=stDataFrame]")).to_be_visible(timeout=60_000)
    browser_page.wait_for_timeout(2000)
    _picture(browser_page, "generations")
    expect(browser_page.locator("[data-testid=stException]")).to_have_count(0)
