"""One browser for the run, one dashboard over an empty store and one over a lived one."""

import shutil
from collections.abc import Generator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from decisions.stack.dashboard import serving_dashboard
from tests.conftest import copied

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE_MS = 30_000
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


@pytest.fixture(scope="session")
def browser() -> Generator[Browser]:
    if BROWSER is None:
        pytest.skip("no Chromium: install it (Debian: apt-get install chromium)")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Generator[Page]:
    """A page of a person who was never here before."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, timezone_id="UTC")
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    thrown: list[str] = []
    page.on("pageerror", lambda error: thrown.append(str(error)))
    yield page
    context.close()
    assert not thrown, thrown


@pytest.fixture(scope="session")
def empty(
    browser: Browser, postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Generator[str]:
    """The address of a dashboard over an empty store."""
    with (
        copied(postgres_url, template) as database,
        serving_dashboard(database.url, tmp_path_factory.mktemp("empty")) as address,
    ):
        yield address


@pytest.fixture(scope="session")
def lived_url(browser: Browser, postgres_url: str, lived_template: str) -> Generator[str]:
    """The address of a database with three weeks of several domains."""
    with copied(postgres_url, lived_template) as database:
        yield database.url


@pytest.fixture(scope="session")
def usual(lived_url: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The address of a dashboard over a lived store."""
    with serving_dashboard(lived_url, tmp_path_factory.mktemp("usual")) as address:
        yield address
