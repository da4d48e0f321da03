"""How fast pages are drawn in a browser, over a ledger of ten million decisions.

The ledger is filled by the store's own functions: every decision has passed its checks, is sealed
and tallied, 50 000 a batch, over 120 days and three domains, with generations, evaluations,
verdicts, promotions, measurements and diagnoses; beside them a plant is planned day after day.
Made up are the rows, which repeat from day to day, and the values measured; outcomes are stored
for the newest three days alone. It stays in the stack's home and is used again.

A *load* is a full navigation of a real browser to a page of the real dashboard in a session of
its own, so that every query runs: from the start of the navigation until the script has ended,
every chart and table is drawn and nothing is stale. Warm: three loads of each page came before, so
static files and database pages are cached.

Pages answer first and unfold details: what is folded is not drawn by a load. `unfold` is from a
click on a folded part of a page until it is drawn, for the slowest part of it.
"""

import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from decisions.cli.bench.big_ledger import PLANT, fill
from decisions.cli.report import Workbench
from decisions.errors import StackError
from decisions.settings import settings
from decisions.stack.dashboard import serving_dashboard
from decisions.stack.postgres import create_database, running_postgres
from decisions.store.database import Database, migrate

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROWS = 10_000_000
LOADS = 40  # of each page
UNFOLDED = 3  # times that each folded part is opened
WARM_UP = 3
BAR_S = 1.0
PAGES = {
    "overview": "",
    "plan": f"?domain={PLANT}",
    "oscillation": "?domain=payments&series=squarecb",
    "generations": "?domain=payments",
    "off_policy": "?domain=payments",
    "decisions": "?domain=payments",
    "audit": "?domain=payments",
}
ARGUMENTS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
_DRAWN = """title => {
    const all = name => [...document.querySelectorAll(`[data-testid=${name}]`)];
    const [app] = all("stApp");
    const heading = document.querySelector("[data-testid=stMainBlockContainer] h1");
    const ended = app && app.dataset.testScriptState === "notRunning" && heading
        && heading.textContent.trim() === title && all("stSkeleton").length === 0
        && document.querySelector("[data-stale=true]") === null;
    if (!ended) return false;  // asking what is visible costs the browser time
    const open = name => all(name).filter(each => each.checkVisibility());  // not folded away
    const drawn = open("stVegaLiteChart").every(chart => chart.querySelector("canvas, svg"))
        && open("stDataFrame").every(table => table.querySelector("canvas"))
        && open("stImage").every(image => [...image.querySelectorAll("img")].every(
            each => each.complete && each.naturalWidth > 0));
    return drawn ? performance.now() : false;
}"""


def run(bench: Workbench, *, rows: int = ROWS, loads: int = LOADS) -> None:
    """Seconds to draw each page, as p50 and p95 over `loads` loads, and to unfold its parts."""
    folder = settings().home.resolve() / "benchmarks" / "dashboard-data"
    folder.mkdir(parents=True, exist_ok=True)
    with running_postgres(folder / "postgres") as url:
        db = Database(create_database(url, f"ledger_{rows}"))
        migrate(db)
        began = time.perf_counter()
        fill(db, bench, rows=rows)
        filled_s = time.perf_counter() - began
        tally = db.read("tally/by_generation")
        with serving_dashboard(db.url, folder) as address, _page() as page:
            seconds = {
                name: _loads(page, address, name, loads)
                for name in bench.track(list(PAGES), "pages")
            }
            unfolded = {name: _slowest_part(page, address, name) for name in PAGES}
    decisions = int(tally["decisions"].sum())
    bench.check("decisions", float(decisions), f">= {rows}", ok=decisions >= rows)
    bench.check("filling_s", filled_s, "-", ok=None)
    for name, each in seconds.items():
        p50, p95 = (float(q) for q in np.quantile(each, [0.5, 0.95]))
        bench.check(
            f"{name}_p95_s", p95, f"< {BAR_S:g}", ok=p95 < BAR_S, interval=(min(each), max(each))
        )
        bench.check(f"{name}_p50_s", p50, "-", ok=None)
        if (slowest := unfolded[name]) is not None:
            bench.check(f"{name}_unfold_s", slowest, "-", ok=None)


@contextmanager
def _page() -> "Generator[Page]":
    """A page of the system's Chromium.

    Raises:
        StackError: there is none, or Playwright is not installed.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise StackError("Playwright is missing: pip install 'decisions[dev]'") from error
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        raise StackError("no Chromium: install it (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=browser, args=list(ARGUMENTS))
        page = running.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(60_000)
        yield page
        running.close()


def _loads(page: "Page", address: str, name: str, count: int) -> list[float]:
    """Seconds of `count` loads, after some that warm up."""
    return [_load(page, address, name) for _ in range(WARM_UP + count)][WARM_UP:]


def _load(page: "Page", address: str, name: str) -> float:
    """Seconds from the start of the navigation until the page is drawn."""
    page.goto(f"{address}/{name}{PAGES[name]}", wait_until="commit")
    drawn = page.wait_for_function(_DRAWN, arg=_title(name), polling=20)
    if page.locator("[data-testid=stAlertContentError]").count():
        raise StackError(f"the page {name} failed: {page.inner_text('body')[:500]}")
    return float(drawn.json_value()) / 1000


def _title(name: str) -> str:
    return name.capitalize().replace("_", "-")


def _slowest_part(page: "Page", address: str, name: str) -> float | None:
    """Seconds to unfold the slowest of a page's folded parts, each a median; None without any."""
    _load(page, address, name)
    labels = page.locator("[data-testid=stExpander] summary").all_inner_texts()
    return max((_unfold(page, address, name, place) for place in range(len(labels))), default=None)


def _unfold(page: "Page", address: str, name: str, place: int) -> float:
    """Seconds from the click on a folded part of a page until it is drawn."""
    seconds: list[float] = []
    for _ in range(UNFOLDED):
        _load(page, address, name)
        part = page.locator("[data-testid=stExpander]").nth(place)
        began = page.evaluate("performance.now()")
        part.locator("summary").click()
        part.locator("[data-testid=stElementContainer]").first.wait_for()
        drawn = page.wait_for_function(_DRAWN, arg=_title(name), polling=20)
        seconds.append((float(drawn.json_value()) - began) / 1000)
    return float(np.median(seconds))
