"""The main job: the earlier days by the spine, the last ones by the real Airflow, then a table."""

import math
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import polars as pl
import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from decisions import flow
from decisions.cli.main_job import BY_AIRFLOW, Lanes, Work, planned
from decisions.cli.progress import board
from decisions.cli.stack import (
    ERR,
    OUT,
    home,
    print_addresses,
    reporter,
    serve_until_stopped,
    terminate_politely,
)
from decisions.configured import configured_domain, configured_domains
from decisions.domain import Domain
from decisions.errors import DataError, StackError
from decisions.stack import running
from decisions.stack.airflow import PATIENCE_S
from decisions.store.database import Database

MAIN = "payments"  # run first by the main job, which runs every domain
USUAL_DAYS, MOST_DAYS = 28, 56  # of a domain, unless said otherwise
LONGEST_DAYS, FIRST_YEAR = 3650, 2000  # that may be asked for
BUSY_PATIENCE_S = 600.0  # for services that start beside the work of two domains
SERIES = 24  # cut-offs, after which the rhythm of a series can be told

Days = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=LONGEST_DAYS,
        help="How many days to run, the last being --until. Default: 28, or as many as 24 of the"
        " domain's generations take where those are no more than 56.",
    ),
]
Until = Annotated[
    datetime | None,
    typer.Option(
        formats=["%Y-%m-%d"],
        help="The last day, whose cut-off is at 02:00 UTC. Default: today, or yesterday before"
        " that hour.",
    ),
]
Patience = Annotated[
    float, typer.Option(min=1, help="How many seconds one DAG run may take.", show_default=True)
]


def midnight(until: datetime | None) -> datetime:
    """The start of the last day: the one given, or the newest whose cut-off has passed.

    Raises:
        DataError: the cut-off of the day given has not passed, or did so long ago.
    """
    newest = flow.day_of(datetime.now(UTC) - flow.AT)
    if until is None:
        return newest
    day = flow.day_of(until.replace(tzinfo=UTC))
    if day > newest:
        raise DataError(
            f"--until {day:%Y-%m-%d} is in the future: the newest day whose cut-off has passed is"
            f" {newest:%Y-%m-%d}"
        )
    if day.year < FIRST_YEAR:
        raise DataError(f"--until {day:%Y-%m-%d} is too long ago: wanted {FIRST_YEAR} or later")
    return day


def days_of(domain: Domain, days: int | None) -> int:
    """How many days to run: those given, or enough for a series of the domain to be judged."""
    if days is not None:
        return days
    wanted = max(USUAL_DAYS, math.ceil(SERIES * domain.cadence / flow.DAY))
    return wanted if wanted <= MOST_DAYS else USUAL_DAYS


def run(
    headless: Annotated[
        bool, typer.Option("--headless", help="End after the table; leave nothing running.")
    ] = False,
    days: Days = None,
    until: Until = None,
    patience: Patience = PATIENCE_S,
) -> None:
    """Start the local stack, run the days of every domain, show the generations, keep serving.

    The spine processes the earlier days in processes of its own, and Airflow runs the last ones.
    What was done before is not done again: a killed run resumes where it was.
    """
    last = midnight(until)
    works = [
        planned(domain, days=days_of(domain, days), until=last, by_airflow=BY_AIRFLOW)
        for domain in sorted(configured_domains(), key=_turn)
    ]
    _main_job(works, headless=headless, patience_s=patience)


def _turn(domain: Domain) -> tuple[bool, timedelta]:
    """Sorts the main domain first, so that pages fill, then those that train rarely and long."""
    return domain.name != MAIN, -domain.cadence


def backfill(
    domain: Annotated[str, typer.Option(help="The domain to run.")] = MAIN,
    days: Annotated[
        int,
        typer.Option(
            min=1, max=LONGEST_DAYS, help="How many days to run, the last being --until."
        ),
    ] = 14,
    until: Until = None,
    patience: Patience = PATIENCE_S,
) -> None:
    """Run one domain's days through Airflow; days that are done are skipped."""
    work = planned(configured_domain(domain), days=days, until=midnight(until))
    _main_job([work], headless=True, patience_s=patience)


def _main_job(works: list[Work], *, headless: bool, patience_s: float) -> None:
    terminate_politely()
    report = reporter()
    found = running.find_lasting(home(), report)
    own: running.Stack | None = None
    try:
        if found is None:
            stack = own = running.start(home(), report, scheduled=False, whole=False)
        else:
            report("a stack runs already")
            stack = running.await_health(home(), report)
        with board(ERR, sum(work.parts for work in works)) as progress:
            lanes = Lanes(home(), stack, progress, own is not None, patience_s)
            try:
                lanes.start(works)
                stack = running.await_health(home(), report, patience_s=BUSY_PATIENCE_S)
                lanes.use_airflow(stack.addresses["airflow_url"])
                lanes.join()
            finally:
                lanes.stop()
        show(Database(stack.addresses["database_url"]).read("generation/timeline"))
        if not headless:
            print_addresses(stack)
            if own is not None:
                serve_until_stopped(stack)
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
