"""Every page in its three states: nothing to show, the usual, and a database that stopped."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.dashboard import drawn, picture, sound, title, visit
from tests.conftest import Postgres

pytestmark = pytest.mark.slow

TITLES = {
    "overview": "Overview",
    "plan": "Plan",
    "generations": "Generations",
    "oscillation": "Oscillation",
    "off_policy": "Off-policy",
    "decisions": "Decisions",
    "audit": "Audit",
}
FRESH_MS = 15_000  # how long a page may show what it read before


@pytest.mark.parametrize("name", TITLES)
def test_an_empty_store_says_what_to_run(page: Page, empty: str, name: str) -> None:
    visit(page, f"{empty}/{name}")

    assert title(page) == TITLES[name]
    expect(page.get_by_text("decisions run").first).to_be_visible()
    sound(page)
    picture(page, f"{name}-empty")


@pytest.mark.parametrize("name", TITLES)
def test_a_lived_store_is_shown(page: Page, usual: str, name: str) -> None:
    visit(page, f"{usual}/{name}?domain=payments")

    assert title(page) == TITLES[name]
    kinds = ("stVegaLiteChart", "stDataFrame", "stMetric", "stImage")
    shown = ", ".join(f"[data-testid={kind}]" for kind in kinds)
    expect(page.locator(shown).first).to_be_visible()
    expect(page.get_by_text("cannot be read")).to_have_count(0)
    sound(page)
    picture(page, name)


def test_a_database_that_cannot_be_reached_is_a_sentence_with_the_way_out(
    page: Page, usual: str, postgres: Postgres
) -> None:
    postgres.stop()
    try:
        for name in TITLES:
            visit(page, f"{usual}/{name}?domain=payments")

            expect(page.get_by_text("cannot be read").first).to_be_visible()
            expect(page.get_by_text("decisions up").first).to_be_visible()
            sound(page)
            picture(page, f"{name}-failed")
    finally:
        postgres.start()


def test_a_database_that_stops_while_pages_are_open_and_comes_back(
    browser: Browser, usual: str, postgres: Postgres
) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    pages = {name: context.new_page() for name in TITLES}
    for name, page in pages.items():
        visit(page, f"{usual}/{name}?domain=payments")

    postgres.stop()
    try:
        pages["audit"].wait_for_timeout(FRESH_MS)
        for page in pages.values():
            page.keyboard.press("r")
            expect(page.get_by_text("cannot be read").first).to_be_visible()
            sound(page)
    finally:
        postgres.start()

    for page in pages.values():
        page.get_by_role("button", name="Try again").first.click()
        expect(page.get_by_text("cannot be read")).to_have_count(0)
        drawn(page)
        sound(page)
    context.close()
