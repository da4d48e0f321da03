"""The main job: the real Airflow scheduler runs day after day, then a table says what came."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any

import polars as pl
import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from decisions.cli.stack import (
    ERR,
    OUT,
    home,
    print_addresses,
    reporter,
    serve_until_stopped,
    terminate_politely,
)
from decisions.domain import Domain
from decisions.domains import all_domains, domain_named
from decisions.errors import StackError
from decisions.stack import running
from decisions.stack.airflow import PATIENCE_S, sign_in
from decisions.store.database import Database

STEPS = ("decide", "settle", "generation")  # of one cut-off, in this order
MAIN = "payments"  # run first by the main job, which runs every domain

Days = Annotated[int, typer.Option(min=1, help="How many days to run, the last being --until.")]
Until = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], help="The last cut-off, a midnight UTC. Default: today's."),
]
Patience = Annotated[
    float, typer.Option(min=1, help="How many seconds one DAG run may take.", show_default=True)
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


def regular(domain: Domain, *, days: int, until: datetime) -> list[Job]:
    """Decide, settle and train at each cut-off of the days that end with `until`, oldest first.

    Cut-offs are the domain's cadence apart, and the last one is `until`. The first day is decided
    in any case; deciding makes up for the days since the last time.
    """
    dates = [until - timedelta(days=back) for back in reversed(range(days))]
    cutoffs = dates[:: -max(1, domain.cadence // timedelta(days=1))][::-1]
    first = [] if dates[0] in cutoffs else [Job(f"{domain.name}_decide", dates[0])]
    return first + [Job(f"{domain.name}_{step}", date) for date in cutoffs for step in STEPS]


def planned(domain: Domain, *, days: int, until: datetime) -> list[Job]:
    """What the main job does for a domain: its own cut-offs where it has some, or the days."""
    if domain.cutoffs:
        return [Job(f"{domain.name}_generation", date) for date in domain.cutoffs]
    return regular(domain, days=days, until=until)


def run(
    headless: Annotated[
        bool, typer.Option("--headless", help="End after the table; leave nothing running.")
    ] = False,
    days: Days = 14,
    until: Until = None,
    patience: Patience = PATIENCE_S,
) -> None:
    """Start the local stack, run the days through Airflow, show the generations, keep serving.

    What was done before is not done again: a killed run resumes where it was.
    """
    jobs = [
        job
        for domain in sorted(all_domains(), key=lambda domain: domain.name != MAIN)
        for job in planned(domain, days=days, until=midnight(until))
    ]
    _main_job(jobs, headless=headless, patience_s=patience)


def backfill(
    domain: Annotated[str, typer.Option(help="The domain to run.")] = MAIN,
    days: Days = 14,
    until: Until = None,
    patience: Patience = PATIENCE_S,
) -> None:
    """Run one domain's days through Airflow; days that are done are skipped."""
    jobs = planned(domain_named(domain), days=days, until=midnight(until))
    _main_job(jobs, headless=True, patience_s=patience)


def _main_job(jobs: list[Job], *, headless: bool, patience_s: float) -> None:
    terminate_politely()
    report = reporter()
    found = running.find_lasting(home(), report)
    own: running.Stack | None = None
    try:
        if found is None:
            stack = own = running.start(home(), report, scheduled=False)
        else:
            report("a stack runs already")
            stack = running.await_health(home(), report)
        _drive(stack, jobs, report, resumed=own is not None, patience_s=patience_s)
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
    stack: running.Stack,
    jobs: list[Job],
    report: Callable[[str], None],
    *,
    resumed: bool,
    patience_s: float,
) -> None:
    with sign_in(stack.addresses["airflow_url"], home()) as airflow:
        airflow.await_dags({job.dag for job in jobs})
        for number, job in enumerate(jobs, start=1):
            label = f"[{number}/{len(jobs)}] {job.date:%Y-%m-%d} {job.dag}"
            ran = airflow.complete(
                job.dag,
                job.date,
                partial(_report_on, report, label),
                resumed=resumed,
                patience_s=patience_s,
            )
            report(f"{label} {'done' if ran else 'was done before'}")


def _report_on(report: Callable[[str], None], label: str, text: str) -> None:
    report(f"{label}: {text}")


def _verdict(row: dict[str, Any]) -> str:
    if row["verdict"] is None:
        return "baseline" if row["number"] == 0 else "-"
    return row["verdict"] if row["refusal"] is None else f"{row['verdict']} (refused)"


def _interval(row: dict[str, Any], name: str) -> str:
    value, low, high = (row[key] for key in (name, f"{name}_lower", f"{name}_upper"))
    if value is None or math.isnan(value):
        return "-"
    sign = "+" if name == "difference" else ""
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"{value:{sign}.4f}  (unbounded)"
    return escape(f"{value:{sign}.4f}  [{low:{sign}.4f}, {high:{sign}.4f}]")


def show(timeline: pl.DataFrame) -> None:
    """Prints the generations, a table a domain."""
    colours = {"promote": "green", "hold": "yellow", "reject": "red", "unchanged": "blue"}
    for (domain,), rows in timeline.group_by("domain", maintain_order=True):
        table = Table(title=Text(f"Generations of {domain}"))
        table.add_column("generation", justify="right")
        for name in ("cut-off", "policy", "value", "difference from champion", "verdict"):
            table.add_column(name, overflow="fold")
        table.add_column("decisions logged", justify="right")
        for row in rows.iter_rows(named=True):
            table.add_row(
                str(row["number"]),
                f"{row['cutoff']:%Y-%m-%d}",
                Text(row["policy"]),
                _interval(row, "value"),
                _interval(row, "difference"),
                Text(_verdict(row), style=colours.get(row["verdict"], "")),
                f"{row['decisions_logged']:,}",
            )
        OUT.print(table)
    if timeline.is_empty():
        OUT.print("No generation yet: there was no matured outcome to learn from.")
