"""Domains at work side by side: what is said meanwhile, and what a failed one ends with."""

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from decisions.cli.main_job import Job, Lanes, Work
from decisions.cli.progress import board
from decisions.errors import StackError
from decisions.stack.running import Stack
from decisions.store.database import Database

DAY = datetime(2026, 3, 2, tzinfo=UTC)


def stack(url: str) -> Stack:
    return Stack(supervisor=(1, 0.0), phase="", addresses={"database_url": url}, checks={})


def console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    written = io.StringIO()
    return Console(file=written, force_terminal=terminal, width=120), written


def test_without_a_terminal_a_line_is_written_when_a_part_has_ended() -> None:
    out, written = console(terminal=False)

    with board(out, 2) as progress:
        progress.runs("payments", "2026-03-02: train [1]")
        progress.ended("payments", "2026-03-02 done")
        progress.ended("lotsizing", "2026-03-02 done")

    first, second = written.getvalue().splitlines()
    assert "[1/2, about 0 s left] payments 2026-03-02 done" in first
    assert "[2/2] lotsizing 2026-03-02 done" in second


def test_a_terminal_shows_on_one_line_what_runs_how_far_and_for_how_long() -> None:
    out, written = console(terminal=True)

    with board(out, 2) as progress:
        progress.runs("payments", "2026-03-02: train [1]")
        progress.runs("lotsizing", "2026-03-02: decide")
        progress.ended("payments", "2026-03-02 done")
        progress.progress.refresh()
        shown = written.getvalue()
        progress.leaves("payments")
        progress.progress.refresh()

    assert "payments 2026-03-02: train [1] · lotsizing 2026-03-02: decide" in shown
    assert "1/2" in shown
    assert "left" in shown
    assert "payments" not in written.getvalue()[len(shown) :]


def test_a_failed_cutoff_is_said_and_counted() -> None:
    out, written = console(terminal=False)
    work = Work(domain="payments", first=DAY, cutoffs=(DAY, DAY), jobs=())

    with board(out, 2) as progress:
        lanes = Lanes(Path(), stack(""), progress, resumed=True, patience_s=1.0)
        lanes._follow(work, [f"{DAY.isoformat()}\t{step}\n" for step in ("failed", "done")])

    first, second = written.getvalue().splitlines()
    assert "[1/2, about 0 s left] payments 2026-03-02 failed" in first
    assert "[2/2] payments 2026-03-02 done" in second


def test_the_last_days_wait_for_the_earlier_ones(database: Database, tmp_path: Path) -> None:
    """A generation of the last days would overtake those of earlier cut-offs that are left."""
    (tmp_path / "logs").mkdir()
    job = Job("nosuch_generation", DAY)
    out, _ = console(terminal=False)

    with board(out, 2) as progress:
        lanes = Lanes(tmp_path, stack(database.url), progress, resumed=True, patience_s=1.0)
        lanes.use_airflow("http://127.0.0.1:1")  # without a login: to ask would be another error
        lanes.start([Work(domain="nosuch", first=DAY, cutoffs=(DAY,), jobs=(job,))])
        with pytest.raises(StackError, match="earlier days of nosuch failed") as raised:
            lanes.join()

    assert str(raised.value).endswith("the same command resumes.")  # and Airflow was not asked


def test_a_domain_that_fails_ends_the_job_with_what_its_process_said(
    database: Database, tmp_path: Path
) -> None:
    (tmp_path / "logs").mkdir()
    out, _ = console(terminal=False)

    with board(out, 1) as progress:
        lanes = Lanes(tmp_path, stack(database.url), progress, resumed=True, patience_s=1.0)
        lanes.start([Work(domain="nosuch", first=DAY, cutoffs=(DAY,), jobs=())])
        with pytest.raises(
            StackError, match=r"(?s)nosuch failed \(status 2\).*no domain 'nosuch'"
        ):
            lanes.join()
        lanes.stop()


def test_a_domain_that_fails_keeps_no_other_from_its_work_and_none_begins_after_stop(
    database: Database, tmp_path: Path
) -> None:
    (tmp_path / "logs").mkdir()
    names = ("nosuch", "neither", "nor_this")
    works = [Work(domain=name, first=DAY, cutoffs=(DAY,), jobs=()) for name in names]
    out, _ = console(terminal=False)

    with board(out, 1) as progress:
        lanes = Lanes(tmp_path, stack(database.url), progress, resumed=True, patience_s=1.0)
        lanes.start(works)
        with pytest.raises(StackError) as raised:
            lanes.join()
        lanes.stop()
        (tmp_path / "logs" / "earlier-nosuch.log").unlink()
        lanes.start(works)
        with pytest.raises(StackError):
            lanes.join()

    assert all(f"no domain '{name}'" in str(raised.value) for name in names)
    assert not (tmp_path / "logs" / "earlier-nosuch.log").exists()
