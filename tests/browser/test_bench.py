"""The benchmark of the pages at its smallest, by its command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from decisions.cli.bench.dashboard import PAGES
from tests.browser.conftest import BROWSER

# In a process of its own: Playwright runs once in each, and the tests of pages use theirs.
SMALLEST = """
from importlib import import_module

from decisions.cli.app import main
from decisions.cli.bench import big_ledger

dashboard = import_module("decisions.cli.bench.dashboard")  # its name is also a command
dashboard.WARM_UP, dashboard.UNFOLDED = 0, 1
dashboard.run.__kwdefaults__["loads"] = 1
big_ledger.fill.__kwdefaults__["days"] = 9
main()
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_page_is_timed(postgres_folder: Path) -> None:
    if BROWSER is None:
        pytest.skip("no Chromium: install it (Debian: apt-get install chromium)")

    done = subprocess.run(
        [sys.executable, "-c", SMALLEST, "bench", "dashboard", "--rows", "900", "--json"],
        env={**os.environ, "DECISIONS_HOME": str(postgres_folder / "bench")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    values = {check["name"]: check["value"] for check in report["checks"]}
    assert values["decisions"] >= 900
    assert {f"{page}_p95_s" for page in PAGES} <= set(values)
