"""`decisions replay --sample`: how many were asked for, were there, and were taken again."""

import json
import subprocess
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
import typer
from rich.progress import Progress
from typer.testing import CliRunner

from decisions import flow
from decisions.cli.report import Workbench
from decisions.store.database import Database

replaying = import_module("decisions.cli.replay")
START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def app(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> typer.Typer:
    monkeypatch.setenv("DECISIONS_DATABASE_URL", database.url)
    monkeypatch.setenv("DECISIONS_HOME", str(tmp_path))
    made = typer.Typer()
    made.command()(replaying.replay)
    return made


def replay(app: typer.Typer, *arguments: str) -> tuple[int, dict[str, Any], str]:
    done = CliRunner().invoke(app, [*arguments, "--threads", "1", "--json"])
    report = json.loads(done.stdout.splitlines()[-1])
    return done.exit_code, report, done.stderr


def test_every_decision_that_is_there_is_taken_again(app: typer.Typer, database: Database) -> None:
    crash = import_module("decisions.cli.study.crash")
    domain = crash.small_payments()
    flow.begin(database, domain, now=START, seed=11)
    taken = flow.catch_up(database, domain, until=START + DAY, holder="test")

    status, report, _ = replay(app, "--sample", str(taken + 1000))

    values = {check["name"]: check["value"] for check in report["checks"]}
    assert (status, report["ok"]) == (0, True)
    assert values["decisions_asked_for"] == taken + 1000
    assert values["decisions_present"] == values["decisions_replayed"] == taken


def test_decisions_that_were_all_taken_elsewhere_cannot_be_replayed(
    app: typer.Typer, database: Database
) -> None:
    from decisions.domains.open_bandit import DOMAIN

    start = datetime(2019, 11, 25, tzinfo=UTC)
    flow.begin(database, DOMAIN, now=start, seed=11)
    flow.ingest_log(database, DOMAIN, start=start, end=start + timedelta(hours=1), holder="test")

    status, report, errors = replay(app, "--domain", "open_bandit", "--sample", "100")

    values = {check["name"]: check["value"] for check in report["checks"]}
    assert (status, report["ok"]) == (2, False)
    assert "nothing can be replayed: all were taken elsewhere" in errors
    assert values["decisions_taken_elsewhere"] == values["decisions_present"] > 0


def test_nothing_stored_is_said_and_not_ok(app: typer.Typer) -> None:
    status, report, errors = replay(app, "--sample", "5")

    assert (status, report["ok"]) == (2, False)
    assert "no decision is stored" in errors


def test_fewer_than_there_are_is_not_ok(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    found: dict[str, Any] = dict.fromkeys(("decisions", "generations"), 1)
    found |= {"present": 9, "replayable": 9, "taken_elsewhere": 0, "differing": {}}

    def child(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 0, json.dumps(found), "")

    monkeypatch.setattr(replaying.subprocess, "run", child)
    bench = Workbench("replay", tmp_path, Progress(disable=True))

    replaying._sample(bench, "payments", 5, 1)

    assert [check.ok for check in bench.checks if check.name == "decisions_replayed"] == [False]
