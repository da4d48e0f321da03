"""Decisions that others took, with their units and outcomes."""

from datetime import datetime
from functools import partial

import polars as pl

from decisions.domain import Domain, Log
from decisions.errors import DataError
from decisions.flow.references import identified, with_parents
from decisions.flow.rows import payload
from decisions.flow.steps import batch_name, latest
from decisions.frames import DECISIONS, conform, decision_id
from decisions.store import decision_log
from decisions.store.database import Database


def ingest_log(
    db: Database,
    domain: Domain,
    *,
    start: datetime,
    end: datetime,
    holder: str,
    known_at: datetime | None = None,
) -> int:
    """Stores the decisions that others took in [start, end), with outcomes; how many were new.

    They are kept under generation 0, the domain's stand-in for whoever took them. Outcomes
    observed after `known_at` (default: `end`) are left for a later call; those of units that are
    neither in the log nor stored go to quarantine. Units, decisions and outcomes are transactions
    in this order; repeating the call stores what is missing.

    Raises:
        DataError: the domain brings no log, or a decision names a unit that did not arrive.
    """
    if domain.logged is None:
        raise DataError(f"{domain.name} brings no log: its decisions are taken here, decide")
    log = domain.logged(start, end)
    with latest(db, f"{domain.name}/ingest", holder) as lease:
        arrivals = with_parents(db, domain, log.arrivals, beside=_first_decisions(db, domain, log))
        units = decision_log.assign_units(db, domain.name, payload(arrivals, domain))
        put = partial(decision_log.append, db, domain.name, now=known_at or end, lease=lease)
        put("unit", batch_name("ingest", start), units)
        ids = units.select("reference", "unit_id").drop_nulls().unique()
        decisions = _identified(_following(log.decisions, arrivals), ids).with_columns(
            decision_id(pl.col("unit_id"), pl.col("slot")).alias("decision_id")
        )
        taken = put(
            "decision",
            batch_name("ingest", start),
            conform(decisions.drop("reference"), DECISIONS, f"log of {domain.name}"),
        )
        known = log.outcomes.filter(pl.col("observed_at") <= (known_at or end))
        first = ids.select("reference", decision_id=decision_id(pl.col("unit_id"), pl.lit(0)))
        outcomes, strangers = identified(db, domain, known, first)
        batch = batch_name("ingest", start)
        decision_log.set_aside(
            db, domain.name, "outcome", batch, strangers, now=known_at or end, lease=lease
        )
        put("outcome", batch, outcomes)
    return taken.written


def _first_decisions(db: Database, domain: Domain, log: Log) -> pl.DataFrame | None:
    """`reference` and `decision_id` of the log's own decisions, where units follow up others."""
    arrivals = log.arrivals
    if "parent_reference" not in arrivals.columns:
        return None
    bare = arrivals.select("reference", "observed_at", payload=pl.lit("{}"))
    numbered = decision_log.assign_units(db, domain.name, bare)
    taken = numbered.join(log.decisions, on="reference", how="semi").drop_nulls("unit_id")
    first = decision_id(pl.col("unit_id"), pl.lit(0))
    return taken.select("reference", decision_id=first).unique("reference")


def _following(decisions: pl.DataFrame, arrivals: pl.DataFrame) -> pl.DataFrame:
    """`decisions` with the `parent_id` of their units, where they name none themselves."""
    if "parent_id" not in arrivals.columns:
        return decisions
    of_units = arrivals.select("reference", of_unit="parent_id").unique("reference")
    joined = decisions.join(of_units, on="reference", how="left", maintain_order="left")
    return joined.with_columns(parent_id=pl.coalesce("parent_id", "of_unit")).drop("of_unit")


def _identified(frame: pl.DataFrame, ids: pl.DataFrame) -> pl.DataFrame:
    joined = frame.join(ids, on="reference", how="left", validate="m:1", maintain_order="left")
    unknown_units = joined.filter(pl.col("unit_id").is_null())["reference"]
    if len(unknown_units):
        raise DataError(
            f"{len(unknown_units)} logged rows name units that did not arrive, first"
            f" {unknown_units.head(5).to_list()}: bring every unit in `arrivals`"
        )
    return joined
