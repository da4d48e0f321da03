"""What a test does with a page of the dashboard."""

from pathlib import Path

from playwright.sync_api import Page, expect

PICTURES = Path(__file__).parents[2] / "test-artifacts"
_WIDTH, _HEIGHT = 1280, 900


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
