"""A small crash study on the tests' own server."""

import json
from importlib import import_module
from pathlib import Path

import pytest
from rich.progress import Progress

from decisions.cli.report import Workbench

crash = import_module("decisions.cli.study.crash")  # the name `crash` is also a command


def test_killed_workers_lose_double_and_halve_nothing(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECISIONS_DATABASE_URL", postgres_url)
    monkeypatch.setattr(crash, "DAYS_AT_FIRST", 3)
    bench = Workbench("crash", tmp_path, Progress(disable=True))

    crash.run(bench, kills=3)

    assert all(check.ok is not False for check in bench.checks), bench.checks
    assert json.loads((tmp_path / "write-3.json").read_text())["kills"] == 3
