"""A small crash study on the tests' own server."""

import json
import time
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import pytest
from rich.progress import Progress
from typer.testing import CliRunner

from decisions.cli.app import app
from decisions.cli.report import Workbench
from decisions.flow import deciding

crash = import_module("decisions.cli.study.crash")  # the name `crash` is also a command

PARTS = ("write_path-0-2.json", "dag-0-1.json")


@pytest.mark.slow
def test_killed_workers_lose_double_and_halve_nothing(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECISIONS_DATABASE_URL", postgres_url)
    monkeypatch.setattr(deciding, "BATCH", deciding.BATCH)  # the study sets it: put back what was
    monkeypatch.setattr(crash, "DAYS_AT_FIRST", 3)  # the third day has the first generation
    monkeypatch.setattr(crash, "LEAST_GENERATIONS", 1)
    monkeypatch.setattr(crash, "LONGEST_DAG_S", 3.0)
    monkeypatch.setenv("DECISIONS_HOME", str(tmp_path))

    done = CliRunner().invoke(app, ["study", "crash", "--kills", "3", "--json"])

    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout.splitlines()[-1])
    values = {
        check["name"]: check["value"]
        for check in report["checks"]
        if not isinstance(check["value"], str)
    }
    assert sum(values[name] for name in values if name.startswith("kills_in_")) == 3
    assert min(values[f"{place}_verdicts"] for place in ("write_path", "dag")) >= 1
    (folder,) = (tmp_path / "studies" / "crash").iterdir()
    first, second = (json.loads((folder / name).read_text()) for name in PARTS)
    assert (first["kills"], second["kills"]) == (2, 1)

    began = time.monotonic()
    again = Workbench("crash", folder, Progress(disable=True))
    crash.run(again, kills=3)  # finds its parts
    assert [asdict(check) for check in again.checks] == report["checks"]
    assert time.monotonic() - began < 3
