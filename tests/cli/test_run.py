from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from decisions import flow
from decisions.cli import run, stack
from decisions.cli.main_job import Work, planned
from decisions.domains import all_domains, domain_named
from decisions.errors import DataError

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)


def jobs_of(work: Work) -> list[tuple[str, str]]:
    return [(job.dag, f"{job.date:%d %H:%M}") for job in work.jobs]


def test_airflow_runs_all_days_of_a_backfill_each_deciding_settling_training() -> None:
    work = planned(domain_named("payments"), days=2, until=MONDAY)

    assert (work.first, work.cutoffs) == (None, ())
    assert jobs_of(work) == [
        ("payments_decide", "01 00:00"),
        ("payments_settle", "01 00:30"),
        ("payments_generation", "01 02:00"),
        ("payments_decide", "02 00:00"),
        ("payments_settle", "02 00:30"),
        ("payments_generation", "02 02:00"),
    ]


def test_the_spine_processes_all_but_the_last_days() -> None:
    work = planned(domain_named("payments"), days=5, until=MONDAY, by_airflow=2)

    assert work.first == MONDAY - 4 * DAY
    assert work.cutoffs == tuple(MONDAY - back * DAY + flow.AT for back in (4, 3, 2))
    assert [dag for dag, _ in jobs_of(work)] == 2 * [
        "payments_decide",
        "payments_settle",
        "payments_generation",
    ]
    assert work.parts == 9


@pytest.mark.parametrize("later", [0, 1, 4])
def test_weeks_begin_on_mondays_whatever_the_last_day_and_airflow_runs_the_last_cutoff(
    later: int,
) -> None:
    until = MONDAY + later * DAY
    work = planned(domain_named("lotsizing"), days=28, until=until, by_airflow=2)

    assert work.cutoffs == tuple(MONDAY - 7 * back * DAY + flow.AT for back in (3, 2, 1))
    trained = [job.date for job in work.jobs if job.dag == "lotsizing_generation"]
    decided = [job.date for job in work.jobs if job.dag == "lotsizing_decide"]
    assert trained == [MONDAY + flow.AT]
    assert decided == sorted({MONDAY, until - DAY, until})


def test_every_domain_runs_long_enough_for_its_series_where_eight_weeks_suffice() -> None:
    daily, weekly = domain_named("payments"), domain_named("lotsizing")
    thrice_weekly = domain_named("payments_published")

    assert [run.days_of(each, None) for each in (daily, thrice_weekly, weekly)] == [28, 56, 28]
    assert run.days_of(thrice_weekly, 5) == 5


def test_what_trains_longest_is_not_left_for_the_end() -> None:
    names = [domain.name for domain in sorted(all_domains(), key=run._turn)]

    assert names == ["payments", "lotsizing", "payments_published", "open_bandit"]


def test_a_last_day_whose_cutoff_has_not_passed_is_refused() -> None:
    newest = run.midnight(None)

    assert run.midnight(datetime(2026, 3, 2, 17, 30)) == MONDAY  # noqa: DTZ001
    assert newest.hour == 0
    assert newest + flow.AT <= datetime.now(UTC) < newest + flow.AT + DAY
    with pytest.raises(DataError, match="is in the future: the newest day"):
        run.midnight(newest + DAY)


def test_logs_of_long_ago_have_their_own_dates() -> None:
    work = planned(domain_named("open_bandit"), days=9, until=MONDAY, by_airflow=2)

    assert [f"{cutoff:%Y-%m-%d}" for cutoff in work.cutoffs] == ["2019-11-30"]
    assert [job.dag for job in work.jobs] == ["open_bandit_generation"]
    assert f"{work.jobs[0].date:%Y-%m-%d}" == "2019-12-01"


def test_the_table_shows_intervals_and_verdicts(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {
        "domain": ["payments"] * 4,
        "number": [0, 1, 2, 3],
        "policy": ["uniform", "greedy", "greedy", "[red]odd"],
        "cutoff": [MONDAY] * 4,
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
