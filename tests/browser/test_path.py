"""From the overview to one decision taken again, and addresses that can be passed on."""

import re
from contextlib import suppress
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, TimeoutError, expect

from tests.browser.dashboard import drawn, picture, sound, title, visit

pytestmark = pytest.mark.slow


def choose(page: Page, label: str, option: str | re.Pattern[str]) -> None:
    """Chooses in a select box; opens it again where the page was drawn anew under the pointer."""
    offered = page.get_by_role("option", name=option).first
    for _ in range(6):
        page.get_by_role("combobox", name=label).click()
        with suppress(TimeoutError):
            offered.click(timeout=5_000)
            break
        page.keyboard.press("Escape")
    else:
        raise AssertionError(f"{label} offers no {option}")
    drawn(page)


def test_an_oscillation_is_followed_down_to_a_decision_that_is_taken_again(
    page: Page, usual: str
) -> None:
    visit(page, usual)
    page.get_by_role("link", name="Oscillation of payments").click()
    expect(page.get_by_role("heading", name="Oscillation", level=1)).to_be_visible()
    expect(page).to_have_url(re.compile(r"/oscillation\?.*domain=payments"))
    expect(page.get_by_text("The value of squarecb alternates")).to_be_visible()
    expect(page.get_by_text("Keep more cycles in the training window").first).to_be_visible()

    page.get_by_role("link", name="Generations of payments").click()
    expect(page.get_by_role("heading", name="Generations", level=1)).to_be_visible()
    drawn(page)
    page.get_by_text("One generation:").click()
    expect(page).to_have_url(re.compile(r"/generations\?.*generation=32"))
    expect(page.get_by_text("The gate's verdict of")).to_be_visible()
    drawn(page)
    picture(page, "generation")

    page.get_by_role("link", name="Its decisions").click()
    expect(page.get_by_role("heading", name="Decisions", level=1)).to_be_visible()
    expect(page).to_have_url(re.compile(r"/decisions\?.*generation=32"))
    drawn(page)
    choose(page, "Open one", re.compile(r"exploit"))
    expect(page.get_by_role("heading", name=re.compile(r"^Decision \d+"))).to_be_visible()
    expect(page).to_have_url(re.compile(r"/decisions\?.*decision=\d+"))
    picture(page, "decision")

    page.get_by_role("button", name="Replay now").click()
    expect(page.get_by_text("Identical: every compared column has the same bits")).to_be_visible()
    sound(page)
    picture(page, "decision-replayed")


def test_choices_are_in_the_address_and_survive_reload_and_back(page: Page, usual: str) -> None:
    visit(page, f"{usual}/oscillation?domain=payments")
    expect(page.get_by_text("The value of squarecb alternates")).to_be_visible()

    choose(page, "Series", re.compile("fastcb"))
    expect(page).to_have_url(re.compile(r"series=fastcb"))
    expect(page.get_by_text("The value of squarecb alternates")).to_have_count(0)

    page.reload()
    drawn(page)
    expect(page).to_have_url(re.compile(r"series=fastcb"))
    expect(page.get_by_text("The value of squarecb alternates")).to_have_count(0)

    page.get_by_role("link", name="Generations of payments").click()
    expect(page.get_by_role("heading", name="Generations", level=1)).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Oscillation", level=1)).to_be_visible()
    drawn(page)
    expect(page).to_have_url(re.compile(r"series=fastcb"))
    sound(page)


@pytest.mark.parametrize(
    "address",
    [
        "oscillation?domain=nowhere&series=%3Cscript%3E",
        "oscillation?domain=lotsizing",
        "plan?domain=navigation&plant=nowhere&item=x",
        "decisions?domain=lotsizing",
        "oscillation?domain=navigation",
        "oscillation?domain=fishery",
        "generations?domain=parcels",
        "generations?domain=payments&generation=999&compare=1,x",
        "off_policy?domain=open_bandit&generation=-1",
        "decisions?domain=payments&decision=not-a-number",
        "decisions?domain=payments&decision=7&generation=x&below=y",
        "decisions?domain=open_bandit",
        "audit?domain=nowhere",
        "nothing_here",
    ],
)
def test_an_odd_address_is_answered_in_words(page: Page, usual: str, address: str) -> None:
    visit(page, f"{usual}/{address}")

    assert title(page) in {
        "Overview",
        "Plan",
        "Oscillation",
        "Generations",
        "Off-policy",
        "Decisions",
        "Audit",
    }
    expect(page.get_by_text("cannot be read")).to_have_count(0)
    sound(page)


def test_a_planner_goes_from_the_overview_to_an_item_and_to_the_decision(
    page: Page, usual: str
) -> None:
    visit(page, usual)
    page.get_by_role("link", name="Plan of lotsizing").click()
    expect(page.get_by_role("heading", name="Plan", level=1)).to_be_visible()
    expect(page).to_have_url(re.compile(r"/plan\?.*domain=lotsizing"))
    drawn(page)
    expect(page.get_by_text("The day is expected to cost")).to_be_visible()
    expect(page.locator("[data-testid=stVegaLiteChart]").first).to_be_visible()

    choose(page, "Plant", "6x3/2")
    expect(page).to_have_url(re.compile(r"plant=6x3%2F2"))
    drawn(page)  # the address changes first; an item chosen before the page is drawn is lost
    choose(page, "Item", re.compile("Item 5"))
    expect(page).to_have_url(re.compile(r"item=5"))
    page.reload()
    drawn(page)
    expect(page).to_have_url(re.compile(r"plant=6x3%2F2.*item=5"))
    sound(page)
    picture(page, "plan-item")

    page.get_by_role("link", name="The newest decision").click()
    expect(page.get_by_role("heading", name=re.compile(r"^Decision \d+"))).to_be_visible()
    drawn(page)
    expect(page.get_by_text("on machines 1 to")).to_be_visible()
    page.get_by_role("link", name="The plan of 6x3/2").click()
    expect(page.get_by_role("heading", name="Plan", level=1)).to_be_visible()
    drawn(page)
    sound(page)


def test_text_of_an_address_is_read_neither_as_markdown_nor_as_a_link(
    page: Page, usual: str
) -> None:
    text = (
        "![x](http://evil.example/p.png) :red[r] :material/home: :smile: $a$ <img src=x> a -> b"
        " **b** `c` www.evil.example a@evil.example"
    )

    visit(page, f"{usual}/decisions?domain=payments&unit={quote(text)}")

    answer = page.get_by_text("Nothing is stored under")
    expect(answer).to_be_visible()
    assert text in answer.inner_text().replace("\u2060", "")
    expect(page.locator("[href*=evil], [src*=evil]")).to_have_count(0)
