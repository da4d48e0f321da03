"""MLflow's copy of what the store holds."""

import json
from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from decisions.domain import Domain
from decisions.flow.measuring import DEPLOYED
from decisions.store import generations
from decisions.store.database import Database

if TYPE_CHECKING:
    from decisions.store.tracking import Record


def track(db: Database, domain: Domain, url: str | None) -> None:
    """Mirrors every judged generation, its evaluation and the champion to the MLflow at `url`.

    The baseline is never judged and always mirrored.

    Does nothing without a `url`. The challenger is the newest judged generation that is not
    champion.

    Raises:
        StoreError: MLflow cannot be reached. The store is complete without it.
    """
    if url is None:
        return
    from decisions.store.tracking import Tracker  # MLflow takes seconds to import

    records = _records(db, domain)
    champion = generations.champion(db, domain.name)
    others = [
        record.number
        for record in records
        if record.verdict is not None and record.number != champion
    ]
    Tracker(url, domain.name).publish(
        records,
        context=domain.observe(pl.LazyFrame(schema=domain.units)).collect_schema(),
        actions=domain.actions,
        reward=domain.reward,
        champion=champion,
        challenger=max(others, default=None),
    )


def _records(db: Database, domain: Domain) -> "list[Record]":
    from decisions.store.tracking import Record

    told = db.read("generation/told", domain=domain.name)["number"].to_list()
    measured = db.read("diagnostic/all", domain=domain.name)
    cycles = db.read("measurement/all", domain=domain.name)
    verdicts = db.read("diagnosis/history", domain=domain.name)
    found: list[Record] = []
    for each in generations.generations(db, domain.name):
        verdict = generations.verdict(db, domain.name, each.number)
        if each.number not in told or (verdict is None and each.parent is not None):
            continue
        evaluated = generations.evaluation(db, domain.name, each.number)
        diagnostics = measured.filter(pl.col("number") == each.number)
        cycle = cycles.filter(pl.col("cutoff") == each.cutoff)
        series = {} if each.parent is None else {each.policy: "own", DEPLOYED: DEPLOYED}
        said = verdicts.filter(pl.col("cutoff") == each.cutoff, pl.col("series").is_in([*series]))
        found.append(
            Record(
                number=each.number,
                policy=each.policy,
                parent=each.parent,
                cutoff=each.cutoff,
                seed=each.seed,
                code_version=each.code_version,
                config=each.config,
                content=partial(generations.artifact, db, domain.name, each.number),
                champion=None if evaluated is None else evaluated[0],
                evaluation=None if evaluated is None else evaluated[1],
                verdict=verdict,
                diagnostics=_by_name(diagnostics),
                cycle=_by_name(cycle.filter(pl.col("series") == each.policy)),
                deployed=_by_name(cycle.filter(pl.col("series") == DEPLOYED)),
                oscillation={
                    series[name]: verdict
                    for name, verdict in said.select("series", "verdict").iter_rows()
                },
                curve=_curve(db, domain, each.number),
            )
        )
    return found


def _curve(db: Database, domain: Domain, number: int) -> list[tuple[int, float, float, float]]:
    """The learning curve that the domain's account of a training holds, if any."""
    [details] = db.read("training/of_generation", domain=domain.name, number=number)["details"]
    return [tuple(point) for point in json.loads(details).get("curve", [])]


def _by_name(rows: pl.DataFrame) -> dict[str, float]:
    return dict(rows.select("name", "value").iter_rows())
