"""`decisions report`: what generations, verdicts, refusals and series each domain has."""

import json
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import polars as pl
import typer
from rich.table import Table
from rich.text import Text

from decisions.cli.stack import OUT, home
from decisions.errors import StackError
from decisions.settings import required_database_url, settings
from decisions.store.database import Database

ENOUGH = 20  # generations of a series, from which on its rhythm can be told
STEADY, SWINGING = ("payments", "stabilised"), "payments_published"
Standing = dict[str, Any]


def report(
    as_json: Annotated[
        bool, typer.Option("--json", help="End with one line: a JSON object.")
    ] = False,
) -> None:
    """Say of each domain what the main job left: generations, verdicts, refusals, series.

    Ends with status 1 where it does not show what it should: every candidate judged; payments
    without a refusal, and its stabilised series steady over 20 generations; the published practice
    beside simulated payments oscillating, with what to do about it. The database is that of
    DECISIONS_DATABASE_URL or of the local stack, also of one that does not run.
    """
    with _database() as db:
        standings = standing_of(db)
    missing = shortcomings(standings, simulated=not settings().payments_transactions)
    for standing in standings:
        _show(standing)
    for text in missing:
        OUT.print(f"NOT OK: {text}", markup=False, soft_wrap=True)
    if as_json:
        result = {"name": "report", "ok": not missing, "missing": missing, "domains": standings}
        sys.stdout.write(json.dumps(result) + "\n")
    if missing:
        raise typer.Exit(1)


@contextmanager
def _database() -> Generator[Database]:
    """The configured database, that of a running stack, or the embedded one, for this moment."""
    folder = home() / "postgres"
    try:
        url = required_database_url(settings())
    except StackError:
        if not folder.exists():
            raise
    else:
        yield Database(url)
        return
    from decisions.stack.postgres import create_database, running_postgres

    with running_postgres(folder) as server:
        yield Database(create_database(server, "decisions"))


def standing_of(db: Database) -> list[Standing]:
    """Of each domain by name: `generations`, `verdicts`, `refusals`, `unjudged`, `series`.

    `generations` counts candidates, `refusals` those whose evaluation was refused, `unjudged`
    those without a verdict; a series has its newest `verdict`, Holm's `p`, and the
    `smallest_visible_swing` and `swing` in units of the reward.
    """
    diagnoses = db.read("diagnosis/latest")
    return [
        _standing(
            str(domain),
            rows.filter(pl.col("number") > 0),
            diagnoses.filter(pl.col("domain") == domain),
        )
        for (domain,), rows in db.read("generation/timeline").group_by(
            "domain", maintain_order=True
        )
    ]


def _standing(domain: str, candidates: pl.DataFrame, diagnoses: pl.DataFrame) -> Standing:
    verdicts = candidates["verdict"].drop_nulls()
    return {
        "domain": domain,
        "generations": candidates.height,
        "cutoffs": candidates["cutoff"].n_unique(),
        "verdicts": dict(sorted(verdicts.value_counts().iter_rows())),
        "refusals": candidates["refusal"].count(),
        "unjudged": candidates["verdict"].null_count(),
        "series": [_series(row) for row in diagnoses.iter_rows(named=True)],
    }


def _series(row: Mapping[str, Any]) -> Standing:
    statistics: dict[str, Any] = json.loads(row["statistics"])
    return {
        "series": row["series"],
        "verdict": row["verdict"],
        "generations": statistics["generations"],
        "p": statistics["p_holm"],
        "swing": statistics["swing"],
        "smallest_visible_swing": statistics.get("visible_swing"),
        "explanation": row["explanation"],
        "action": row["action"],
    }


def shortcomings(standings: list[Standing], *, simulated: bool = True) -> list[str]:
    """What the first day should show and these do not, a sentence each; none where all is well.

    The published practice runs where payments are `simulated`: elsewhere it is not asked for.
    """
    by_name = {standing["domain"]: standing for standing in standings}
    wrong = [
        f"{standing['unjudged']} candidates of {standing['domain']} have no verdict"
        for standing in standings
        if standing["unjudged"]
    ]
    domain, steady = STEADY
    wanted = (domain, SWINGING) if simulated else (domain,)
    absent = [f"{name} has no generation" for name in wanted if name not in by_name]
    if absent:
        return wrong + absent
    if refused := by_name[domain]["refusals"]:
        wrong.append(f"refused evaluations of {domain}: {refused}")
    long = {name: _long_series(by_name[name]) for name in wanted}
    if steady not in long[domain]:
        wrong.append(f"{domain} has no series {steady} of {ENOUGH} generations")
    wrong += [
        f"{name} of {domain} is oscillating"
        for name, series in long[domain].items()
        if series["verdict"] == "oscillating"
    ]
    swings = [one for one in long.get(SWINGING, {}).values() if one["verdict"] == "oscillating"]
    if simulated and not any(one["explanation"] and one["action"] for one in swings):
        wrong.append(f"no series of {SWINGING} over {ENOUGH} generations is called oscillating")
    return wrong


def _long_series(standing: Standing) -> dict[str, Standing]:
    return {one["series"]: one for one in standing["series"] if one["generations"] >= ENOUGH}


def _show(standing: Standing) -> None:
    counts = ", ".join(f"{n} {verdict}" for verdict, n in standing["verdicts"].items())
    table = Table(
        title=Text(
            f"{standing['domain']}: {standing['generations']} candidates of"
            f" {standing['cutoffs']} cut-offs ({counts or 'no verdict'};"
            f" {standing['refusals']} refused)"
        )
    )
    for name in ("series", "verdict", "generations", "p", "swing", "smallest visible"):
        table.add_column(name, justify="left" if name in ("series", "verdict") else "right")
    for series in standing["series"]:
        figures = (series["p"], series["swing"], series["smallest_visible_swing"])
        table.add_row(
            Text(series["series"]),
            series["verdict"],
            str(series["generations"]),
            *("-" if figure is None else f"{figure:.4g}" for figure in figures),
        )
    OUT.print(table)
