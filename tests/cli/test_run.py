from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from decisions.cli import run, stack
from decisions.domains import domain_named

UNTIL = datetime(2026, 3, 2, tzinfo=UTC)


def test_days_run_from_the_oldest_and_each_decides_settles_trains() -> None:
    jobs = run.planned(domain_named("payments"), days=2, until=UNTIL)

    assert [(job.dag, f"{job.date:%d}") for job in jobs] == [
        ("payments_decide", "01"),
        ("payments_settle", "01"),
        ("payments_generation", "01"),
        ("payments_decide", "02"),
        ("payments_settle", "02"),
        ("payments_generation", "02"),
    ]


@pytest.mark.parametrize(("days", "wanted"), [(1, [1]), (8, [-6, 1]), (14, [-12, -6, 1])])
def test_a_domain_of_a_slower_cadence_trains_less_often_and_begins_on_the_first_day(
    days: int, wanted: list[int]
) -> None:
    weekly = replace(domain_named("payments"), cadence=timedelta(days=7))

    jobs = run.planned(weekly, days=days, until=UNTIL)

    decided = [job.date for job in jobs if job.dag == "payments_decide"]
    trained = [job.date for job in jobs if job.dag == "payments_generation"]
    assert decided == [UNTIL + timedelta(days=day - 1) for day in wanted]
    assert trained == decided[-2 if days > 7 else -1 :]


def test_the_last_cutoff_is_a_midnight_of_utc() -> None:
    assert run.midnight(datetime(2026, 3, 2, 17, 30)) == UNTIL  # noqa: DTZ001
    assert run.midnight(None).hour == 0


def test_logs_of_long_ago_have_their_own_dates() -> None:
    jobs = run.planned(domain_named("open_bandit"), days=9, until=UNTIL)

    assert [f"{job.date:%Y-%m-%d}" for job in jobs] == ["2019-11-30", "2019-12-01"]
    assert {job.dag for job in jobs} == {"open_bandit_generation"}


def test_the_table_shows_intervals_and_verdicts(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {
        "domain": ["payments"] * 4,
        "number": [0, 1, 2, 3],
        "policy": ["uniform", "greedy", "greedy", "[red]odd"],
        "cutoff": [UNTIL] * 4,
        "verdict": [None, "promote", "hold", "hold"],
        "refusal": [None, None, None, "no support"],
        "decisions_logged": [5000, 1200, 0, 0],
    }
    for name in ("value", "difference"):
        rows |= {
            name: [None, 0.25, 0.5, None],
            f"{name}_lower": [None, 0.2, float("-inf"), None],
            f"{name}_upper": [None, 0.3, float("inf"), None],
        }

    run.OUT.width = 200
    run.show(pl.DataFrame(rows))

    shown = capsys.readouterr().out
    for text in ("baseline", "[0.2000, 0.3000]", "[+0.2000, +0.3000]", "unbounded", "5,000"):
        assert text in shown
    assert [line for line in shown.splitlines() if "hold (refused)" in line and "[red]odd" in line]


def test_what_others_say_is_not_read_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    stack.reporter()("task [/closed] [bold]ended[/bold] in [/var/log]")

    assert "task [/closed] [bold]ended[/bold] in [/var/log]" in capsys.readouterr().err
