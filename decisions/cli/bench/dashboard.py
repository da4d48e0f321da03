"""How fast pages are drawn in a browser, over a ledger of ten million decisions.

The ledger is filled by the store's own functions: every decision has passed its checks, is sealed
and tallied, 50 000 a batch, over 120 days and three domains, with generations, evaluations,
verdicts, promotions, measurements and diagnoses. Made up are the rows, which repeat from day to
day, and the values measured; outcomes are stored for the newest three days alone. It stays in the
stack's home and is used again.

A *load* is a full navigation of a real browser to a page of the real dashboard in a session of
its own, so that every query runs: from the start of the navigation until the script has ended,
every chart and table is drawn and nothing is stale. Warm: three loads of each page came before, so
static files and database pages are cached.
"""

import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from decisions.cli.bench.big_ledger import fill
from decisions.cli.report import Workbench
from decisions.errors import StackError
from decisions.settings import settings
from decisions.stack.dashboard import serving_dashboard
from decisions.stack.postgres import create_database, running_postgres
from decisions.store.database import Database, migrate

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROWS = 10_000_000
LOADS = 40  # of a page with a bar; a quarter of it of the others
WARM_UP = 3
BAR_S = 1.0
BARRED = ("overview", "oscillation")
PAGES = {
    "overview": "",
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
        && heading.innerText.trim() === title && all("stSkeleton").length === 0
        && document.querySelector("[data-stale=true]") === null;
    const open = name => all(name).filter(each => each.checkVisibility());  // not folded away
    const drawn = open("stVegaLiteChart").every(chart => chart.querySelector("canvas, svg"))
        && open("stDataFrame").every(table => table.querySelector("canvas"));
    return ended && drawn ? performance.now() : false;
}"""


def run(bench: Workbench, *, rows: int = ROWS, loads: int = LOADS) -> None:
    """Seconds to draw each page, as p50 and p95 over `loads` loads; two of them have a bar."""
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
                name: _loads(page, address, name, loads if name in BARRED else max(1, loads // 4))
                for name in bench.track(list(PAGES), "pages")
            }
    decisions = int(tally["decisions"].sum())
    bench.check("decisions", float(decisions), f">= {rows}", ok=decisions >= rows)
    bench.check("filling_s", filled_s, "-", ok=None)
    for name, each in seconds.items():
        p50, p95 = (float(q) for q in np.quantile(each, [0.5, 0.95]))
        barred = name in BARRED
        bench.check(
            f"{name}_p95_s",
            p95,
            f"< {BAR_S:g}" if barred else "-",
            ok=p95 < BAR_S if barred else None,
            interval=(min(each), max(each)),
        )
        bench.check(f"{name}_p50_s", p50, "-", ok=None)


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
    title = name.capitalize().replace("_", "-")
    page.goto(f"{address}/{name}{PAGES[name]}", wait_until="commit")
    drawn = page.wait_for_function(_DRAWN, arg=title, polling=20)
    if page.locator("[data-testid=stAlertContentError]").count():
        raise StackError(f"the page {name} failed: {page.inner_text('body')[:500]}")
    return float(drawn.json_value()) / 1000
