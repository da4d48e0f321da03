"""The main job: the real Airflow scheduler runs day after day, then a table says what came."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import polars as pl
import typer
from rich.table import Table

from decisions.cli.stack import (
    ERR,
    OUT,
    home,
    print_addresses,
    reporter,
    serve_until_stopped,
    terminate_politely,
)
from decisions.errors import StackError
from decisions.stack import running
from decisions.stack.airflow import Airflow, sign_in
from decisions.store.database import Database

STEPS = ("decide", "settle", "generation")  # of one day, in this order
# Open Bandit's logs are of 24-30 November 2019: a generation at the end of each of the last days.
LOGGED = {
    "open_bandit": [datetime(2019, 11, day, tzinfo=UTC) for day in (29, 30)]
    + [datetime(2019, 12, 1, tzinfo=UTC)]
}

Days = Annotated[int, typer.Option(min=1, help="How many days to run, the last being --until.")]
Until = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], help="The last cut-off, a midnight UTC. Default: today's."),
]


@dataclass(frozen=True)
class Job:
    """One DAG for one date."""

    dag: str
    date: datetime


def midnight(until: datetime | None) -> datetime:
    """The last cut-off: the day given, or today, at midnight UTC."""
    moment = datetime.now(UTC) if until is None else until
    return moment.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC)


def daily(domain: str, *, days: int, until: datetime) -> list[Job]:
    """Decide, settle and train for each of the days that end with `until`, the oldest first."""
    dates = [until - timedelta(days=back) for back in reversed(range(days))]
    return [Job(f"{domain}_{step}", date) for date in dates for step in STEPS]


def planned(domain: str, *, days: int, until: datetime) -> list[Job]:
    """What the main job does for a domain."""
    if domain in LOGGED:
        return [Job(f"{domain}_generation", date) for date in LOGGED[domain]]
    return daily(domain, days=days, until=until)


def run(
    headless: Annotated[
        bool, typer.Option("--headless", help="End after the table; leave nothing running.")
    ] = False,
    days: Days = 14,
    until: Until = None,
) -> None:
    """Start the local stack, run the days through Airflow, show the generations, keep serving.

    What was done before is not done again: a killed run resumes where it was.
    """
    jobs = [
        job
        for domain in ("payments", *LOGGED)
        for job in planned(domain, days=days, until=midnight(until))
    ]
    _main_job(jobs, headless=headless)


def backfill(
    domain: Annotated[str, typer.Option(help="The domain to run.")] = "payments",
    days: Days = 14,
    until: Until = None,
) -> None:
    """Run one domain's days through Airflow; days that are done are skipped."""
    _main_job(planned(domain, days=days, until=midnight(until)), headless=True)


def _main_job(jobs: list[Job], *, headless: bool) -> None:
    terminate_politely()
    report = reporter()
    found = running.find(home())
    own: running.Stack | None = None
    try:
        if found is None:
            stack = own = running.start(home(), report, scheduled=False)
        else:
            report("a stack runs already")
            stack = running.await_health(home(), report)
        _drive(stack, jobs, report, resumed=found is None)
        show(Database(stack.addresses["database_url"]).read("generation/timeline"))
        if not headless:
            print_addresses(stack)
            if own is not None:
                serve_until_stopped(own)
    except KeyboardInterrupt:
        ERR.print("Interrupted: the same command resumes.")
        raise typer.Exit(130) from None
    except StackError as error:
        ERR.print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    finally:
        if own is not None:
            report("stopping the stack")
            running.stop(home(), own)


def _drive(
    stack: running.Stack, jobs: list[Job], report: Callable[[str], None], *, resumed: bool
) -> None:
    with sign_in(stack.addresses["airflow_url"], home()) as airflow:
        airflow.await_dags({job.dag for job in jobs})
        for number, job in enumerate(jobs, start=1):
            _complete(airflow, job, f"{number}/{len(jobs)}", report, resumed=resumed)


def _complete(
    airflow: Airflow, job: Job, place: str, report: Callable[[str], None], *, resumed: bool
) -> None:
    label = f"[{place}] {job.date:%Y-%m-%d} {job.dag}".replace("[", "\\[")
    ran = airflow.complete(
        job.dag, job.date, lambda text: report(f"{label}: {text}"), resumed=resumed
    )
    report(f"{label} {'done' if ran else 'was done before'}")


def _interval(row: dict[str, Any], name: str) -> str:
    value, low, high = (row[key] for key in (name, f"{name}_lower", f"{name}_upper"))
    if value is None or math.isnan(value):
        return "-"
    if not (math.isfinite(low) and math.isfinite(high)):
        return (
            f"{value:+.4f}  (unbounded)" if name == "difference" else f"{value:.4f}  (unbounded)"
        )
    sign = "+" if name == "difference" else ""
    return f"{value:{sign}.4f}  [{low:{sign}.4f}, {high:{sign}.4f}]"


def show(timeline: pl.DataFrame) -> None:
    """Prints the generations, a table a domain."""
    colours = {"promote": "green", "hold": "yellow", "reject": "red"}
    for (domain,), rows in timeline.group_by("domain", maintain_order=True):
        table = Table(title=f"Generations of {domain}")
        table.add_column("generation", justify="right")
        for name in ("cut-off", "policy", "value", "difference from champion", "verdict"):
            table.add_column(name, overflow="fold")
        table.add_column("decisions logged", justify="right")
        for row in rows.iter_rows(named=True):
            verdict = row["verdict"] or ("baseline" if row["number"] == 0 else "-")
            colour = colours.get(verdict, "default")
            table.add_row(
                str(row["number"]),
                f"{row['cutoff']:%Y-%m-%d}",
                row["policy"],
                _interval(row, "value"),
                _interval(row, "difference"),
                f"[{colour}]{verdict}[/{colour}]",
                f"{row['decisions_logged']:,}",
            )
        OUT.print(table)
    if timeline.is_empty():
        OUT.print("No generation yet: there was no matured outcome to learn from.")
